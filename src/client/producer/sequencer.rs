//! Order and identity of one partition's batches: which goes out next, under which producer id, epoch and sequence,
//! and what an answer means for those behind it. A machine: no clock, no I/O; the batches themselves are a type
//! parameter.
//!
//! What must stay true: the broker sees each sequence number with the same bytes only; batches are sent in order;
//! after a failure nothing more is sent until every batch under way has been answered (this also keeps a new leader
//! from getting a batch while the old one may still take an earlier one); a batch that may be in the log is never
//! sent under another number.

use std::collections::VecDeque;
use std::time::Instant;

use crate::wire::records::{NO_PRODUCER, ProducerStamp};

/// What InitProducerId gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// Names a batch between `send` and `settle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// How one try to write a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is in the log.
    Written,
    /// It was refused for now; `maybe_written` if it may be in the log all the same.
    Retry { maybe_written: bool },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch before it is missing.
    OutOfOrder,
    /// The broker does not accept this producer's id or epoch (any more).
    UnknownProducer,
    /// MESSAGE_TOO_LARGE: to be split, or failed if it is one record.
    TooLarge,
    /// It was refused for good; `maybe_written` if it may be in the log all the same.
    Failed { maybe_written: bool },
}

/// What to do with an answered batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<B> {
    /// Report it as written.
    Written(B),
    /// Kept; it will be sent again.
    Kept,
    /// Cut it and hand the pieces to [`Sequencer::split`].
    Split(B),
    /// Report it as failed.
    Failed { batch: B, maybe_written: bool },
}

/// What may be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<B> {
    /// This batch again; `stamp` differs from the last time only if it is known not to be written.
    Again { ticket: Ticket, batch: B, stamp: ProducerStamp, restamp: bool },
    /// A batch never sent: [`Sequencer::send`] it.
    Fresh,
    /// Nothing before this time.
    NotBefore(Instant),
    /// Nothing before an answer comes.
    Blocked,
    /// Nothing before there is an identity other than this one.
    NeedsIdentity(Option<Identity>),
}

#[derive(Debug)]
enum State<B> {
    InFlight,
    Waiting(B),
}

#[derive(Debug)]
struct Entry<B> {
    ticket: Ticket,
    count: u32,
    sequence: i32,
    /// A try ended without saying whether the batch was written.
    maybe_written: bool,
    /// It was sent before.
    tried: bool,
    /// The number changed since the batch was last stamped.
    restamp: bool,
    state: State<B>,
}

/// How the numbers of the batches that wait have to change before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    /// A batch before them is known not to be written: close the gap.
    Renumber,
    /// The broker's state is unknown or lost: start from 0 under another epoch.
    Bump,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sequencer<B> {
    idempotent: bool,
    max_in_flight: usize,
    identity: Option<Identity>,
    /// Under this identity a batch has been written, so the broker keeps state and refuses batches out of order.
    /// Before, it takes any sequence, so only one batch may be under way.
    proven: bool,
    /// The sequence after the last batch known to be written.
    written: i32,
    /// For the next fresh batch.
    next: i32,
    entries: VecDeque<Entry<B>>,
    in_flight: usize,
    /// Something failed: nothing is sent until all that is under way has been answered.
    barrier: bool,
    gap: Gap,
    retry_at: Option<Instant>,
    tickets: u64,
}

impl<B> Sequencer<B> {
    pub(crate) fn new(idempotent: bool, max_in_flight: usize) -> Self {
        Self {
            idempotent,
            max_in_flight,
            identity: None,
            proven: false,
            written: 0,
            next: 0,
            entries: VecDeque::new(),
            in_flight: 0,
            barrier: false,
            gap: Gap::None,
            retry_at: None,
            tickets: 0,
        }
    }

