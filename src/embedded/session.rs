//! Fetch sessions (KIP-227): a broker remembers what a client reads, so that a request names only what changed and an
//! answer only what is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::messages::FetchRequest;
use crate::wire::messages::fetch::{FetchPartition, PartitionData};
use crate::wire::{ErrorCode, Uuid};

/// Kafka's `max.incremental.fetch.session.cache.slots`.
const SLOTS: usize = 1000;
/// A session unused for so long may lose its slot to another.
const IDLE: Duration = Duration::from_secs(120);

/// The sessions of one broker.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<i32, Session>,
    next_id: i32,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    partitions: BTreeMap<Key, (u64, Entry)>,
    /// In the order in which they are read; who got data goes to the end.
    order: BTreeMap<u64, Key>,
    next_place: u64,
    used: Instant,
}

/// Topic by name, topic by id (one of them is empty), partition.
type Key = (Arc<str>, Uuid, i32);

/// A partition that a fetch reads.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// By name up to v12, by id from v13 on; the other is empty.
    pub(super) topic: Arc<str>,
    pub(super) topic_id: Uuid,
    pub(super) asked: FetchPartition,
    /// What the last answer said; `None`: nothing yet, so that the next must name the partition.
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    log_start: i64,
    error: ErrorCode,
}

impl Entry {
    fn key(&self) -> Key {
        (self.topic.clone(), self.topic_id, self.asked.partition)
    }
}

/// What a fetch is about.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) partitions: Vec<Entry>,
    /// 0: none.
    pub(super) session_id: i32,
    /// Only what is new is answered.
    pub(super) incremental: bool,
}

impl Sessions {
    /// Finds out what a request reads, and opens, continues or closes its session.
    pub(super) fn plan(&mut self, request: &FetchRequest, version: i16, now: Instant) -> Result<Plan, ErrorCode> {
        let by_id = version >= 13;
        let full = |session_id| Plan { partitions: last_of_each(named(request)), session_id, incremental: false };
        match (request.session_id, request.session_epoch) {
            (id, -1) => {
                self.sessions.remove(&id);
                Ok(full(0))
            }
            (id, 0) => {
                self.sessions.remove(&id);
                let plan = full(0);
                let session_id = self.open(by_id, &plan.partitions, now);
                Ok(Plan { session_id, ..plan })
            }
            (id, epoch) => {
                let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                if session.by_id != by_id {
                    return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
                }
                if session.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                session.epoch = epoch.checked_add(1).unwrap_or(1);
                session.used = now;
                session.update(request);
                let partitions = session.order.values().map(|key| session.partitions[key].1.clone()).collect();
                Ok(Plan { partitions, session_id: id, incremental: true })
            }
        }
    }

    fn open(&mut self, by_id: bool, partitions: &[Entry], now: Instant) -> i32 {
        if self.sessions.len() >= SLOTS {
            let oldest = self.sessions.iter().min_by_key(|(_, s)| s.used).map(|(&id, s)| (id, s.used));
            match oldest {
                Some((id, used)) if now.saturating_duration_since(used) > IDLE => self.sessions.remove(&id),
                _ => return 0,
            };
        }
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        let (entries, order) = (BTreeMap::new(), BTreeMap::new());
        let mut session = Session { epoch: 1, by_id, partitions: entries, order, next_place: 0, used: now };
        partitions.iter().for_each(|entry| session.put(entry.clone()));
        self.sessions.insert(self.next_id, session);
        self.next_id
    }

    /// Whether an incremental answer must name this partition.
    pub(super) fn is_news(entry: &Entry, data: &PartitionData) -> bool {
        let has_records = data.records.as_ref().is_some_and(|r| !r.is_empty());
        has_records
            || data.error_code != ErrorCode::NONE
            || data.diverging_epoch.epoch >= 0
            || entry.told != Some(told(data))
    }

    /// Remembers what an answer said. `answered`: the partitions in it.
    pub(super) fn answered(&mut self, session_id: i32, answered: &[(Entry, PartitionData)]) {
        let Some(session) = self.sessions.get_mut(&session_id) else { return };
        for (entry, data) in answered {
            let key = entry.key();
            let Some((place, entry)) = session.partitions.get_mut(&key) else { continue };
            entry.told = Some(told(data));
            if data.records.as_ref().is_some_and(|r| !r.is_empty()) {
                // The next answer begins with others: nobody starves behind a large partition.
                session.order.remove(place);
                *place = session.next_place;
                session.order.insert(*place, key);
                session.next_place += 1;
            }
        }
    }

    /// A broker that restarts has none.
    pub(super) fn clear(&mut self) {
        self.sessions.clear();
    }
}

