//! The fetch session planner (KIP-227): which partitions the next Fetch to one broker must name. A machine: the source
//! says what it wants, sends what [`Session::plan`] returns, and reports how it ended. Only differences between what is
//! wanted and what the broker remembers are sent, so that an idle poll of 1,000 partitions is a few bytes; a partition
//! is paused by forgetting it. Nothing here costs per partition when nothing changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::client::types::{TopicId, TopicName};
use crate::wire::ErrorCode;

/// A partition's place in one session's tables; stable as long as the partition is wanted or remembered by the broker.
pub(crate) type Slot = usize;

/// What the broker should read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) offset: i64,
    /// The epoch of the leader we believe in; −1 unknown.
    pub(crate) current_leader_epoch: i32,
    /// Epoch of the record before `offset`; −1 unknown.
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
}

#[derive(Debug)]
struct Entry {
    topic: usize,
    partition: i32,
    want: Option<Want>,
    /// What the broker remembers, or will when it has handled the request in flight.
    sent: Option<Want>,
}

#[derive(Debug)]
struct Topic {
    name: TopicName,
    id: TopicId,
    slots: BTreeMap<i32, Slot>,
}

/// One request's part of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanTopic {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<(i32, Want)>,
}

/// One request's forgotten partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanForget {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<i32>,
}

/// The session's half of a Fetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    /// Every topic has an id, so that Fetch ≥ 13 may be used; otherwise ≤ 12.
    pub(crate) by_id: bool,
    pub(crate) topics: Vec<PlanTopic>,
    pub(crate) forgotten: Vec<PlanForget>,
}

impl Plan {
    fn name(&mut self, name: &TopicName, id: TopicId, partition: i32, want: Want) {
        match self.topics.last_mut().filter(|t| t.name == *name && t.id == id) {
            Some(topic) => topic.partitions.push((partition, want)),
            None => self.topics.push(PlanTopic { name: name.clone(), id, partitions: vec![(partition, want)] }),
        }
    }
}

/// What one broker remembers of our partitions under one isolation level, and what it should.
#[derive(Debug, Default)]
pub(crate) struct Session {
    id: i32,
    /// 0: the next request is full and asks for a new session.
    epoch: i32,
    by_id: bool,
    topics: Vec<Topic>,
    by_key: HashMap<(TopicName, TopicId), usize>,
    by_name: HashMap<TopicName, usize>,
    by_topic_id: HashMap<TopicId, usize>,
    entries: Vec<Option<Entry>>,
    vacant: Vec<Slot>,
    /// Slots whose `want` differs from `sent`.
    changed: BTreeSet<Slot>,
    wanted: usize,
    /// Answers without a session so far: a full request begins with another partition each time, for brokers fill answers in
    /// the order in which they are asked, and only in a session do they remember who came last.
    unremembered: usize,
    /// Wanted partitions whose topic has no id.
    nameless: usize,
}

impl Session {
    /// Gives a partition its place. Asking again for the same topic, id and partition gives the same one.
    pub(crate) fn slot(&mut self, name: &TopicName, id: TopicId, partition: i32) -> Slot {
        let topics = &mut self.topics;
        let topic = *self.by_key.entry((name.clone(), id)).or_insert_with(|| {
            topics.push(Topic { name: name.clone(), id, slots: BTreeMap::new() });
            topics.len() - 1
        });
        // The latest id of a name is the one an answer by name means.
        self.by_name.insert(name.clone(), topic);
        if !id.is_zero() {
            self.by_topic_id.insert(id, topic);
        }
        if let Some(&slot) = self.topics[topic].slots.get(&partition) {
            return slot;
        }
        let entry = Some(Entry { topic, partition, want: None, sent: None });
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.topics[topic].slots.insert(partition, slot);
        slot
    }

    /// The slot an answer speaks of: by id when the answer has one, else by name.
    pub(crate) fn find(&self, name: &str, id: TopicId, partition: i32) -> Option<Slot> {
        let topic = if id.is_zero() { self.by_name.get(name) } else { self.by_topic_id.get(&id) };
        self.topics[*topic?].slots.get(&partition).copied()
    }

    /// Reads this partition from here on.
    pub(crate) fn want(&mut self, slot: Slot, want: Want) {
        self.set(slot, Some(want));
    }

    /// Stops reading it: paused, moved or detached.
    pub(crate) fn unwant(&mut self, slot: Slot) {
        self.set(slot, None);
        self.vacate(slot);
    }

    fn set(&mut self, slot: Slot, want: Option<Want>) {
        let Some(entry) = self.entries[slot].as_mut() else { return };
        let nameless = usize::from(self.topics[entry.topic].id.is_zero());
        match (entry.want.is_some(), want.is_some()) {
            (false, true) => (self.wanted, self.nameless) = (self.wanted + 1, self.nameless + nameless),
            (true, false) => (self.wanted, self.nameless) = (self.wanted - 1, self.nameless - nameless),
            _ => {}
        }
        entry.want = want;
        if entry.want == entry.sent {
            self.changed.remove(&slot);
        } else {
            self.changed.insert(slot);
        }
    }

