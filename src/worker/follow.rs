//! What follows on a handler's end, in its lane: the next attempt in place, the way to a retry topic or to the dead
//! letters (`passing.rs`), aftercare, and what else the failure policy says.
//! A record waits here in the lane's sets, never in a task of its own. What must stay true: a record leaves its lane as
//! finished only when nothing follows any more, and one that was given up before its next attempt is never finished.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};

use super::aftercare::{Aftercare, Begun, Ending, cut_off};
use super::failure::{Failure, HandlerError};
use super::forward::Destination;
use super::job::{Job, Kept, Subject, Ticket};
use super::lane::Lane;
use super::pool::Shared;
use super::record::{Assignment, Block, Origin, Record};
use super::retry::Last;
use super::scheduler::{Done, End};
use super::written::Written;
use crate::client::retry::Backoff;
use crate::client::types::TopicPartition;
use crate::env::Env;
use crate::wire::records::RecordView;
use crate::{Error, Result};

/// How long aftercare goes on when its partition is taken away or the subscription stops; at most half of what the drain
/// waits, so that a topic that acknowledges no answers does not make the next owner handle records again.
const MAX_FAREWELL: Duration = Duration::from_secs(2);

/// Aftercare under way.
pub(super) type Tending<B> = BoxFuture<'static, Tended<B>>;

/// It has ended.
pub(super) enum Tended<B> {
    /// That of one record. Without a result it was cut off.
    One { done: Done, record: Record<B>, result: Option<Result<()>> },
    /// The waiting for the batch of this number.
    Batch { number: u64, result: Option<Result<()>> },
}

