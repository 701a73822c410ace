//! A lane runs handlers. It takes records in chunks, polls each handler once in place, and only a handler that has to
//! wait moves into the lane's set of running ones; so a handler that is ready at once costs no allocation and no task.
//! A panic in a handler is that handler's failure. A lane never runs more handlers than its share of the concurrency.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::failure::{Failure, HandlerError, OnFailure};
use super::job::{Job, Slot, Ticket};
use super::pool::{LaneRules, Next, Shared};
use super::record::{Block, Origin, Record};
use super::scheduler::{Done, End, Item, PartId, Run, Work};
use crate::client::types::TopicPartition;
use crate::env::Env;
use crate::wire::records::RecordView;

/// Records per turn of a lane.
const CHUNK: u32 = 64;
/// From so many records on a chunk gets a reference count of its own.
const OWN_COUNT_FROM: u32 = 8;

/// See the file's head.
pub(crate) struct Lane<B: Block, H, F> {
    env: Env,
    shared: Arc<Shared<B>>,
    rules: LaneRules,
    handler: Arc<H>,
    index: usize,
    /// Handlers it may run at once.
    quota: usize,
    running: FuturesUnordered<Job<F>>,
    /// Where the next handler is polled first.
    slot: Slot<F>,
    /// Empty boxes of handlers that ended.
    spare: Vec<Slot<F>>,
    work: Work<B>,
    back: Work<B>,
    done: Vec<Done>,
    /// All handlers of the last chunk were ready at once, so a chunk larger than the quota does no harm.
    ready_at_once: bool,
}

