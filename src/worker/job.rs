//! What a record in a lane waits for: its handler, the pause before its next attempt, or its way to another topic. A place in the lane's set of
//! running ones, with the record's ticket and the handler's time limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use super::failure::HandlerError;
use super::forward::Destination;
use super::keys::KeyHash;
use super::passing::Refusals;
use super::record::{Assignment, Record};
use super::scheduler::{Done, End, PartId};
use crate::client::retry::Backoff;
use crate::wire::records::Cursor;
use crate::{Error, Result};

/// A box for one handler at a time, used again and again.
pub(crate) type Slot<F> = Pin<Box<Option<F>>>;

/// The handler's limit and the timer that ends it.
pub(crate) type Timeout = (Duration, BoxFuture<'static, ()>);

/// Which record a handler runs for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) part: PartId,
    pub(crate) seq: u64,
    pub(crate) index: u32,
    pub(crate) key: Option<KeyHash>,
}

impl Ticket {
    pub(crate) fn done(self, end: End) -> Done {
        let Self { part, seq, index, key } = self;
        Done { part, seq, index, count: 1, key, end, tended: false, after: Cursor::default() }
    }
}

/// What is kept of a record for what may follow on its handler.
#[derive(Debug)]
pub(crate) struct Kept<B> {
    pub(crate) record: Record<B>,
    /// An aftercare concerns it.
    pub(crate) care: bool,
    /// When its handler was called first, in ms since 1970; 0 if no aftercare concerns it.
    pub(crate) begun_ms: i64,
    /// When its last attempt had ended, if an aftercare concerns it and something else comes first; else 0.
    pub(crate) ended_ms: i64,
    /// Counts the failures in place.
    pub(crate) backoff: Backoff,
    /// It is handled no more: where it goes, and why.
    pub(crate) passing: Option<(Destination, Error)>,
    /// How it was refused there in ways that hardly pass.
    pub(super) refused: Refusals,
}

/// See the file's head.
pub(crate) struct Job<B, F> {
    doing: Doing<F>,
    subject: Option<Subject<B>>,
    timeout: Option<Timeout>,
}

/// Which record a job is for.
pub(crate) struct Subject<B> {
    pub(crate) ticket: Ticket,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) offset: i64,
    /// Boxed, for most records keep nothing.
    pub(crate) kept: Option<Box<Kept<B>>>,
}

enum Doing<F> {
    Inline(Slot<F>),
    Spawned(JoinHandle<Result<(), HandlerError>>),
    /// Before the next attempt. True: there is to be none.
    Resting(BoxFuture<'static, bool>),
    Forwarding(BoxFuture<'static, Result<()>>),
    Nothing,
}

/// What a job that ended was.
pub(crate) enum Ended {
    Handled(Result<(), HandlerError>),
    /// The next attempt is due.
    Rested,
    /// The partition is being taken away, or the subscription stops.
    Disturbed,
    /// It is where it was to go, or that failed.
    Forwarded(Result<()>),
}

/// A job that ended.
pub(crate) struct Finished<B, F> {
    pub(crate) ended: Ended,
    pub(crate) subject: Subject<B>,
    /// The empty box, for the next one.
    pub(crate) slot: Option<Slot<F>>,
}

impl<B, F> Job<B, F> {
    pub(crate) fn inline(slot: Slot<F>, subject: Subject<B>, timeout: Option<Timeout>) -> Self {
        Self { doing: Doing::Inline(slot), subject: Some(subject), timeout }
    }

    /// A handler in a task of its own, aborted when the job is dropped.
    pub(crate) fn spawned(
        task: JoinHandle<Result<(), HandlerError>>,
        subject: Subject<B>,
        timeout: Option<Timeout>,
    ) -> Self {
        Self { doing: Doing::Spawned(task), subject: Some(subject), timeout }
    }

    /// A pause before the next attempt; its future tells whether there is to be none.
    pub(crate) fn resting(rest: BoxFuture<'static, bool>, subject: Subject<B>) -> Self {
        Self { doing: Doing::Resting(rest), subject: Some(subject), timeout: None }
    }

    /// On its way to another topic.
    pub(crate) fn forwarding(forward: BoxFuture<'static, Result<()>>, subject: Subject<B>) -> Self {
        Self { doing: Doing::Forwarding(forward), subject: Some(subject), timeout: None }
    }
}

impl<B, F> Future for Job<B, F>
where
    F: Future<Output = Result<(), HandlerError>>,
{
    type Output = Finished<B, F>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished<B, F>> {
        let this = &mut *self;
        let polled = match &mut this.doing {
            Doing::Inline(slot) => {
                let polled = catch_unwind(AssertUnwindSafe(|| {
                    slot.as_mut().as_pin_mut().map_or(Poll::Pending, |handler| handler.poll(cx))
                }));
                let polled = polled.unwrap_or_else(|payload| Poll::Ready(Err(HandlerError::panicked(payload))));
                polled.map(Ended::Handled)
            }
            Doing::Spawned(task) => Pin::new(task).poll(cx).map(|joined| {
                Ended::Handled(joined.unwrap_or_else(|error| {
                    Err(match error.try_into_panic() {
                        Ok(payload) => HandlerError::panicked(payload),
                        Err(_) => HandlerError::new("the handler's task was ended by the runtime's shutdown"),
                    })
                }))
            }),
            Doing::Resting(rest) => rest.as_mut().poll(cx).map(|disturbed| match disturbed {
                true => Ended::Disturbed,
                false => Ended::Rested,
            }),
            Doing::Forwarding(forward) => forward.as_mut().poll(cx).map(Ended::Forwarded),
            Doing::Nothing => Poll::Pending,
        };
        let ended = match (polled, &mut this.timeout) {
            (Poll::Ready(ended), _) => ended,
            (Poll::Pending, Some((limit, timer))) => match timer.as_mut().poll(cx) {
                Poll::Ready(()) => Ended::Handled(Err(HandlerError::timed_out(*limit))),
                Poll::Pending => return Poll::Pending,
            },
            (Poll::Pending, None) => return Poll::Pending,
        };
        let slot = match std::mem::replace(&mut this.doing, Doing::Nothing) {
            Doing::Inline(mut slot) => {
                // A panic in the future's drop must not take the lane with it.
                let _ = catch_unwind(AssertUnwindSafe(|| slot.set(None)));
                Some(slot)
            }
            Doing::Spawned(task) => {
                task.abort();
                None
            }
            Doing::Resting(_) | Doing::Forwarding(_) | Doing::Nothing => None,
        };
        match this.subject.take() {
            Some(subject) => Poll::Ready(Finished { ended, subject, slot }),
            None => Poll::Pending,
        }
    }
}

impl<B, F> Drop for Job<B, F> {
    fn drop(&mut self) {
        if let Doing::Spawned(task) = &self.doing {
            task.abort();
        }
    }
}

/// The handler is pinned in its own box.
impl<B, F> Unpin for Job<B, F> {}
