//! What a queue's lock protects, and the choice of what is sent next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Take;
use super::ends::Dead;
use crate::client::producer::delivery::Completion;
use crate::client::producer::parcel::{OpenBatch, Parcel};
use crate::client::producer::sequencer::{Next, Sequencer, Ticket};
use crate::client::producer::shared::Shared;
use crate::client::retry::Backoff;
use crate::client::types::TopicPartition;
use crate::error::Error;
use crate::wire::records::{BatchBuilder, ProducerStamp};

/// See the module.
pub(super) struct State {
    pub(super) open: Option<OpenBatch>,
    /// Full or flushed, never sent.
    pub(super) closed: VecDeque<OpenBatch>,
    pub(super) sequencer: Sequencer<Parcel>,
    /// Where the batches under way were sent.
    pub(super) owner: i32,
    pub(super) stage: Stage,
    pub(super) backoff: Backoff,
    /// Batches whose end is not known, oldest first.
    pub(super) unsettled: VecDeque<Arc<Completion>>,
    pub(super) last_error: Option<Error>,
    /// Why nothing more is taken in.
    pub(super) shut: Option<Error>,
}

/// What the client knows of this queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing: the next append submits it.
    Idle,
    /// It will look at it by itself.
    Listed,
    /// It will look when the open batch is due: a batch that is full before submits it again.
    Lingering,
}

/// What [`State::step`] decided; the work is done when the lock is gone.
pub(super) enum Step {
    Report(Take),
    Again(Ticket, Parcel),
    Restamp(Ticket, Parcel, ProducerStamp),
    Seal(Ticket, OpenBatch, ProducerStamp),
}

impl State {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            open: None,
            closed: VecDeque::new(),
            sequencer: Sequencer::new(shared.config.idempotent, shared.config.max_in_flight),
            owner: -1,
            stage: Stage::Idle,
            backoff: Backoff::new(shared.backoff),
            unsettled: VecDeque::new(),
            last_error: None,
            shut: None,
        }
    }

    /// What can be sent at `now` to the broker `owner`. What ran out of time lands in `dead`.
    pub(super) fn step(&mut self, shared: &Shared, now: Instant, owner: i32, dead: &mut Dead) -> Step {
        let mut lost = Vec::new();
        let step = self.choose(shared, now, owner, dead, &mut lost);
        dead.parcels.extend(lost.into_iter().map(|parcel| (parcel, true)));
        if let Step::Report(Take::Idle) = step {
            self.stage = Stage::Idle;
        }
        step
    }

    fn choose(&mut self, shared: &Shared, now: Instant, owner: i32, dead: &mut Dead, lost: &mut Vec<Parcel>) -> Step {
        if let Some(error) = self.shut.clone() {
            dead.why = Some(error);
            self.kill(dead, |_| true);
        } else {
            self.kill(dead, |deadline| deadline <= now);
        }
        let Some(deadline) = self.deadline() else { return Step::Report(Take::Idle) };
        let linger_until = match &self.open {
            Some(open) if self.closed.is_empty() => Some(open.due).filter(|&due| due > now),
            _ => None,
        };
        if self.sequencer.waiting().next().is_none()
            && self.closed.is_empty()
            && let Some(due) = linger_until
        {
            self.stage = Stage::Lingering;
            return Step::Report(Take::Later(due.min(deadline)));
        }
        self.stage = Stage::Listed;
        if self.sequencer.in_flight() > 0 && self.owner != owner {
            return Step::Report(Take::Later(deadline));
        }
        let mut present = match shared.identity.present() {
            Ok(present) => present,
            Err(error) if shared.config.idempotent => {
                dead.why = Some(error);
                self.kill(dead, |_| true);
                return Step::Report(Take::Idle);
            }
            Err(_) => None,
        };
        loop {
            match self.sequencer.next(now, present, lost) {
                Next::NeedsIdentity(Some(old)) if present == Some(old) => {
                    present = shared.identity.bump(old);
                    if present.is_none() {
                        return Step::Report(Take::NeedsIdentity(deadline));
                    }
                }
                Next::NeedsIdentity(_) => return Step::Report(Take::NeedsIdentity(deadline)),
                Next::NotBefore(at) => return Step::Report(Take::Later(at.min(deadline))),
                Next::Blocked => return Step::Report(Take::Later(deadline)),
                Next::Again { ticket, batch, stamp, restamp } => {
                    self.owner = owner;
                    return if restamp { Step::Restamp(ticket, batch, stamp) } else { Step::Again(ticket, batch) };
                }
                Next::Fresh => {
                    let Some(open) = self.closed.pop_front().or_else(|| self.open.take()) else {
                        return Step::Report(Take::Idle); // what waited was lost to a bump
                    };
                    self.owner = owner;
                    let (ticket, stamp) = self.sequencer.send(open.builder.count());
                    return Step::Seal(ticket, open, stamp);
                }
            }
        }
    }

    pub(super) fn open(&mut self, shared: &Shared, tp: &Arc<TopicPartition>) {
        let Shared { config, env, .. } = shared;
        let now = env.now();
        let completion = Completion::new(tp.clone());
        self.unsettled.push_back(completion.clone());
        self.open = Some(OpenBatch {
            builder: BatchBuilder::new(config.batch_size, shared.buffer()),
            completion,
            due: now + config.linger,
            deadline: now + config.delivery_timeout,
            reserved: 0,
        });
    }

    pub(super) fn close(&mut self) {
        self.closed.extend(self.open.take());
    }

    /// The deadline of the oldest batch that waits; `None` if none does.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.sequencer.waiting().next().map(|parcel| parcel.deadline);
        waiting.or_else(|| self.closed.front().or(self.open.as_ref()).map(|open| open.deadline))
    }

    /// Takes out the waiting batches whose deadline says so.
    pub(super) fn kill(&mut self, dead: &mut Dead, expired: impl Fn(Instant) -> bool) {
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