    /// Batches sent and not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether no batch was sent without its end being known.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What may be sent at `now`, given the producer's present identity. Batches that cannot be sent any more,
    /// because they may have been written under an identity that had to be given up, land in `lost`.
    pub(crate) fn next(&mut self, now: Instant, present: Option<Identity>, lost: &mut Vec<B>) -> Next<B> {
        // A batch that is sent again goes alone: brokers know the last five batches of a producer, so with more sent
        // behind it they would not recognise it as written.
        let alone = (self.idempotent && !self.proven) || self.entries.front().is_some_and(|e| e.tried);
        let limit = if alone { 1 } else { self.max_in_flight };
        if self.in_flight >= limit || (self.barrier && self.in_flight > 0) {
            return Next::Blocked;
        }
        self.barrier = false;
        if self.idempotent
            && self.in_flight == 0
            && let Err(needs) = self.close_gap(present, lost)
        {
            return needs;
        }
        let Some(entry) = self.entries.iter_mut().find(|e| matches!(e.state, State::Waiting(_))) else {
            return Next::Fresh;
        };
        if let Some(at) = self.retry_at.filter(|&at| at > now) {
            return Next::NotBefore(at);
        }
        let State::Waiting(batch) = std::mem::replace(&mut entry.state, State::InFlight) else { return Next::Blocked };
        self.in_flight += 1;
        let restamp = std::mem::take(&mut entry.restamp);
        let (ticket, sequence) = (entry.ticket, entry.sequence);
        Next::Again { ticket, batch, stamp: self.stamp(sequence), restamp }
    }

    /// With nothing under way: takes the numbers of the waiting batches to where the broker expects them.
    fn close_gap(&mut self, present: Option<Identity>, lost: &mut Vec<B>) -> Result<(), Next<B>> {
        if self.gap == Gap::Renumber && self.entries.iter().any(|e| e.maybe_written) {
            self.gap = Gap::Bump;
        }
        let stale = self.entries.is_empty() && self.identity != present;
        if self.gap == Gap::Bump || self.identity.is_none() || stale {
            if present.is_none() || (self.gap == Gap::Bump && present == self.identity) {
                return Err(Next::NeedsIdentity(self.identity));
            }
            // What may be written keeps its number or is given up: under another it could be written twice.
            let (lost_now, kept) = std::mem::take(&mut self.entries).into_iter().partition(|e| e.maybe_written);
            self.entries = kept;
            lost.extend(VecDeque::into_iter(lost_now).filter_map(Entry::into_batch));
            self.identity = present;
            self.proven = false;
            self.written = 0;
            self.gap = Gap::Renumber;
        }
        if self.gap == Gap::Renumber {
            let mut sequence = self.written;
            for entry in &mut self.entries {
                entry.sequence = sequence;
                entry.restamp = true;
                sequence = advance(sequence, entry.count);
            }
            self.next = sequence;
            self.gap = Gap::None;
        }
        Ok(())
    }

    /// Takes a fresh batch of `count` records on its way, after [`Next::Fresh`].
    pub(crate) fn send(&mut self, count: u32) -> (Ticket, ProducerStamp) {
        let ticket = self.ticket();
        let sequence = self.next;
        self.next = advance(sequence, count);
        self.in_flight += 1;
        let state = State::InFlight;
        let entry = Entry { ticket, count, sequence, maybe_written: false, tried: false, restamp: false, state };
        self.entries.push_back(entry);
        (ticket, self.stamp(sequence))
    }

    /// Takes in how a try ended. `retry_at` is the earliest time of another one.
    pub(crate) fn settle(&mut self, ticket: Ticket, batch: B, answer: Answer, retry_at: Option<Instant>) -> Verdict<B> {
        let Some(at) = self.entries.iter().position(|e| e.ticket == ticket) else {
            debug_assert!(false, "a ticket was settled twice");
            return Verdict::Failed { batch, maybe_written: true };
        };
        self.in_flight -= 1;
        let entry = &mut self.entries[at];
        match answer {
            Answer::Written => {
                let end = advance(entry.sequence, entry.count);
                // A late answer to an earlier batch must not take it back; numbers wrap.
                if end.wrapping_sub(self.written) & i32::MAX < 1 << 30 {
                    self.written = end;
                }
                self.proven = true;
                if self.entries.remove(at).is_some() && self.entries.is_empty() {
                    self.retry_at = None;
                }
                return Verdict::Written(batch);
            }
            Answer::Failed { maybe_written } => {
                let maybe_written = maybe_written || entry.maybe_written;
                self.entries.remove(at);
                self.leave_gap(maybe_written);
                return Verdict::Failed { batch, maybe_written };
            }
            Answer::TooLarge if entry.count > 1 => {
                entry.state = State::InFlight;
                self.in_flight += 1; // until `split`
                return Verdict::Split(batch);
            }
            Answer::TooLarge => {
                let maybe_written = entry.maybe_written;
                self.entries.remove(at);
                self.leave_gap(maybe_written);
                return Verdict::Failed { batch, maybe_written };
            }
            Answer::Retry { maybe_written } => {
                entry.maybe_written |= maybe_written;
                if mutant!(RetryWithNewSequence) {
                    (entry.sequence, entry.restamp) = (self.next, true);
                    self.next = advance(self.next, entry.count);
                }
            }
            // Behind another batch, or a gap, it only says that the one before failed.
            Answer::OutOfOrder if at > 0 || self.gap == Gap::Renumber => {}
            Answer::OutOfOrder | Answer::UnknownProducer => self.gap = Gap::Bump,
        }
        self.entries[at].state = State::Waiting(batch);
        self.entries[at].tried = true;
        self.barrier = true;
        self.retry_at = self.retry_at.max(retry_at);
        Verdict::Kept
    }