impl<B, H, F> Lane<B, H, F>
where
    B: Block,
    H: Fn(Record<B>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    pub(crate) fn new(
        env: Env,
        shared: Arc<Shared<B>>,
        rules: LaneRules,
        handler: Arc<H>,
        index: usize,
        quota: usize,
    ) -> Self {
        Self {
            env,
            shared,
            rules,
            handler,
            index,
            quota,
            running: FuturesUnordered::new(),
            slot: Box::pin(None),
            spare: Vec::new(),
            work: Work::default(),
            back: Work::default(),
            done: Vec::new(),
            ready_at_once: false,
        }
    }

    fn run_chunk(&mut self, cx: &mut Context<'_>) {
        let before = self.running.len();
        let mut work = std::mem::take(&mut self.work);
        let mut waiting = None;
        while let Some(run) = work.runs.pop_front() {
            self.run(run, &mut waiting, cx);
        }
        while let Some(item) = work.items.pop_front() {
            self.item(item, cx);
        }
        self.work = work;
        self.ready_at_once = self.running.len() == before && self.back.is_empty();
    }

    /// Whether no further record of this assignment may start here.
    fn is_closed(&self, origin: &Origin<B>) -> bool {
        self.running.len() >= self.quota || origin.assignment.is_closed() || self.shared.is_barred()
    }

    /// Runs one after another; `waiting` is the partition whose handler is pending, under order by partition.
    fn run(&mut self, mut run: Run<B>, waiting: &mut Option<PartId>, cx: &mut Context<'_>) {
        if self.rules.serial && *waiting == Some(run.part) {
            self.back.runs.push_back(run);
            return;
        }
        let origin = match run.count {
            ..OWN_COUNT_FROM => run.origin.clone(),
            _ => Arc::new(Origin { block: run.origin.block.clone(), assignment: run.origin.assignment.clone() }),
        };
        let mut done = Done { part: run.part, seq: run.seq, index: run.index, count: 0, key: None, end: End::Finished };
        while run.count > 0 {
            if self.is_closed(&origin) {
                break;
            }
            let view = match origin.block.batch().next(&mut run.at) {
                Ok(Some(view)) => view,
                Ok(None) | Err(_) => {
                    self.done.push(Done { index: run.index, count: run.count, end: End::Unreadable, ..done });
                    run.count = 0;
                    break;
                }
            };
            let (ticket, offset) = (Ticket { part: run.part, seq: run.seq, index: run.index, key: None }, view.offset);
            run.index += 1;
            run.count -= 1;
            match self.start(&origin, view, ticket, cx) {
                Some(Ok(())) => {
                    done.count += 1;
                    continue;
                }
                Some(Err(error)) => {
                    let end = self.failed(error, &origin.assignment.tp, offset);
                    self.done.push(ticket.done(end));
                }
                None if self.rules.serial => {
                    *waiting = Some(run.part);
                    break;
                }
                None => {}
            }
            // Completions in a row are one; this record was none of them.
            self.flush(&mut done, run.index);
        }
        self.flush(&mut done, run.index);
        if run.count > 0 {
            self.back.runs.push_back(run);
        }
    }

    fn flush(&mut self, done: &mut Done, next: u32) {
        if done.count > 0 {
            self.done.push(*done);
        }
        (done.index, done.count) = (next, 0);
    }

    fn item(&mut self, item: Item<B>, cx: &mut Context<'_>) {
        if self.is_closed(&item.origin) {
            self.back.items.push_back(item);
            return;
        }
        let ticket = Ticket { part: item.part, seq: item.seq, index: item.index, key: item.key };
        let offset = item.view.offset;
        if let Some(result) = self.start(&item.origin, item.view, ticket, cx) {
            let end = self.end(result, &item.origin.assignment.tp, offset);
            self.done.push(ticket.done(end));
        }
    }

    /// Calls the handler and polls it once; `None` when it has to wait and was put among the running.
    fn start(
        &mut self,
        origin: &Arc<Origin<B>>,
        view: RecordView,
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> Option<Result<(), HandlerError>> {
        let offset = view.offset;
        let record = Record::new(origin.clone(), view, 1);
        if self.rules.spawn_each {
            let handler = self.handler.clone();
            let task = self.env.spawn(async move { handler(record).await });
            self.running.push(Job::spawned(task, ticket, origin.assignment.clone(), offset, self.timeout()));
            return None;
        }
        let (slot, handler) = (&mut self.slot, &self.handler);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            slot.set(Some(handler(record)));
            let polled = slot.as_mut().as_pin_mut().map_or(Poll::Pending, |f| f.poll(cx));
            if polled.is_ready() {
                slot.set(None);
            }
            polled
        }));
        match polled {
            Ok(Poll::Ready(result)) => Some(result),
            Ok(Poll::Pending) => {
                let empty = self.spare.pop().unwrap_or_else(|| Box::pin(None));
                let slot = std::mem::replace(&mut self.slot, empty);
                self.running.push(Job::inline(slot, ticket, origin.assignment.clone(), offset, self.timeout()));
                None
            }
            Err(payload) => {
                // The future is dropped here, so that a panic in its drop is caught too.
                let _ = catch_unwind(AssertUnwindSafe(|| self.slot.set(None)));
                Some(Err(HandlerError::panicked(payload)))
            }
        }
    }

    fn timeout(&self) -> Option<super::job::Timeout> {
        let limit = self.rules.handler_timeout?;
        let env = self.env.clone();
        Some((limit, Box::pin(async move { env.sleep(limit).await })))
    }

    fn end(&self, result: Result<(), HandlerError>, tp: &TopicPartition, offset: i64) -> End {
        match result {
            Ok(()) => End::Finished,
            Err(error) => self.failed(error, tp, offset),
        }
    }

    fn failed(&self, error: HandlerError, tp: &TopicPartition, offset: i64) -> End {
        let error = error.into_error(tp, offset);
        tracing::debug!(target: "dispatcher::worker", %error, "a handler failed");
        self.shared.failures.push(Failure { record: Some((tp.clone(), offset)), error: error.clone() });
        match self.rules.on_failure {
            OnFailure::Skip => End::Finished,
            OnFailure::Hold => End::Held,
            OnFailure::Stop => {
                self.shared.halt_for(error);
                End::Stopped
            }
        }
    }
}

impl<B, H, F> Future for Lane<B, H, F>
where
    B: Block,
    H: Fn(Record<B>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut ended = 0;
        while ended < CHUNK
            && let Poll::Ready(Some(finished)) = this.running.poll_next_unpin(cx)
        {
            let end = this.end(finished.result, &finished.assignment.tp, finished.offset);
            this.done.push(finished.ticket.done(end));
            this.spare.extend(finished.slot);
            ended += 1;
        }
        let free = (this.quota - this.running.len()) as u32;
        let want = match free {
            0 => 0,
            _ if this.ready_at_once => CHUNK,
            _ => free.min(CHUNK),
        };
        match this.shared.exchange(this.index, &mut this.done, &mut this.back, want, &mut this.work, cx) {
            Next::Run => this.run_chunk(cx),
            Next::End if this.running.is_empty() => return Poll::Ready(()),
            Next::End | Next::Wait if ended < CHUNK => return Poll::Pending,
            Next::End | Next::Wait => {}
        }
        // Other tasks get their turn between two chunks.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B: Block, H, F> Drop for Lane<B, H, F> {
    fn drop(&mut self) {
        self.shared.lane_ended();
    }
}

/// Nothing in a lane is pinned in place: handlers are pinned in boxes of their own.
impl<B: Block, H, F> Unpin for Lane<B, H, F> {}
