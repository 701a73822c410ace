//! What waits to be written to one partition: the open batch that appends go into, closed batches, and those under
//! way. Callers append under a short lock; whoever can reach the leader takes batches out and settles each once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::delivery::{Completion, Delivery, Fate};
use super::parcel::{OpenBatch, Parcel};
use super::sequencer::{Answer, Next, Sequencer, Ticket, Verdict};
use super::shared::Shared;
use crate::client::backend::PartitionClient;
use crate::client::retry::Backoff;
use crate::client::types::TopicPartition;
use crate::env::lock;
use crate::error::{Error, ErrorKind};
use crate::wire::records::{BatchBuilder, ProducerStamp};

/// See the module.
pub(crate) struct PartitionQueue {
    /// Orders the queues of a process; those of one topic follow each other.
    id: u64,
    tp: Arc<TopicPartition>,
    shared: Arc<Shared>,
    client: Arc<dyn PartitionClient>,
    state: Mutex<State>,
}

struct State {
    open: Option<OpenBatch>,
    /// Full or flushed, never sent.
    closed: VecDeque<OpenBatch>,
    sequencer: Sequencer<Parcel>,
    /// Where the batches under way were sent.
    owner: i32,
    stage: Stage,
    backoff: Backoff,
    /// Batches whose end is not known, oldest first.
    unsettled: VecDeque<Arc<Completion>>,
    last_error: Option<Error>,
    /// Why nothing more is taken in.
    shut: Option<Error>,
}

/// What the client knows of this queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing: the next append submits it.
    Idle,
    /// It will look at it by itself.
    Listed,
    /// It will look when the open batch is due: a batch that is full before submits it again.
    Lingering,
}

/// What a record consists of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecordParts<'a> {
    /// Milliseconds since 1970; `None` is now.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Why a queue did not take a record.
#[derive(Debug)]
pub(super) enum Refused {
    /// It would need a new batch, and the caller asked not to begin one.
    NoBatch,
    /// It takes nothing any more.
    Shut(Error),
}

/// What a client gets when it can send.
pub(crate) enum Take {
    /// Send it, then [`PartitionQueue::settle`] it.
    Batch(Taken),
    /// Nothing before this time; an append or an answer may change that.
    Later(Instant),
    /// The producer needs an id first; look again at this time at the latest.
    NeedsIdentity(Instant),
    /// Nothing at all: the queue will be submitted again.
    Idle,
}

/// A batch on its way.
#[must_use = "a taken batch has to be settled"]
pub(crate) struct Taken {
    pub(crate) queue: Arc<PartitionQueue>,
    pub(crate) parcel: Parcel,
    ticket: Ticket,
}

impl Taken {
    /// When its records are reported as failed if they are not written until then.
    pub(crate) fn deadline(&self) -> Instant {
        self.parcel.deadline
    }
}

/// How a try to write a batch ended, as a client reports it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Written { base_offset: Option<i64>, log_append_time: Option<i64> },
    Refused { answer: Answer, error: Error, retry: Retry },
}

/// When a refused batch may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    AtOnce,
    AfterBackoff,
}

/// Batches to be reported when the lock is gone.
#[derive(Default)]
struct Dead {
    open: Vec<OpenBatch>,
    parcels: Vec<(Parcel, bool)>,
    why: Option<Error>,
}

