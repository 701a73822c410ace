//! The partitions one source reads: their session with the broker, and what its answers do to them. A machine: no I/O,
//! time is passed in. The source sends what [`Table::plan`] returns, feeds the answer to [`Table::answer`], opens the
//! batches that come back and performs the rest of the [`Answered`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::delivery::{FetchFault, Lease, Link, LinkState, Memory};
use super::lead::Lead;
use super::parse::{AbortedFilter, BadBatch, Scan, scan};
use super::reading::{Reading, Trouble, Verdict, judge};
use super::session::{Plan, Session, Slot};
use crate::client::topology::NewLeader;
use crate::client::types::{Isolation, TopicId};
use crate::error::{Error, ErrorKind};
use crate::wire::ErrorCode;
use crate::wire::messages::FetchResponse;
use crate::wire::messages::fetch::PartitionData;

/// What a partition's answer leaves to be opened and delivered.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) link: Arc<Link>,
    pub(super) from: i64,
    pub(super) scan: Scan,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    /// Counts the bytes as the partition's until the batches have leases of their own.
    pub(super) hold: Lease,
}

/// What is to be done after an answer.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) work: Vec<Work>,
    pub(super) given_back: Vec<(Reading, Trouble)>,
    pub(super) leaders: Vec<NewLeader>,
    /// Not one byte of records came.
    pub(super) barren: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    session: Session,
    isolation: Isolation,
    budget: Budget,
    /// The most one partition may be raised to.
    max_bytes: i32,
    lead: Arc<Lead>,
    readings: BTreeMap<u64, Reading>,
    by_slot: Vec<Option<u64>>,
    backing_off: BTreeSet<(Instant, u64)>,
    /// Partitions came, went or slowed down: a wait at the broker would be in the way of the next ones.
    restless: bool,
    /// Partitions came since the last request.
    fresh: bool,
    /// What was asked for outside the session.
    express: BTreeMap<Slot, i64>,
}

impl Table {
    pub(super) fn new(isolation: Isolation, budget: Budget, max_bytes: usize) -> Self {
        Self {
            session: Session::default(),
            isolation,
            lead: Arc::default(),
            budget,
            max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
            readings: BTreeMap::new(),
            by_slot: Vec::new(),
            backing_off: BTreeSet::new(),
            restless: false,
            fresh: false,
            express: BTreeMap::new(),
        }
    }

    /// Takes a partition over.
    pub(super) fn insert(&mut self, reading: Reading, now: Instant) {
        let id = reading.link.id();
        self.readings.insert(id, reading);
        self.refresh(id, now);
    }

    /// Gives a partition up, as when its leader moved.
    pub(super) fn remove(&mut self, id: u64) -> Option<Reading> {
        self.unwant(id);
        let reading = self.readings.remove(&id)?;
        if let Some(at) = reading.not_before {
            self.backing_off.remove(&(at, id));
        }
        Some(reading)
    }

    /// Metadata came and the leader is the same. Gives the partition back if its topic is another one now, or if an
    /// id has become known: the session has to name it differently.
    pub(super) fn on_metadata(&mut self, id: u64, topic: Option<TopicId>, epoch: i32, now: Instant) -> Option<Reading> {
        let reading = self.readings.get_mut(&id)?;
        if topic.is_some_and(|t| !t.is_zero() && t != reading.position.topic_id) {
            return self.remove(id);
        }
        if reading.leader_epoch != epoch {
            reading.leader_epoch = epoch;
            self.refresh(id, now);
        }
        None
    }

    /// Wants the partition, or not, by its present state: paused, detached, backing off, slow.
    pub(super) fn refresh(&mut self, id: u64, now: Instant) {
        let Some(reading) = self.readings.get(&id) else { return };
        reading.link.take_nudge();
        match reading.link.state() {
            LinkState::Detached => drop(self.remove(id)),
            LinkState::Paused => self.unwant(id),
            LinkState::Running if reading.not_before.is_some_and(|t| t > now) => self.unwant(id),
            LinkState::Running => {
                let (link, held) = (reading.link.clone(), reading.link.held());
                if held > 0 && held > self.budget.unheld() {
                    self.unwant(id);
                    self.restless = true;
                    link.nudge_at(held / 2);
                } else {
                    self.want(id);
                }
            }
        }
    }

