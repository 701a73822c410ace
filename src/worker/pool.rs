//! What the lanes of one consumer share: the scheduler behind its lock, the wakers of idle lanes, and the signal to
//! the consumer's driver. No lane waits on a timer or polls: whoever makes work available wakes a lane, and a lane
//! that leaves work behind wakes the next.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::aftercare::Aftercare;
use super::events::Events;
use super::failure::{Failures, HandlerError};
use super::forward::Forward;
use super::lane::Lane;
use super::record::{Block, Record};
use super::retry::Plan;
use super::scheduler::{Done, Scheduler, Work};
use crate::env::{Env, lock};
use crate::telemetry::meter::ConsumerMeter;
use crate::{Error, ErrorKind};

/// What every lane does alike.
#[derive(Debug)]
pub(crate) struct LaneRules<B> {
    pub(crate) plan: Plan,
    pub(crate) aftercare: Option<Arc<dyn Aftercare<B>>>,
    pub(crate) meter: Arc<ConsumerMeter>,
    pub(crate) forward: Option<Arc<dyn Forward<B>>>,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) spawn_each: bool,
    /// Records of one partition run one after another.
    pub(crate) serial: bool,
}

impl<B> Clone for LaneRules<B> {
    fn clone(&self) -> Self {
        Self { aftercare: self.aftercare.clone(), meter: self.meter.clone(), forward: self.forward.clone(), ..*self }
    }
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Shared<B> {
    state: Mutex<State<B>>,
    /// Tells the driver to look.
    pub(crate) signal: Notify,
    /// [`HALTED`], [`PAUSED`]: nothing that was taken may start.
    barred: AtomicU8,
    /// Told when a pause ends.
    resumed: Notify,
    lanes: AtomicUsize,
    /// The error that stopped the consumer under [`Last::Stop`](super::retry::Last::Stop).
    first: OnceLock<Error>,
    pub(crate) failures: Failures,
    pub(crate) events: Events,
}

const HALTED: u8 = 1;
const PAUSED: u8 = 2;

#[derive(Debug)]
struct State<B> {
    scheduler: Scheduler<B>,
    idle: Vec<Option<Waker>>,
    /// The driver has a timer running and needs no signal for mere activity.
    armed: bool,
    closed: bool,
}

/// What a lane does next.
pub(crate) enum Next {
    /// It has work.
    Run,
    /// It waits to be woken.
    Wait,
    /// The consumer ends.
    End,
}

impl<B: Block> Shared<B> {
    pub(crate) fn new(scheduler: Scheduler<B>, lanes: usize, failures: Failures) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { scheduler, idle: vec![None; lanes], armed: false, closed: false }),
            signal: Notify::new(),
            barred: AtomicU8::new(0),
            resumed: Notify::new(),
            lanes: AtomicUsize::new(lanes),
            first: OnceLock::new(),
            failures,
            events: Events::default(),
        })
    }

    /// Works on the scheduler under the lock, then wakes whom it concerns.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Scheduler<B>) -> T) -> T {
        let mut state = lock(&self.state);
        let out = work(&mut state.scheduler);
        let (signal, waker) = state.after();
        drop(state);
        self.tell(signal, waker);
        out
    }

    /// A lane brings back what it has and takes up to `want` records, under one lock.
    pub(crate) fn exchange(
        &self,
        lane: usize,
        done: &mut Vec<Done>,
        back: &mut Work<B>,
        want: u32,
        work: &mut Work<B>,
        cx: &Context<'_>,
    ) -> Next {
        let mut state = lock(&self.state);
        if !back.is_empty() {
            state.scheduler.put_back(back);
        }
        done.drain(..).for_each(|done| state.scheduler.complete(done));
        let taken = state.scheduler.take(want, work);
        let next = match taken {
            0 if state.closed => Next::End,
            0 => Next::Wait,
            _ => Next::Run,
        };
        let idle = &mut state.idle[lane];
        match idle {
            _ if taken > 0 || want == 0 => *idle = None,
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => *idle = Some(cx.waker().clone()),
        }
        let (signal, waker) = state.after();
        drop(state);
        self.tell(signal, waker);
        next
    }

    fn tell(&self, signal: bool, waker: Option<Waker>) {
        if signal {
            self.signal.notify_one();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends hand-out for good: what was taken and not started comes back unstarted.
    pub(crate) fn halt(&self) {
        self.barred.fetch_or(HALTED, Ordering::AcqRel);
        self.with(Scheduler::stop);
    }

    /// Starts no handler until [`resume`](Self::resume). False if that was so already.
    pub(crate) fn pause(&self) -> bool {
        // Both under the lock: a `resume` in between would leave one of them paused.
        let before = self.with(|s| {
            s.pause();
            self.barred.fetch_or(PAUSED, Ordering::AcqRel)
        });
        self.signal.notify_one();
        before & PAUSED == 0
    }

    /// Undoes [`pause`](Self::pause). False if nothing was paused.
    pub(crate) fn resume(&self) -> bool {
        let before = self.with(|s| {
            s.resume();
            self.barred.fetch_and(!PAUSED, Ordering::AcqRel)
        });
        self.signal.notify_one();
        self.resumed.notify_waiters();
        before & PAUSED != 0
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.barred.load(Ordering::Acquire) & PAUSED != 0
    }

    /// Waits while it is paused.
    pub(crate) async fn until_resumed(&self) {
        loop {
            let mut resumed = std::pin::pin!(self.resumed.notified());
            resumed.as_mut().enable();
            if !self.is_paused() {
                return;
            }
            resumed.await;
        }
    }

    /// Hand-out has ended for good.
    pub(crate) fn is_halted(&self) -> bool {
        self.barred.load(Ordering::Acquire) & HALTED != 0
    }

    /// Halts because a handler failed.
    pub(crate) fn halt_for(&self, error: Error) {
        let _ = self.first.set(error);
        self.halt();
    }

    /// The error of the first handler that failed under [`Last::Stop`](super::retry::Last::Stop).
    pub(crate) fn first_failure(&self) -> Error {
        self.first.get().cloned().unwrap_or_else(|| Error::new(ErrorKind::Handler, "a handler failed"))
    }

    /// Nothing that was taken may start.
    pub(crate) fn is_barred(&self) -> bool {
        self.barred.load(Ordering::Relaxed) != 0
    }

    /// Lanes end when their running handlers have.
    pub(crate) fn close(&self) {
        self.halt();
        let wakers: Vec<Waker> = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.idle.iter_mut().filter_map(Option::take).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The driver's timer fired or it starts to look: whether anything moved. Until it arms again, activity signals.
    pub(crate) fn take_activity(&self) -> bool {
        let mut state = lock(&self.state);
        state.armed = false;
        state.scheduler.take_activity()
    }

    pub(crate) fn arm(&self) {
        lock(&self.state).armed = true;
    }

    /// A lane is gone, by its end or by a fault.
    pub(crate) fn lane_ended(&self) {
        self.lanes.fetch_sub(1, Ordering::AcqRel);
        self.signal.notify_one();
    }

    /// Lanes that have not ended.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.load(Ordering::Acquire)
    }
}

impl<B: Block> State<B> {
    /// Whom to wake after a change: the driver, and one idle lane if there is work.
    fn after(&mut self) -> (bool, Option<Waker>) {
        let mut signal = self.scheduler.take_signal();
        if !self.armed && self.scheduler.is_active() {
            self.armed = true;
            signal = true;
        }
        let waker = if self.scheduler.has_work() { self.idle.iter_mut().find_map(Option::take) } else { None };
        (signal, waker)
    }
}

/// The lanes' tasks. Dropped, they and their handlers are dropped too.
#[derive(Debug)]
pub(crate) struct Pool {
    tasks: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the lanes; `concurrency` is split among them, so that handlers in flight never exceed it.
    pub(crate) fn start<B, H, F>(
        env: &Env,
        shared: &Arc<Shared<B>>,
        rules: LaneRules<B>,
        concurrency: usize,
        handler: H,
    ) -> Self
    where
        B: Block,
        H: Fn(Record<B>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let (handler, lanes) = (Arc::new(handler), shared.lanes());
        let tasks = (0..lanes)
            .map(|index| {
                let quota = concurrency / lanes + usize::from(index < concurrency % lanes);
                env.spawn(Lane::new(env.clone(), shared.clone(), rules.clone(), handler.clone(), index, quota))
            })
            .collect();
        Self { tasks }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// As many lanes as can run at once and have a handler each.
pub(crate) fn lanes_for(concurrency: usize, workers: usize) -> usize {
    concurrency.min(workers).max(1)
}
