//! What waits to be written to one partition: the open batch that appends go into, closed batches, and those under
//! way. Callers append under a short lock; whoever can reach the leader takes batches out and settles each once.

mod ends;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use self::ends::Dead;
use self::state::{Stage, State, Step};
use super::delivery::{Completion, Delivery, Fate};
use super::parcel::Parcel;
use super::sequencer::{Answer, Ticket, Verdict};
use super::shared::Shared;
use crate::client::backend::PartitionClient;
use crate::client::types::TopicPartition;
use crate::env::lock;
use crate::error::{Error, ErrorKind};
use crate::telemetry::meter::SendMeter;
use crate::wire::records::Packing;

/// See the module.
pub(crate) struct PartitionQueue {
    /// Orders the queues of a process; those of one topic follow each other.
    id: u64,
    tp: Arc<TopicPartition>,
    shared: Arc<Shared>,
    client: Arc<dyn PartitionClient>,
    /// How its batches are compressed.
    packing: Packing,
    meter: SendMeter,
    state: Mutex<State>,
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

    /// Reports its records, as such whose fate is unknown, when its time is over; once. The batch stays under way, with its
    /// number and its memory: it has to be settled like any other.
    pub(crate) fn give_up(&mut self) {
        self.queue.report(&mut self.parcel);
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

impl PartitionQueue {
    pub(super) fn new(id: u64, tp: TopicPartition, shared: Arc<Shared>, client: Arc<dyn PartitionClient>) -> Arc<Self> {
        let state = State::new(&shared);
        let packing = shared.config.packing(&tp.topic);
        let meter = SendMeter::new(&tp.topic, tp.partition);
        Arc::new(Self { id, tp: Arc::new(tp), shared, client, packing, meter, state: Mutex::new(state) })
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
            state.open(&self.shared, &self.tp);
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

    /// Takes records in again, if it was shut.
    pub(super) fn reopen(&self) {
        lock(&self.state).shut = None;
    }

    /// The next batch for the broker `owner`, if it may be sent now. Compresses and stamps it.
    pub(crate) fn take(self: &Arc<Self>, now: Instant, owner: i32) -> Take {
        let mut dead = Dead::default();
        let mut state = lock(&self.state);
        let step = state.step(&self.shared, now, owner, &mut dead);
        drop(state);
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
                match Parcel::seal(open, self.packing, stamp) {
                    Ok(parcel) => (ticket, parcel),
                    Err(error) => {
                        lock(&self.state).sequencer.forget(ticket);
                        let error =
                            Error::from(error).wrap(ErrorKind::NotWritten, format!("{}: cannot be encoded", self.tp));
                        self.meter.failed(&self.tp.topic, self.tp.partition, count, false, &error);
                        completion.settle(0, count, count, Fate::Failed(error));
                        self.release(&completion, reserved);
                        return self.take(now, owner);
                    }
                }
            }
        };
        Take::Batch(Taken { queue: self.clone(), parcel, ticket })
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
                    if !parcel.reported {
                        let begun = parcel.deadline.checked_sub(self.shared.config.delivery_timeout).unwrap_or(now);
                        let took = now.saturating_duration_since(begun);
                        self.meter.acknowledged(parcel.count(), parcel.size(), took);
                    }
                    self.finish(parcel, fate);
                }
            }
            Verdict::Failed { batch, maybe_written } => {
                let error = self.refusal(&batch, maybe_written);
                self.finish(batch, Fate::Failed(error));
            }
            Verdict::Split(parcel) => match parcel.split(self.packing) {
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

    /// Fails what waits, for a reason that waiting does not mend. What comes later is tried anew.
    pub(crate) fn fail(&self, error: &Error) {
        let mut dead = Dead { why: Some(error.clone()), ..Dead::default() };
        lock(&self.state).kill(&mut dead, |_| true);
        self.bury(dead);
    }

    /// Remembers why nothing can be sent at present, to tell it when time runs out.
    pub(crate) fn note(&self, error: &Error) {
        lock(&self.state).last_error = Some(error.clone());
    }
}

impl fmt::Debug for PartitionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionQueue({})", self.tp)
    }
}