    fn want(&mut self, id: u64) {
        let Some(reading) = self.readings.get_mut(&id) else { return };
        let tp = reading.link.tp();
        let slot = match reading.slot {
            Some(slot) => slot,
            None => {
                (self.restless, self.fresh) = (true, true);
                let slot = self.session.slot(&tp.topic, reading.position.topic_id, tp.partition);
                if self.by_slot.len() <= slot {
                    self.by_slot.resize(slot + 1, None);
                }
                self.by_slot[slot] = Some(id);
                *reading.slot.insert(slot)
            }
        };
        self.session.want(slot, reading.want());
    }

    fn unwant(&mut self, id: u64) {
        if let Some(slot) = self.readings.get_mut(&id).and_then(|r| r.slot.take())
            && self.by_slot[slot].take_if(|holder| *holder == id).is_some()
        {
            self.session.unwant(slot);
        }
    }

    fn back_off(&mut self, id: u64, now: Instant, rng: &mut fastrand::Rng) {
        let Some(reading) = self.readings.get_mut(&id) else { return };
        let at = now + reading.backoff.next(rng);
        reading.not_before = Some(at);
        self.backing_off.insert((at, id));
        self.unwant(id);
    }

    /// When to call [`wake`](Self::wake) next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.backing_off.first().map(|&(at, _)| at)
    }

    /// Wants again what has backed off for long enough.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.backing_off.first()
            && at <= now
        {
            self.backing_off.pop_first();
            if let Some(reading) = self.readings.get_mut(&id) {
                reading.not_before = None;
                self.refresh(id, now);
            }
        }
    }

    /// What the source is ahead of the readers.
    pub(super) fn lead(&self) -> &Arc<Lead> {
        &self.lead
    }

    /// Bytes that the readers of what is to be fetched have not come to; 0 if one of them has none left.
    pub(super) fn unread(&self) -> i64 {
        let mut all = 0;
        for unread in self.fetched().map(|reading| reading.link.unread()) {
            if unread == 0 {
                return 0;
            }
            all += unread;
        }
        all
    }

    /// Bytes that the readers of what is to be fetched have in memory.
    pub(super) fn held(&self) -> i64 {
        self.fetched().map(|reading| reading.link.held()).sum()
    }

    /// Has each of them nudge when it has none left.
    pub(super) fn tell_when_hungry(&self) {
        self.fetched().for_each(|reading| reading.link.nudge_when_hungry());
    }

    fn fetched(&self) -> impl Iterator<Item = &Reading> {
        self.readings.values().filter(|reading| reading.slot.is_some())
    }

    /// Nothing is to be fetched now.
    pub(super) fn is_idle(&self) -> bool {
        self.session.is_idle()
    }

    /// Whether partitions came or went since the last call: the next wait at the broker should be short.
    pub(super) fn take_restless(&mut self) -> bool {
        std::mem::take(&mut self.restless)
    }

    pub(super) fn plan(&mut self) -> Plan {
        self.fresh = false;
        self.express.clear();
        self.session.plan()
    }

    /// What came while the request of the last plan is under way, to be asked for outside the session.
    pub(super) fn plan_outside(&mut self) -> Option<Plan> {
        if !std::mem::take(&mut self.fresh) {
            return None;
        }
        let (plan, asked) = self.session.outside()?;
        self.express = asked;
        Some(plan)
    }

    /// Goes through the answer to [`plan_outside`](Self::plan_outside)'s request.
    pub(super) fn answer_outside(
        &mut self,
        response: FetchResponse,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Answered {
        let asked = std::mem::take(&mut self.express);
        let out = self.go_through(response, now, rng, Some(asked));
        // Where there was something there may be more.
        self.fresh |= !out.barren;
        out
    }

    /// No answer came.
    pub(super) fn on_lost(&mut self) {
        self.session.on_lost();
    }

    /// The broker does not let this client in: each reader is told once, while it is tried again.
    pub(super) fn not_let_in(&mut self, error: &Error) {
        for reading in self.readings.values_mut() {
            if !std::mem::replace(&mut reading.refused, true) {
                reading.link.report(FetchFault::Notice, error.clone());
            }
        }
    }

    /// The request as a whole was refused.
    pub(super) fn on_error(&mut self, code: ErrorCode) {
        self.session.on_error(code);
    }

    /// Goes through an answer without a top-level error.
    pub(super) fn answer(&mut self, response: FetchResponse, now: Instant, rng: &mut fastrand::Rng) -> Answered {
        self.session.on_answer(response.session_id);
        self.go_through(response, now, rng, None)
    }

    /// `outside` are the offsets that were asked for outside the session.
    fn go_through(
        &mut self,
        response: FetchResponse,
        now: Instant,
        rng: &mut fastrand::Rng,
        outside: Option<BTreeMap<Slot, i64>>,
    ) -> Answered {
        // From where, if the answer still counts.
        let asked = |session: &Session, slot| match &outside {
            Some(asked) => session.wanted_from(slot).filter(|offset| asked.get(&slot) == Some(offset)),
            None => session.answered_from(slot),
        };
        let mut out = Answered::default();
        let any = |a: &PartitionData| a.records.as_ref().is_some_and(|r| !r.is_empty());
        out.barren = !response.responses.iter().flat_map(|t| &t.partitions).any(any);
        for topic in response.responses {
            for answer in topic.partitions {
                let slot = self.session.find(&topic.topic, topic.topic_id, answer.partition_index);
                match slot.and_then(|s| Some((s, (*self.by_slot.get(s)?)?))) {
                    Some((slot, id)) => match asked(&self.session, slot) {
                        Some(from) => self.answer_one(id, from, answer, now, rng, &mut out),
                        None => {
                            let partition = answer.partition_index;
                            tracing::debug!(target: "dispatcher::client::fetch", partition, "stale or repeated answer");
                        }
                    },
                    // Forgotten while the answer was on its way.
                    None if slot.is_some() || outside.is_some() => {}
                    None => tracing::warn!(
                        target: "dispatcher::client::fetch",
                        topic = &*topic.topic, id = %topic.topic_id, partition = answer.partition_index,
                        "a broker answered about a partition it was not asked for",
                    ),
                }
            }
        }
        out
    }

    fn answer_one(
        &mut self,
        id: u64,
        from: i64,
        answer: PartitionData,
        now: Instant,
        rng: &mut fastrand::Rng,
        out: &mut Answered,
    ) {
        let Some(reading) = self.readings.get_mut(&id) else { return };
        let tp = reading.link.tp().clone();
        let (leader, leader_epoch) = (answer.current_leader.leader_id, answer.current_leader.leader_epoch);
        if leader >= 0 && leader_epoch > reading.leader_epoch {
            out.leaders.push(NewLeader { tp: tp.clone(), leader, leader_epoch });
        }
        match judge(&answer) {
            Verdict::Data => self.data(id, from, answer, now, out),
            Verdict::Truncated { epoch, end_offset } => {
                let to = end_offset.min(from);
                let what = format!(
                    "the log was truncated to {end_offset} below offset {from} in an unclean leader election: going on at {to}"
                );
                reading.tell(what);
                (reading.position.offset, reading.position.leader_epoch) = (to, epoch);
                self.refresh(id, now);
            }
            Verdict::Retry => {
                let code = answer.error_code.name();
                tracing::debug!(target: "dispatcher::client::fetch", %tp, code, "fetch refused, trying again");
                self.back_off(id, now, rng);
            }
            Verdict::Refused => {
                if !std::mem::replace(&mut reading.refused, true) {
                    let error = Error::from_code(answer.error_code, format_args!("Fetch from {tp}"));
                    tracing::warn!(target: "dispatcher::client::fetch", %tp, %error, "fetch refused");
                    reading.link.report(FetchFault::Notice, error);
                }
                self.back_off(id, now, rng);
            }
            Verdict::Corrupt => {
                let link = reading.link.clone();
                self.remove(id);
                let error = Error::from_code(answer.error_code, format_args!("Fetch from {tp} at offset {from}"));
                tracing::warn!(target: "dispatcher::client::fetch", %tp, from, %error, "the partition has stopped");
                let error = error.wrap(ErrorKind::CorruptBatch, format!("{tp} cannot be read at offset {from}"));
                link.report(FetchFault::BadBatch { offset: from }, error);
            }
            Verdict::GiveBack(trouble) => {
                out.given_back.extend(self.remove(id).map(|reading| (reading, trouble)));
            }
        }
    }

    fn data(&mut self, id: u64, from: i64, answer: PartitionData, now: Instant, out: &mut Answered) {
        let Some(reading) = self.readings.get_mut(&id) else { return };
        let aborted = (self.isolation == Isolation::ReadCommitted)
            .then(|| AbortedFilter::new(answer.aborted_transactions.unwrap_or_default()));
        let records = answer.records.unwrap_or_default().into_bytes();
        let bytes = records.len();
        let scan = scan(records, from, aborted, reading.link.options().on_bad_batch);
        reading.backoff.reset();
        reading.refused = false;
        reading.position.offset = scan.next_offset;
        if scan.leader_epoch >= 0 {
            reading.position.leader_epoch = scan.leader_epoch;
        }
        // Nothing of what is there fitted: KIP-74 lets only the first partition of an answer exceed its limit.
        if scan.starved || (out.barren && answer.last_stable_offset.min(answer.high_watermark) > from) {
            reading.max_bytes = reading.max_bytes.saturating_mul(2).min(self.max_bytes.max(reading.max_bytes));
        }
        let link = reading.link.clone();
        let work = Work {
            from,
            high_watermark: answer.high_watermark,
            last_stable: answer.last_stable_offset,
            hold: link.lease(bytes, Memory::Elsewhere, &self.lead),
            link,
            scan,
        };
        if work.scan.bad.is_some() {
            drop(self.remove(id));
        } else {
            self.refresh(id, now);
        }
        out.work.push(work);
    }
}

