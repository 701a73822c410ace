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
    /// In the order in which they are read; who got data goes to the end.
    partitions: Vec<Entry>,
    used: Instant,
}

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
    fn is(&self, topic: &str, topic_id: Uuid, partition: i32) -> bool {
        self.asked.partition == partition && self.topic_id == topic_id && *self.topic == *topic
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
        let full = |session_id| Plan { partitions: named(request), session_id, incremental: false };
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
                Ok(Plan { partitions: session.partitions.clone(), session_id: id, incremental: true })
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
        let session = Session { epoch: 1, by_id, partitions: partitions.to_vec(), used: now };
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
            let is_it = |e: &Entry| e.is(&entry.topic, entry.topic_id, entry.asked.partition);
            let Some(at) = session.partitions.iter().position(is_it) else { continue };
            session.partitions[at].told = Some(told(data));
            if data.records.as_ref().is_some_and(|r| !r.is_empty()) {
                // The next answer begins with others: nobody starves behind a large partition.
                let moved = session.partitions.remove(at);
                session.partitions.push(moved);
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
        for gone in &request.forgotten_topics_data {
            let names = |e: &Entry| gone.partitions.iter().any(|p| e.is(&gone.topic, gone.topic_id, *p));
            self.partitions.retain(|e| !names(e));
        }
        for new in named(request) {
            match self.partitions.iter_mut().find(|e| e.is(&new.topic, new.topic_id, new.asked.partition)) {
                Some(known) => known.asked = new.asked,
                None => self.partitions.push(new),
            }
        }
    }
}

fn told(data: &PartitionData) -> Told {
    let PartitionData { high_watermark, log_start_offset: log_start, error_code: error, .. } = *data;
    Told { high_watermark, log_start, error }
}

fn named(request: &FetchRequest) -> Vec<Entry> {
    let entries = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|asked| Entry {
            topic: topic.topic.as_str().into(),
            topic_id: topic.topic_id,
            asked: asked.clone(),
            told: None,
        })
    });
    entries.collect()
}