impl Session {
    fn update(&mut self, request: &FetchRequest) {
        named(request).into_iter().for_each(|entry| self.put(entry));
        for gone in &request.forgotten_topics_data {
            let topic: Arc<str> = gone.topic.as_str().into();
            for &partition in &gone.partitions {
                if let Some((place, _)) = self.partitions.remove(&(topic.clone(), gone.topic_id, partition)) {
                    self.order.remove(&place);
                }
            }
        }
    }

    fn put(&mut self, entry: Entry) {
        let key = entry.key();
        if let Some((_, known)) = self.partitions.get_mut(&key) {
            known.asked = entry.asked;
            return;
        }
        self.order.insert(self.next_place, key.clone());
        self.partitions.insert(key, (self.next_place, entry));
        self.next_place += 1;
    }
}

fn told(data: &PartitionData) -> Told {
    let PartitionData { high_watermark, log_start_offset: log_start, error_code: error, .. } = *data;
    Told { high_watermark, log_start, error }
}

fn named(request: &FetchRequest) -> Vec<Entry> {
    let entries = request.topics.iter().flat_map(|topic| {
        let (name, topic_id): (Arc<str>, Uuid) = (topic.topic.as_str().into(), topic.topic_id);
        topic.partitions.iter().map(move |asked| Entry {
            topic: name.clone(),
            topic_id,
            asked: asked.clone(),
            told: None,
        })
    });
    entries.collect()
}

/// Who is named twice is asked for once, at the last place's offset.
fn last_of_each(entries: Vec<Entry>) -> Vec<Entry> {
    let mut last = BTreeMap::new();
    for (place, entry) in entries.iter().enumerate() {
        last.insert(entry.key(), place);
    }
    if last.len() == entries.len() {
        return entries;
    }
    let kept = entries.into_iter().enumerate().filter(|(place, entry)| last[&entry.key()] == *place);
    kept.map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::wire::Records;
    use crate::wire::messages::fetch::{FetchTopic, ForgottenTopic};

    fn request(session: (i32, i32), partitions: &[i32], forgotten: &[i32]) -> FetchRequest {
        let named = |&partition: &i32| FetchPartition { partition, ..Default::default() };
        let topic = FetchTopic { partitions: partitions.iter().map(named).collect(), ..Default::default() };
        let gone = ForgottenTopic { partitions: forgotten.to_vec(), ..Default::default() };
        let (session_id, session_epoch) = session;
        let forgotten_topics_data = vec![gone];
        FetchRequest { session_id, session_epoch, topics: vec![topic], forgotten_topics_data, ..Default::default() }
    }

    fn reads(plan: &Plan) -> Vec<i32> {
        plan.partitions.iter().map(|e| e.asked.partition).collect()
    }

    #[test]
    fn a_session_remembers_what_it_reads_and_whoever_got_data_goes_last() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let first = sessions.plan(&request((0, 0), &[0, 1, 2], &[]), 12, now).unwrap();
        let id = first.session_id;
        assert!(id > 0 && !first.incremental);
        let records = Some(Records::from(bytes::Bytes::from_static(b"x")));
        let data = PartitionData { records, ..Default::default() };
        sessions.answered(id, &[(first.partitions[0].clone(), data)]);
        let next = sessions.plan(&request((id, 1), &[3], &[1]), 12, now).unwrap();
        assert_eq!((reads(&next), next.incremental), (vec![2, 0, 3], true));
        let told = &next.partitions[1];
        assert!(!Sessions::is_news(told, &PartitionData::default()), "nothing changed there");
        assert!(Sessions::is_news(told, &PartitionData { high_watermark: 5, ..Default::default() }));
        assert!(Sessions::is_news(&next.partitions[0], &PartitionData::default()), "never answered");
    }

    #[test]
    fn an_unknown_session_or_epoch_is_refused() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.plan(&request((0, 0), &[0], &[]), 12, now).unwrap().session_id;
        let refusal = |sessions: &mut Sessions, session, version| {
            sessions.plan(&request(session, &[], &[]), version, now).map(|plan| reads(&plan)).unwrap_err()
        };
        assert_eq!(refusal(&mut sessions, (id + 1, 1), 12), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        assert_eq!(refusal(&mut sessions, (id, 2), 12), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        assert_eq!(refusal(&mut sessions, (id, 1), 13), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        assert_eq!(sessions.plan(&request((id, -1), &[7], &[]), 12, now).unwrap().session_id, 0, "closed");
        assert_eq!(refusal(&mut sessions, (id, 1), 12), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }

    #[test]
    fn there_are_slots_for_so_many_sessions_and_idle_ones_make_room() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let open = |sessions: &mut Sessions, at| sessions.plan(&request((0, 0), &[0], &[]), 12, at).unwrap().session_id;
        for _ in 0..SLOTS {
            assert_ne!(open(&mut sessions, now), 0);
        }
        assert_eq!(open(&mut sessions, now + IDLE), 0);
        assert_ne!(open(&mut sessions, now + 2 * IDLE), 0);
    }
}