impl<B, H, F> Lane<B, H, F>
where
    B: Block,
    H: Fn(Record<B>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    /// What must be kept of a record before its handler is called.
    #[inline]
    pub(super) fn keep(&self, record: &Record<B>) -> Option<Kept<B>> {
        let care = self.rules.aftercare.as_ref().is_some_and(|aftercare| aftercare.concerns(record));
        if !care && !self.rules.plan.keeps() {
            return None;
        }
        let begun_ms = if care { self.env.wall_ms() } else { 0 };
        let backoff = Backoff::new(self.rules.plan.backoff);
        Some(Kept {
            record: record.clone(),
            care,
            begun_ms,
            ended_ms: 0,
            backoff,
            passing: None,
            refused: Default::default(),
        })
    }

    /// A record for its first attempt in place.
    #[inline]
    pub(super) fn first(&self, origin: &Arc<Origin<B>>, view: RecordView) -> Record<B> {
        let record = Record::new(origin.clone(), view, 1);
        match record.stage() {
            0 => record,
            stage => {
                let said = self.rules.forward.as_ref().and_then(|forward| forward.attempts_before(&record));
                record.after(self.rules.plan.attempts_before(stage, said))
            }
        }
    }

    /// A handler has ended: how its record ends, or `None` if something is waited for.
    pub(super) fn follow(&mut self, subject: Subject<B>, result: Result<(), HandlerError>) -> Option<End> {
        let Subject { ticket, assignment, offset, kept } = subject;
        let Err(error) = result else {
            return match kept {
                Some(kept) if kept.care => self.tend(*kept, ticket, End::Finished, Ok(()), false),
                _ => Some(End::Finished),
            };
        };
        let unfit = error.is_unfit();
        let error = error.into_error(&assignment.tp, offset);
        let Some(mut kept) = kept else { return Some(self.failed(&error, &assignment.tp, offset)) };
        let plan = self.rules.plan;
        if !unfit && kept.backoff.failures() + 1 < plan.attempts {
            let attempt = kept.record.attempt();
            tracing::debug!(target: "dispatcher::worker", %error, attempt, "a handler failed: to be tried again");
            self.rules.meter.retried(&assignment.tp.topic);
            kept.record = kept.record.again();
            self.rest(Subject { ticket, assignment, offset, kept: Some(kept) });
            return None;
        }
        let stage = kept.record.stage();
        if !unfit && stage < plan.stages {
            tracing::debug!(target: "dispatcher::worker", %error, "a handler failed: to the next retry topic");
            kept.passing = Some((Destination::Retry(stage + 1), error));
        } else {
            let end = self.failed(&error, &assignment.tp, offset);
            match plan.last {
                Last::DeadLetter => kept.passing = Some((Destination::DeadLetters, error)),
                _ if kept.care => return self.tend(*kept, ticket, end, Err(error), false),
                _ => return Some(end),
            }
        }
        kept.backoff.reset();
        if kept.care {
            kept.ended_ms = self.env.wall_ms();
        }
        self.forward(Subject { ticket, assignment, offset, kept: Some(kept) })
    }

    /// Waits before the next attempt at whatever failed.
    pub(super) fn rest(&mut self, mut subject: Subject<B>) {
        let Some(kept) = &mut subject.kept else { return };
        let pause = self.env.random(|rng| kept.backoff.next(rng));
        let rest = rest(self.env.clone(), self.shared.clone(), subject.assignment.clone(), pause);
        self.running.push(Job::resting(rest, subject));
    }

    /// Begins aftercare; what waits for the record's key or partition waits no longer.
    pub(super) fn tend(
        &mut self,
        kept: Kept<B>,
        ticket: Ticket,
        end: End,
        outcome: Result<(), Error>,
        again: bool,
    ) -> Option<End> {
        let Some(aftercare) = self.rules.aftercare.clone() else { return Some(end) };
        let Kept { record, begun_ms, ended_ms, .. } = kept;
        let ended_ms = if ended_ms == 0 { self.env.wall_ms() } else { ended_ms };
        let ending = Ending { begun_ms, ended_ms, outcome, again };
        let done = Done { tended: true, ..Ticket { key: None, ..ticket }.done(end) };
        match aftercare.begin(&record, &ending) {
            Begun::Nothing => return Some(end),
            Begun::Written(delivery) => self.await_batch(&*aftercare, Written { delivery, record, ending, done }),
            Begun::Not => self.tend_one(done, record.clone(), aftercare.after(record, ending)),
        }
        Some(End::Tended)
    }

    fn tend_one(&mut self, done: Done, record: Record<B>, after: BoxFuture<'static, Result<()>>) {
        let after = within(self.env.clone(), record.origin().assignment.clone(), after);
        self.tending.push(after.map(move |result| Tended::One { done, record, result }).boxed());
    }

    fn await_batch(&mut self, aftercare: &dyn Aftercare<B>, written: Written<B>) {
        let assignment = written.record.origin().assignment.clone();
        if let Some((number, delivery)) = self.written.add(written, self.env.now()) {
            let settled = within(self.env.clone(), assignment, aftercare.settled(delivery));
            self.tending.push(settled.map(move |result| Tended::Batch { number, result }).boxed());
        }
    }

    /// Aftercare has ended.
    pub(super) fn tended(&mut self, tended: Tended<B>) {
        match tended {
            Tended::One { done, record, result } => {
                let result = result.unwrap_or_else(|| Err(cut_off(&record)));
                if let Err(error) = result {
                    self.not_told(&record, error);
                }
                self.done.push(done);
            }
            Tended::Batch { number, result } => {
                for written in self.written.take(number) {
                    self.batch_ended(written, &result);
                }
            }
        }
    }

    fn batch_ended(&mut self, written: Written<B>, result: &Option<Result<()>>) {
        let Written { delivery, record, ending, done } = written;
        let error = match (delivery.outcome(), result) {
            (Some(Ok(_)), _) => return self.done.push(done),
            (Some(Err(error)), _) => error,
            (None, Some(Err(error))) => error.clone(),
            (None, Some(Ok(())) | None) => {
                self.not_told(&record, cut_off(&record));
                return self.done.push(done);
            }
        };
        match &self.rules.aftercare {
            Some(aftercare) => self.tend_one(done, record.clone(), aftercare.failed(record, ending, error)),
            None => self.done.push(done),
        }
    }

    fn not_told(&self, record: &Record<B>, error: Error) {
        tracing::warn!(target: "dispatcher::worker", "{error}");
        let record = Some((record.topic_partition().clone(), record.offset()));
        self.shared.failures.push(Failure { record, error });
    }

    /// A handler failed for good.
    pub(super) fn failed(&self, error: &Error, tp: &TopicPartition, offset: i64) -> End {
        tracing::debug!(target: "dispatcher::worker", %error, "a handler failed");
        self.rules.meter.failed(&tp.topic);
        self.shared.failures.push(Failure { record: Some((tp.clone(), offset)), error: error.clone() });
        match self.rules.plan.last {
            Last::Skip | Last::DeadLetter => End::Finished,
            Last::Hold => End::Held,
            Last::Stop => {
                self.shared.halt_for(error.clone());
                End::Stopped
            }
        }
    }
}

/// Aftercare, until its partition is gone: then `None`. What it wrote before that may be acknowledged still.
async fn within(env: Env, assignment: Arc<Assignment>, after: BoxFuture<'static, Result<()>>) -> Option<Result<()>> {
    let over = pin!(async {
        assignment.cancel.raised().await;
        let now = env.now();
        let left = assignment.drained_by().map(|limit| limit.saturating_duration_since(now) / 2);
        let wait = left.map_or(MAX_FAREWELL, |left| left.min(MAX_FAREWELL));
        env.sleep(wait).await;
    });
    match select(after, over).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

/// Waits before the next attempt, and while the subscription is paused. True: there is to be none.
fn rest<B: Block>(
    env: Env,
    shared: Arc<Shared<B>>,
    assignment: Arc<Assignment>,
    pause: Duration,
) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let over = pin!(async {
            env.sleep(pause).await;
            shared.until_resumed().await;
        });
        let cancelled = pin!(assignment.cancel.raised());
        matches!(select(cancelled, over).await, Either::Left(_))
    })
}