impl PartitionQueue {
    pub(super) fn new(id: u64, tp: TopicPartition, shared: Arc<Shared>, client: Arc<dyn PartitionClient>) -> Arc<Self> {
        let config = &shared.config;
        let state = State {
            open: None,
            closed: VecDeque::new(),
            sequencer: Sequencer::new(config.idempotent, config.max_in_flight),
            owner: -1,
            stage: Stage::Idle,
            backoff: Backoff::new(shared.backoff),
            unsettled: VecDeque::new(),
            last_error: None,
            shut: None,
        };
        Arc::new(Self { id, tp: Arc::new(tp), shared, client, state: Mutex::new(state) })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn tp(&self) -> &Arc<TopicPartition> {
        &self.tp
    }

    /// What all queues of its producer share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Tells the client to look at it.
    pub(crate) fn submit(self: &Arc<Self>) {
        self.client.submit(self);
    }

    /// Encodes a record into the open batch. `reserved` bytes have been taken from the budget for it.
    /// Without `may_open` it goes only into a batch that is open already.
    pub(super) fn append(
        self: &Arc<Self>,
        parts: &RecordParts<'_>,
        timestamp: i64,
        reserved: usize,
        may_open: bool,
    ) -> Result<Delivery, Refused> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.shut {
            return Err(Refused::Shut(error.clone()));
        }
        let delivery = loop {
            if let Some(open) = &mut state.open {
                if let Ok(index) = open.builder.try_append(timestamp, parts.key, parts.value, parts.headers) {
                    open.reserved += reserved;
                    let delivery = Delivery::new(open.completion.clone(), index, timestamp);
                    if open.builder.size() >= self.shared.config.batch_size {
                        state.close();
                    }
                    break delivery;
                }
                state.close();
            }
            if !may_open {
                return Err(Refused::NoBatch);
            }
            state.open(self);
        };
        let wake = match state.stage {
            Stage::Idle => true,
            Stage::Lingering => !state.closed.is_empty(),
            Stage::Listed => false,
        };
        if wake {
            state.stage = Stage::Listed;
        }
        drop(state);
        if wake {
            self.submit();
        }
        Ok(delivery)
    }

    /// Makes everything appended so far due at once, and says what has to be waited for.
    pub(super) fn flush(self: &Arc<Self>) -> Vec<Arc<Completion>> {
        let mut state = lock(&self.state);
        let wake = state.open.is_some() && state.stage != Stage::Listed;
        state.close();
        if wake {
            state.stage = Stage::Listed;
        }
        let unsettled = state.unsettled.iter().cloned().collect();
        drop(state);
        if wake {
            self.submit();
        }
        unsettled
    }

    /// Takes nothing more in and fails what is not under way.
    pub(super) fn shut(self: &Arc<Self>, error: Error) {
        let mut dead = Dead { why: Some(error.clone()), ..Dead::default() };
        let mut state = lock(&self.state);
        state.shut.get_or_insert(error);
        state.kill(&mut dead, |_| true);
        let listed = state.stage != Stage::Idle;
        drop(state);
        self.bury(dead);
        if listed {
            self.submit(); // so that the client lets go of it
        }
    }

    /// The next batch for the broker `owner`, if it may be sent now. Compresses and stamps it.
    pub(crate) fn take(self: &Arc<Self>, now: Instant, owner: i32) -> Take {
        let mut dead = Dead::default();
        let mut lost = Vec::new();
        let mut state = lock(&self.state);
        let step = self.step(&mut state, now, owner, &mut dead, &mut lost);
        if let Step::Report(Take::Idle) = step {
            state.stage = Stage::Idle;
        }
        drop(state);
        dead.parcels.extend(lost.into_iter().map(|parcel| (parcel, true)));
        self.bury(dead);
        let (ticket, parcel) = match step {
            Step::Report(take) => return take,
            Step::Again(ticket, parcel) => (ticket, parcel),
            Step::Restamp(ticket, mut parcel, stamp) => {
                parcel.restamp(stamp);
                (ticket, parcel)
            }
            Step::Seal(ticket, open, stamp) => {
                let (completion, count, reserved) = (open.completion.clone(), open.builder.count(), open.reserved);
                match Parcel::seal(open, self.shared.config.compression, stamp) {
                    Ok(parcel) => (ticket, parcel),
                    Err(error) => {
                        lock(&self.state).sequencer.forget(ticket);
                        let error =
                            Error::from(error).wrap(ErrorKind::NotWritten, format!("{}: cannot be encoded", self.tp));
                        completion.settle(0, count, count, Fate::Failed(error));
                        self.release(&completion, reserved);
                        return self.take(now, owner);
                    }
                }
            }
        };
        Take::Batch(Taken { queue: self.clone(), parcel, ticket })
    }