impl Reading {
    /// Tells the user and the log.
    pub(super) fn tell(&self, what: String) {
        let tp = self.link.tp();
        tracing::warn!(target: "dispatcher::client::fetch", %tp, "{what}");
        self.link.report(FetchFault::Notice, Error::new(ErrorKind::Broker, format!("{tp}: {what}")));
    }
}

impl BadBatch {
    /// Tells the user and the log that it was passed over.
    pub(super) fn tell_skipped(&self, link: &Arc<Link>) {
        let (tp, offset) = (link.tp(), self.offset);
        tracing::warn!(target: "dispatcher::client::fetch", %tp, offset, error = %self.error, "batch passed over");
        let message = format!("the record batch of {tp} at offset {offset} cannot be read and was passed over");
        link.report(FetchFault::Notice, Error::from(self.error.clone()).wrap(ErrorKind::CorruptBatch, message));
    }
}

/// Tells the reader that its partition has stopped before this batch.
pub(super) fn report_bad(link: &Arc<Link>, bad: &BadBatch) {
    let (tp, offset) = (link.tp(), bad.offset);
    tracing::warn!(target: "dispatcher::client::fetch", %tp, offset, error = %bad.error, "the partition has stopped");
    let message = format!(
        "the record batch of {tp} at offset {offset} cannot be read: repair the log, or pass over it with on_bad_batch(Skip)"
    );
    let error = Error::from(bad.error.clone()).wrap(ErrorKind::CorruptBatch, message);
    link.report(FetchFault::BadBatch { offset }, error);
}

/// How long the broker may wait, `quiet` answers after the last change: short at first, because a partition that is
/// attached or resumed meanwhile stands behind the request in flight.
pub(super) fn max_wait(quiet: u32, longest: Duration) -> Duration {
    Duration::from_millis(10 << quiet.min(10)).min(longest)
}

#[cfg(test)]
mod tests;