    /// Gives up the slot of a partition that is neither wanted nor remembered.
    fn vacate(&mut self, slot: Slot) {
        if let Some(entry) = self.entries[slot].take_if(|e| e.want.is_none() && e.sent.is_none()) {
            self.topics[entry.topic].slots.remove(&entry.partition);
            self.vacant.push(slot);
        }
    }

    /// Whether any partition is to be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.wanted == 0
    }

    /// Whether what is wanted differs from what the broker was told.
    #[cfg(test)]
    pub(crate) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The offset an answer for this partition starts at; `None` if the answer is stale: the partition was forgotten,
    /// or moved to another offset, after the request had left.
    pub(crate) fn answered_from(&self, slot: Slot) -> Option<i64> {
        let entry = self.entries.get(slot)?.as_ref()?;
        let (want, sent) = (entry.want?, entry.sent?);
        (want.offset == sent.offset).then_some(sent.offset)
    }

    /// The next request's session half. To be sent, and its end reported, before the next plan.
    pub(crate) fn plan(&mut self) -> Plan {
        let by_id = self.nameless == 0;
        if self.epoch != 0 && (by_id != self.by_id || (!by_id && self.replaces_by_name())) {
            // A session is by id or by name for its whole life; and by name, forgetting the old topic would forget the new.
            self.epoch = 0;
        }
        self.by_id = by_id;
        let mut plan =
            Plan { session_id: self.id, session_epoch: self.epoch, by_id, topics: Vec::new(), forgotten: Vec::new() };
        if self.epoch == 0 {
            self.changed.clear();
            let slots = self.entries.len();
            let first = self.unremembered.checked_rem(slots).unwrap_or_default();
            for slot in (first..slots).chain(0..first) {
                if let Some(entry) = self.entries[slot].as_mut() {
                    entry.sent = None;
                }
                self.add(&mut plan, slot);
            }
        } else {
            for slot in std::mem::take(&mut self.changed) {
                self.add(&mut plan, slot);
            }
        }
        plan
    }

    /// A request outside the session (KIP-227's epoch −1) for what came while the session's own is under way, and the
    /// offset asked for in each slot.
    pub(crate) fn outside(&self) -> Option<(Plan, BTreeMap<Slot, i64>)> {
        let mut plan =
            Plan { session_id: 0, session_epoch: -1, by_id: true, topics: Vec::new(), forgotten: Vec::new() };
        let mut asked = BTreeMap::new();
        for &slot in &self.changed {
            let Some((entry, want)) = self.entries[slot].as_ref().and_then(|e| Some((e, e.want?))) else { continue };
            asked.insert(slot, want.offset);
            let Topic { name, id, .. } = &self.topics[entry.topic];
            plan.by_id &= !id.is_zero();
            plan.name(name, *id, entry.partition, want);
        }
        (!asked.is_empty()).then_some((plan, asked))
    }

    /// The offset this partition is wanted from.
    pub(crate) fn wanted_from(&self, slot: Slot) -> Option<i64> {
        Some(self.entries.get(slot)?.as_ref()?.want?.offset)
    }

    /// Whether a forgotten partition has the name of a wanted one (a topic created again) while names are in use.
    fn replaces_by_name(&self) -> bool {
        let mut gone = self.changed.iter().filter_map(|&s| self.entries[s].as_ref()).filter(|e| e.want.is_none());
        gone.any(|e| {
            let latest = self.by_name.get(&self.topics[e.topic].name);
            latest.is_some_and(|&t| t != e.topic && self.topics[t].slots.contains_key(&e.partition))
        })
    }

    fn add(&mut self, plan: &mut Plan, slot: Slot) {
        let Some(entry) = self.entries[slot].as_mut() else { return };
        let Topic { name, id, .. } = &self.topics[entry.topic];
        match entry.want {
            Some(want) => {
                entry.sent = Some(want);
                plan.name(name, *id, entry.partition, want);
            }
            None => {
                if entry.sent.take().is_some() {
                    match plan.forgotten.last_mut().filter(|t| t.name == *name && t.id == *id) {
                        Some(topic) => topic.partitions.push(entry.partition),
                        None => {
                            let partitions = vec![entry.partition];
                            plan.forgotten.push(PlanForget { name: name.clone(), id: *id, partitions });
                        }
                    }
                }
                self.vacate(slot);
            }
        }
    }

    /// An answer without a top-level error came, with this session id.
    pub(crate) fn on_answer(&mut self, session_id: i32) {
        self.unremembered = self.unremembered.wrapping_add(usize::from(session_id == 0));
        (self.id, self.epoch) = match (session_id, self.epoch) {
            // No slot free, or the broker closed the session: full fetches until it grants one.
            (0, _) => (0, 0),
            (id, 0) => (id, 1),
            (id, epoch) if id == self.id => (id, epoch.checked_add(1).unwrap_or(1)),
            // Not the session we spoke of: start over.
            (id, _) => (id, 0),
        };
    }

    /// The whole request was refused.
    pub(crate) fn on_error(&mut self, code: ErrorCode) {
        if code == ErrorCode::FETCH_SESSION_ID_NOT_FOUND {
            self.id = 0;
        }
        self.on_lost();
    }

    /// No answer came: the broker may or may not have seen the request. The next one closes the old session, if the
    /// broker still has it, and opens a new one.
    pub(crate) fn on_lost(&mut self) {
        self.epoch = 0;
    }
}

#[cfg(test)]
mod tests;