    fn step(&self, state: &mut State, now: Instant, owner: i32, dead: &mut Dead, lost: &mut Vec<Parcel>) -> Step {
        if let Some(error) = state.shut.clone() {
            dead.why = Some(error);
            state.kill(dead, |_| true);
        } else {
            state.kill(dead, |deadline| deadline <= now);
        }
        let Some(deadline) = state.deadline() else { return Step::Report(Take::Idle) };
        let linger_until = match &state.open {
            Some(open) if state.closed.is_empty() => Some(open.due).filter(|&due| due > now),
            _ => None,
        };
        if state.sequencer.waiting().next().is_none() && state.closed.is_empty() {
            if let Some(due) = linger_until {
                state.stage = Stage::Lingering;
                return Step::Report(Take::Later(due.min(deadline)));
            }
        }
        state.stage = Stage::Listed;
        if state.sequencer.in_flight() > 0 && state.owner != owner {
            return Step::Report(Take::Later(deadline));
        }
        let mut present = match self.shared.identity.present() {
            Ok(present) => present,
            Err(error) if self.shared.config.idempotent => {
                dead.why = Some(error);
                state.kill(dead, |_| true);
                return Step::Report(Take::Idle);
            }
            Err(_) => None,
        };
        loop {
            match state.sequencer.next(now, present, lost) {
                Next::NeedsIdentity(Some(old)) if present == Some(old) => {
                    present = self.shared.identity.bump(old);
                    if present.is_none() {
                        return Step::Report(Take::NeedsIdentity(deadline));
                    }
                }
                Next::NeedsIdentity(_) => return Step::Report(Take::NeedsIdentity(deadline)),
                Next::NotBefore(at) => return Step::Report(Take::Later(at.min(deadline))),
                Next::Blocked => return Step::Report(Take::Later(deadline)),
                Next::Again { ticket, batch, stamp, restamp } => {
                    state.owner = owner;
                    return if restamp { Step::Restamp(ticket, batch, stamp) } else { Step::Again(ticket, batch) };
                }
                Next::Fresh => {
                    let Some(open) = state.closed.pop_front().or_else(|| state.open.take()) else {
                        return Step::Report(Take::Idle); // what waited was lost to a bump
                    };
                    state.owner = owner;
                    let (ticket, stamp) = state.sequencer.send(open.builder.count());
                    return Step::Seal(ticket, open, stamp);
                }
            }
        }
    }

