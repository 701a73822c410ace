//! A lane runs handlers. It takes records in chunks, polls each handler once in place, and only a handler that has to
//! wait moves into the lane's set of running ones; so a handler that is ready at once costs no allocation and no task.
//! A panic in a handler is that handler's failure. A lane never runs more handlers than its share of the concurrency.
//! What follows on a handler's end is in `follow.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::failure::HandlerError;
use super::follow::Tending;
use super::job::{Ended, Job, Kept, Slot, Subject, Ticket};
use super::pool::{LaneRules, Next, Shared};
use super::record::{Block, Origin, Record};
use super::scheduler::{Done, End, Item, PartId, Run, Work};
use super::waiting::Waiting;
use super::written::Batches;
use crate::env::Env;

/// Records that are taken at once.
const CHUNK: u32 = 64;
/// A turn goes on for so many chunks or so long: less, and runtimes wake idle threads for nothing; more, and other tasks
/// wait.
const TURN: (u32, Duration) = (16, Duration::from_micros(100));
/// Records in aftercare at which a lane takes no more.
const MAX_TENDED: usize = 1_000;
/// From so many records on a chunk gets a reference count of its own.
const OWN_COUNT_FROM: u32 = 8;

/// See the file's head.
pub(crate) struct Lane<B: Block, H, F> {
    pub(super) env: Env,
    pub(super) shared: Arc<Shared<B>>,
    pub(super) rules: LaneRules<B>,
    handler: Arc<H>,
    index: usize,
    /// Handlers it may run at once.
    quota: usize,
    /// Records whose handlers run, that wait for their next attempt, or that go to another topic.
    pub(super) running: Waiting<Job<B, F>>,
    /// Records whose handlers have ended.
    pub(super) tending: Waiting<Tending<B>>,
    /// Those of them that wait for what they wrote only.
    pub(super) written: Batches<B>,
    /// Where the next handler is polled first.
    slot: Slot<F>,
    /// Empty boxes of handlers that ended.
    spare: Vec<Slot<F>>,
    work: Work<B>,
    back: Work<B>,
    pub(super) done: Vec<Done>,
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
        rules: LaneRules<B>,
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
            running: Waiting::new(),
            tending: Waiting::new(),
            written: Batches::default(),
            slot: Box::pin(None),
            spare: Vec::new(),
            work: Work::default(),
            back: Work::default(),
            done: Vec::new(),
            ready_at_once: false,
        }
    }

    fn run_chunk(&mut self) {
        let before = self.running.len();
        let mut work = std::mem::take(&mut self.work);
        let mut waiting = None;
        while let Some(run) = work.runs.pop_front() {
            self.run(run, &mut waiting);
        }
        while let Some(item) = work.items.pop_front() {
            self.item(item);
        }
        self.work = work;
        self.ready_at_once = self.running.len() == before && self.back.is_empty();
    }

    /// How many handlers more may run.
    fn free(&self) -> usize {
        if self.tending.len() + self.written.records() < MAX_TENDED {
            self.quota.saturating_sub(self.running.len())
        } else {
            0
        }
    }

    /// Whether no further record of this assignment may start here.
    fn is_closed(&self, origin: &Origin<B>) -> bool {
        self.free() == 0 || origin.assignment.is_closed() || self.shared.is_barred()
    }

    /// Runs one after another; `waiting` is the partition whose handler is pending, under order by partition.
    fn run(&mut self, mut run: Run<B>, waiting: &mut Option<PartId>) {
        if self.rules.serial && *waiting == Some(run.part) {
            self.back.runs.push_back(run);
            return;
        }
        let origin = match run.count {
            ..OWN_COUNT_FROM => run.origin.clone(),
            _ => Arc::new(Origin { block: run.origin.block.clone(), assignment: run.origin.assignment.clone() }),
        };
        let Run { part, seq, index, .. } = run;
        let first = Ticket { part, seq, index, key: None };
        let mut done = Done { count: 0, after: run.at, ..first.done(End::Finished) };
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
            let ticket = Ticket { part: run.part, seq: run.seq, index: run.index, key: None };
            run.index += 1;
            run.count -= 1;
            match self.start(&origin, self.first(&origin, view), ticket, None) {
                Some(End::Finished) => {
                    (done.count, done.after) = (done.count + 1, run.at);
                    continue;
                }
                Some(end) => self.done.push(ticket.done(end)),
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

    fn item(&mut self, item: Item<B>) {
        if self.is_closed(&item.origin) {
            self.back.items.push_back(item);
            return;
        }
        let ticket = Ticket { part: item.part, seq: item.seq, index: item.index, key: item.key };
        let record = self.first(&item.origin, item.view);
        if let Some(end) = self.start(&item.origin, record, ticket, None) {
            self.done.push(ticket.done(end));
        }
    }

    /// Calls the handler and polls it once; `None` when something has to be waited for. `kept` is of earlier attempts.
    /// A handler that is not ready is polled again by [`look`](Self::look), before this lane rests; only then it says what
    /// wakes it.
    pub(super) fn start(
        &mut self,
        origin: &Arc<Origin<B>>,
        record: Record<B>,
        ticket: Ticket,
        kept: Option<Kept<B>>,
    ) -> Option<End> {
        let kept = kept.or_else(|| self.keep(&record));
        let offset = record.offset();
        let subject = |kept: Option<Kept<B>>| Subject {
            ticket,
            assignment: origin.assignment.clone(),
            offset,
            kept: kept.map(Box::new),
        };
        if self.rules.spawn_each {
            let handler = self.handler.clone();
            let task = self.env.spawn(async move { handler(record).await });
            self.running.push(Job::spawned(task, subject(kept), self.timeout()));
            return None;
        }
        let (slot, handler) = (&mut self.slot, &self.handler);
        let cx = &mut Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            slot.set(Some(handler(record)));
            let polled = slot.as_mut().as_pin_mut().map_or(Poll::Pending, |f| f.poll(cx));
            if polled.is_ready() {
                slot.set(None);
            }
            polled
        }));
        let result = match polled {
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => {
                let empty = self.spare.pop().unwrap_or_else(|| Box::pin(None));
                let slot = std::mem::replace(&mut self.slot, empty);
                self.running.push(Job::inline(slot, subject(kept), self.timeout()));
                return None;
            }
            Err(payload) => {
                // The future is dropped here, so that a panic in its drop is caught too.
                let _ = catch_unwind(AssertUnwindSafe(|| self.slot.set(None)));
                Err(HandlerError::panicked(payload))
            }
        };
        match (result, kept) {
            (Ok(()), kept) if kept.as_ref().is_none_or(|kept| !kept.care) => Some(End::Finished),
            (result, kept) => self.follow(subject(kept), result),
        }
    }

    /// Goes on with a record whose job has ended.
    fn proceed(&mut self, ended: Ended, subject: Subject<B>) {
        let ticket = subject.ticket;
        let end = match (ended, subject.kept) {
            (Ended::Handled(result), kept) => self.follow(Subject { kept, ..subject }, result),
            (Ended::Forwarded(result), Some(kept)) => self.forwarded(kept, subject.ticket, subject.assignment, result),
            (Ended::Rested, Some(kept)) if kept.passing.is_some() => {
                self.forward(Subject { kept: Some(kept), ..subject })
            }
            (Ended::Rested, Some(kept)) if !subject.assignment.is_closed() && !self.shared.is_halted() => {
                let record = kept.record.clone();
                let origin = record.origin().clone();
                self.start(&origin, record, ticket, Some(*kept))
            }
            (Ended::Rested | Ended::Disturbed | Ended::Forwarded(_), _) => Some(End::Abandoned),
        };
        self.done.extend(end.map(|end| ticket.done(end)));
    }

    /// Goes on with what has ended, a chunk of it at most.
    fn look(&mut self, cx: &mut Context<'_>, ended: &mut u32) {
        while *ended < CHUNK
            && let Poll::Ready(Some(finished)) = self.running.poll_next(cx)
        {
            self.spare.extend(finished.slot);
            self.proceed(finished.ended, finished.subject);
            *ended += 1;
        }
        while *ended < CHUNK
            && let Poll::Ready(Some(tended)) = self.tending.poll_next(cx)
        {
            self.tended(tended);
            *ended += 1;
        }
    }

    /// So many futures are waited for.
    fn waiting(&self) -> usize {
        self.running.len() + self.tending.len()
    }

    fn timeout(&self) -> Option<super::job::Timeout> {
        let limit = self.rules.handler_timeout?;
        let env = self.env.clone();
        Some((limit, Box::pin(async move { env.sleep(limit).await })))
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
        let (mut chunks, began, mut ended) = (0, this.env.now(), 0);
        this.look(cx, &mut ended);
        loop {
            let free = this.free() as u32;
            let want = match free {
                0 => 0,
                _ if this.ready_at_once => CHUNK,
                _ => free.min(CHUNK),
            };
            match this.shared.exchange(this.index, &mut this.done, &mut this.back, want, &mut this.work, cx) {
                Next::Run => {
                    let before = this.waiting();
                    this.run_chunk();
                    // What it has left behind says only now what wakes it.
                    if this.waiting() > before {
                        this.look(cx, &mut ended);
                    }
                }
                Next::End if this.waiting() == 0 => return Poll::Ready(()),
                // A task that computes keeps this thread: to be woken here wakes another one, which goes on with all else.
                Next::End | Next::Wait if ended == CHUNK || chunks > 0 && this.rules.spawn_each => break,
                Next::End | Next::Wait => return Poll::Pending,
            }
            chunks += 1;
            // A handler whose budget is used up waits for the next turn, however much is there for it.
            let goes_on = ended < CHUNK && tokio::task::coop::has_budget_remaining();
            if !goes_on || chunks == TURN.0 || this.env.now() - began >= TURN.1 {
                break;
            }
        }
        // Other tasks get their turn.
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