    /// Puts the pieces of a batch that was too large, with their record counts, in its place.
    pub(crate) fn split(&mut self, ticket: Ticket, pieces: Vec<(u32, B)>) {
        let Some(at) = self.entries.iter().position(|e| e.ticket == ticket) else { return };
        let Some(whole) = self.entries.remove(at) else { return };
        self.in_flight -= 1;
        self.barrier = true;
        let mut sequence = whole.sequence;
        for (i, (count, batch)) in pieces.into_iter().enumerate() {
            let ticket = self.ticket();
            let (maybe_written, state) = (whole.maybe_written, State::Waiting(batch));
            let entry = Entry { ticket, count, sequence, maybe_written, tried: maybe_written, restamp: true, state };
            self.entries.insert(at + i, entry);
            sequence = advance(sequence, count);
        }
    }

    /// Takes out the waiting batches for which `expired` says so, with whether they may have been written.
    pub(crate) fn expire(&mut self, mut expired: impl FnMut(&B) -> bool) -> Vec<(B, bool)> {
        let mut out = Vec::new();
        let mut kept = VecDeque::with_capacity(self.entries.len());
        for entry in std::mem::take(&mut self.entries) {
            match entry.state {
                State::Waiting(batch) if expired(&batch) => out.push((batch, entry.maybe_written)),
                state => kept.push_back(Entry { state, ..entry }),
            }
        }
        self.entries = kept;
        for (_, maybe_written) in &out {
            self.leave_gap(*maybe_written);
        }
        out
    }

    /// Takes out a batch under way that was not sent after all.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        if let Some(at) = self.entries.iter().position(|e| e.ticket == ticket) {
            self.in_flight -= 1;
            let maybe_written = self.entries[at].maybe_written;
            self.entries.remove(at);
            self.leave_gap(maybe_written);
        }
    }

    /// Forgets the backoff: the leader has changed.
    pub(crate) fn retry_now(&mut self) {
        self.retry_at = None;
    }

    /// The waiting batches, first one first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &B> {
        self.entries.iter().filter_map(|e| match &e.state {
            State::Waiting(batch) => Some(batch),
            State::InFlight => None,
        })
    }

    /// A number was given out that the broker will never see, or whose fate nobody will know.
    fn leave_gap(&mut self, maybe_written: bool) {
        self.gap = self.gap.max(if maybe_written { Gap::Bump } else { Gap::Renumber });
        self.barrier = true;
    }

    fn stamp(&self, base_sequence: i32) -> ProducerStamp {
        match self.identity {
            Some(Identity { producer_id, epoch }) if self.idempotent => {
                ProducerStamp { producer_id, producer_epoch: epoch, base_sequence }
            }
            _ => NO_PRODUCER,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

impl<B> Entry<B> {
    fn into_batch(self) -> Option<B> {
        match self.state {
            State::Waiting(batch) => Some(batch),
            State::InFlight => None,
        }
    }
}

/// Sequence numbers go from `i32::MAX` back to 0.
fn advance(sequence: i32, count: u32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
pub(super) mod tests;