    /// Fails what has run out of time, while nothing can be sent; the next deadline, or `None` if nothing waits.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut dead = Dead::default();
        let mut state = lock(&self.state);
        dead.why = state.shut.clone();
        let shut = dead.why.is_some();
        state.kill(&mut dead, |deadline| shut || deadline <= now);
        let next = state.deadline();
        state.stage = if next.is_some() { Stage::Listed } else { Stage::Idle };
        drop(state);
        self.bury(dead);
        next
    }

    /// Takes in how a try ended.
    pub(crate) fn settle(&self, taken: Taken, outcome: Outcome, now: Instant) {
        let Taken { mut parcel, ticket, .. } = taken;
        let mut state = lock(&self.state);
        let (answer, retry_at, fate) = match outcome {
            Outcome::Written { base_offset, log_append_time } => {
                state.backoff.reset();
                state.last_error = None;
                (Answer::Written, None, Some(Fate::Written { base_offset, log_append_time }))
            }
            Outcome::Refused { answer, error, retry } => {
                parcel.last_error = Some(error.clone());
                state.last_error = Some(error);
                let at = match retry {
                    Retry::AtOnce => None,
                    Retry::AfterBackoff => Some(now + self.shared.env.random(|rng| state.backoff.next(rng))),
                };
                (answer, at, None)
            }
        };
        let verdict = state.sequencer.settle(ticket, parcel, answer, retry_at);
        drop(state);
        match verdict {
            Verdict::Kept => {}
            Verdict::Written(parcel) => {
                if let Some(fate) = fate {
                    self.finish(parcel, fate);
                }
            }
            Verdict::Failed { batch, maybe_written } => {
                let error = self.refusal(&batch, maybe_written);
                self.finish(batch, Fate::Failed(error));
            }
            Verdict::Split(parcel) => match parcel.split(self.shared.config.compression) {
                Ok(pieces) => {
                    let pieces = pieces.into_iter().map(|piece| (piece.count(), piece)).collect();
                    lock(&self.state).sequencer.split(ticket, pieces);
                }
                Err(error) => {
                    lock(&self.state).sequencer.forget(ticket);
                    self.finish(parcel, Fate::Failed(error.into()));
                }
            },
        }
    }

    /// The leader has changed: what waits out a backoff may go at once.
    pub(crate) fn retry_now(&self) {
        lock(&self.state).sequencer.retry_now();
    }

    /// Batches sent and not answered.
    pub(crate) fn in_flight(&self) -> usize {
        lock(&self.state).sequencer.in_flight()
    }

    /// Remembers why nothing can be sent at present, to tell it when time runs out.
    pub(crate) fn note(&self, error: &Error) {
        lock(&self.state).last_error = Some(error.clone());
    }

    fn bury(&self, dead: Dead) {
        let Dead { open, parcels, why } = dead;
        for (parcel, maybe_written) in parcels {
            let cause = why.clone().or_else(|| parcel.last_error.clone());
            self.finish(parcel, Fate::Failed(self.end(maybe_written, cause)));
        }
        for open in open {
            let cause = why.clone().or_else(|| lock(&self.state).last_error.clone());
            let count = open.builder.count();
            open.completion.settle(0, count, count, Fate::Failed(self.end(false, cause)));
            self.release(&open.completion, open.reserved);
        }
    }

    fn finish(&self, parcel: Parcel, fate: Fate) {
        let (completion, reserved) = (parcel.completion().clone(), parcel.reserved);
        if let Some(buffer) = parcel.finish(fate) {
            self.shared.keep(buffer);
        }
        self.release(&completion, reserved);
    }

    fn release(&self, completion: &Arc<Completion>, reserved: usize) {
        if completion.is_settled() {
            lock(&self.state).unsettled.retain(|c| !Arc::ptr_eq(c, completion));
        }
        self.shared.budget.give_back(reserved);
    }

    /// The error of a batch that the broker refused for good.
    fn refusal(&self, parcel: &Parcel, maybe_written: bool) -> Error {
        let cause = parcel.last_error.clone();
        match cause {
            Some(error) if error.kind() == ErrorKind::MessageTooLarge && !maybe_written => error.wrap(
                ErrorKind::MessageTooLarge,
                format!(
                    "{}: the message is larger than the topic allows: raise the topic's max.message.bytes",
                    self.tp
                ),
            ),
            cause => self.end(maybe_written, cause),
        }
    }

    fn end(&self, maybe_written: bool, cause: Option<Error>) -> Error {
        let (kind, what) = if maybe_written {
            (ErrorKind::MaybeWritten, "the message was sent, but whether it was written is unknown")
        } else {
            (ErrorKind::NotWritten, "the message was not written")
        };
        let limit = self.shared.config.delivery_timeout;
        match cause {
            Some(cause) => cause.wrap(kind, format!("{}: {what}", self.tp)),
            None => Error::new(kind, format!("{}: {what} within delivery_timeout ({limit:?})", self.tp)),
        }
    }
}

enum Step {
    Report(Take),
    Again(Ticket, Parcel),
    Restamp(Ticket, Parcel, ProducerStamp),
    Seal(Ticket, OpenBatch, ProducerStamp),
}

impl State {
    fn open(&mut self, queue: &PartitionQueue) {
        let Shared { config, env, .. } = &*queue.shared;
        let now = env.now();
        let completion = Completion::new(queue.tp.clone());
        self.unsettled.push_back(completion.clone());
        self.open = Some(OpenBatch {
            builder: BatchBuilder::new(config.batch_size, queue.shared.buffer()),
            completion,
            due: now + config.linger,
            deadline: now + config.delivery_timeout,
            reserved: 0,
        });
    }

    fn close(&mut self) {
        self.closed.extend(self.open.take());
    }

    /// The deadline of the oldest batch that waits; `None` if none does.
    fn deadline(&self) -> Option<Instant> {
        let waiting = self.sequencer.waiting().next().map(|parcel| parcel.deadline);
        waiting.or_else(|| self.closed.front().or(self.open.as_ref()).map(|open| open.deadline))
    }

    /// Takes out the waiting batches whose deadline says so.
    fn kill(&mut self, dead: &mut Dead, expired: impl Fn(Instant) -> bool) {
        if !self.deadline().is_some_and(&expired) {
            return; // deadlines only grow from the oldest batch on
        }
        dead.parcels.extend(self.sequencer.expire(|parcel| expired(parcel.deadline)));
        while self.closed.front().is_some_and(|open| expired(open.deadline)) {
            dead.open.extend(self.closed.pop_front());
        }
        if self.open.as_ref().is_some_and(|open| expired(open.deadline)) {
            dead.open.extend(self.open.take());
        }
    }
}

impl fmt::Debug for PartitionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionQueue({})", self.tp)
    }
}
