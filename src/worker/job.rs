//! A handler that has to wait: a place in its lane's set of running ones, with its record's ticket and time limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::failure::HandlerError;
use super::keys::KeyHash;
use super::record::Assignment;
use super::scheduler::{Done, End, PartId};

/// A box for one handler at a time, used again and again.
pub(crate) type Slot<F> = Pin<Box<Option<F>>>;

/// The handler's limit and the timer that ends it.
pub(crate) type Timeout = (Duration, Pin<Box<dyn Future<Output = ()> + Send>>);

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
        Done { part, seq, index, count: 1, key, end }
    }
}

/// See the file's head.
pub(crate) struct Job<F> {
    handler: Handler<F>,
    ticket: Ticket,
    assignment: Arc<Assignment>,
    offset: i64,
    timeout: Option<Timeout>,
}

enum Handler<F> {
    Inline(Slot<F>),
    Spawned(JoinHandle<Result<(), HandlerError>>),
    Ended,
}

/// A job that ended.
pub(crate) struct Finished<F> {
    pub(crate) result: Result<(), HandlerError>,
    pub(crate) ticket: Ticket,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) offset: i64,
    /// The empty box, for the next one.
    pub(crate) slot: Option<Slot<F>>,
}

impl<F> Job<F> {
    pub(crate) fn inline(
        slot: Slot<F>,
        ticket: Ticket,
        assignment: Arc<Assignment>,
        offset: i64,
        timeout: Option<Timeout>,
    ) -> Self {
        Self { handler: Handler::Inline(slot), ticket, assignment, offset, timeout }
    }

    /// A handler in a task of its own, aborted when the job is dropped.
    pub(crate) fn spawned(
        task: JoinHandle<Result<(), HandlerError>>,
        ticket: Ticket,
        assignment: Arc<Assignment>,
        offset: i64,
        timeout: Option<Timeout>,
    ) -> Self {
        Self { handler: Handler::Spawned(task), ticket, assignment, offset, timeout }
    }
}

impl<F> Future for Job<F>
where
    F: Future<Output = Result<(), HandlerError>>,
{
    type Output = Finished<F>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished<F>> {
        let this = &mut *self;
        let polled = match &mut this.handler {
            Handler::Inline(slot) => {
                let polled = catch_unwind(AssertUnwindSafe(|| {
                    slot.as_mut().as_pin_mut().map_or(Poll::Pending, |handler| handler.poll(cx))
                }));
                polled.unwrap_or_else(|payload| Poll::Ready(Err(HandlerError::panicked(payload))))
            }
            Handler::Spawned(task) => Pin::new(task).poll(cx).map(|joined| match joined {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => Err(HandlerError::panicked(payload)),
                    Err(_) => Err(HandlerError::new("the handler's task was ended by the runtime's shutdown")),
                },
            }),
            Handler::Ended => Poll::Pending,
        };
        let result = match (polled, &mut this.timeout) {
            (Poll::Ready(result), _) => result,
            (Poll::Pending, Some((limit, timer))) => match timer.as_mut().poll(cx) {
                Poll::Ready(()) => Err(HandlerError::timed_out(*limit)),
                Poll::Pending => return Poll::Pending,
            },
            (Poll::Pending, None) => return Poll::Pending,
        };
        let slot = match std::mem::replace(&mut this.handler, Handler::Ended) {
            Handler::Inline(mut slot) => {
                // A panic in the future's drop must not take the lane with it.
                let _ = catch_unwind(AssertUnwindSafe(|| slot.set(None)));
                Some(slot)
            }
            Handler::Spawned(task) => {
                task.abort();
                None
            }
            Handler::Ended => None,
        };
        let (ticket, assignment, offset) = (this.ticket, this.assignment.clone(), this.offset);
        Poll::Ready(Finished { result, ticket, assignment, offset, slot })
    }
}

impl<F> Drop for Job<F> {
    fn drop(&mut self) {
        if let Handler::Spawned(task) = &self.handler {
            task.abort();
        }
    }
}

/// The handler is pinned in its own box.
impl<F> Unpin for Job<F> {}
