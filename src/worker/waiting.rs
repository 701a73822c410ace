//! Futures that a lane waits for. It polls them in its own task, and gives turns to others itself, so that it has to be
//! woken for what wakes one of them and for nothing else. `FuturesUnordered` wakes the task that polls it also when it
//! has polled all that it holds, so that others get their turn; a task that is woken while it runs goes to the end of its
//! thread's queue, and tokio wakes an idle thread for that, which costs more than most handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;

/// The first look at what was pushed ends with the set's own wake-up: only a second tells whether a future meant it. One
/// that is woken in that, too, waits until others had their turn.
const LOOKS: u32 = 2;

/// See the file's head.
pub(super) struct Waiting<F> {
    futures: FuturesUnordered<F>,
    gate: Arc<Gate>,
    waker: Waker,
}

/// Stands between the futures and the lane's task.
#[derive(Default)]
struct Gate {
    task: AtomicWaker,
    /// The task is here: it looks at `woken` before it leaves to wait.
    polling: AtomicBool,
    woken: AtomicBool,
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        if !self.polling.load(SeqCst) {
            self.task.wake();
        }
    }
}

impl<F: Future> Waiting<F> {
    pub(super) fn new() -> Self {
        let gate = Arc::new(Gate::default());
        Self { futures: FuturesUnordered::new(), waker: gate.clone().into(), gate }
    }

    pub(super) fn len(&self) -> usize {
        self.futures.len()
    }

    /// It is not polled before the next [`poll_next`](Self::poll_next), and wakes nobody until then.
    pub(super) fn push(&mut self, future: F) {
        self.futures.push(future);
    }

    /// One that has ended, or pending: the task is woken for what waits. Ready with `None` if there are none. After a future
    /// that has ended this has to be called again for the task to be woken: until it is pending, or from a task that is going
    /// to be polled.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.futures.is_empty() {
            return Poll::Ready(None);
        }
        self.gate.task.register(cx.waker());
        self.gate.polling.store(true, SeqCst);
        let mut looks = 0;
        let polled = loop {
            self.gate.woken.store(false, SeqCst);
            let polled = self.futures.poll_next_unpin(&mut Context::from_waker(&self.waker));
            looks += 1;
            if polled.is_ready() || !self.gate.woken.load(SeqCst) || looks == LOOKS {
                break polled;
            }
        };
        self.gate.polling.store(false, SeqCst);
        if polled.is_pending() && self.gate.woken.load(SeqCst) {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::env::Env;

    type Task = Pin<Box<dyn Future<Output = u32> + Send>>;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn setup() -> (Waiting<Task>, Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Waiting::new(), count.clone(), count.into())
    }

    #[test]
    fn only_what_wakes_a_future_wakes_the_task() {
        let (mut waiting, count, waker) = setup();
        let mut cx = Context::from_waker(&waker);
        assert!(matches!(waiting.poll_next(&mut cx), Poll::Ready(None)));
        let mut ends = Vec::new();
        for i in 0..3 {
            let (end, ended) = oneshot::channel();
            waiting.push(Box::pin(async move { ended.await.unwrap_or(i) }));
            ends.push(end);
            assert!(waiting.poll_next(&mut cx).is_pending());
        }
        assert_eq!(count.0.load(SeqCst), 0);
        ends.remove(1).send(7).unwrap();
        assert_eq!(count.0.load(SeqCst), 1);
        assert!(matches!(waiting.poll_next(&mut cx), Poll::Ready(Some(7))));
        assert!(waiting.poll_next(&mut cx).is_pending());
        assert_eq!((waiting.len(), count.0.load(SeqCst)), (2, 1));
    }

    #[test]
    fn a_future_that_asks_for_another_turn_gets_it_after_others() {
        let (mut waiting, count, waker) = setup();
        let mut polls = 0;
        waiting.push(Box::pin(poll_fn(move |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls > 10 { Poll::Ready(polls) } else { Poll::Pending }
        })));
        let mut turns = 0;
        while waiting.poll_next(&mut Context::from_waker(&waker)).is_pending() {
            turns += 1;
            assert_eq!(count.0.load(SeqCst), turns);
        }
        assert!((4..=10).contains(&turns), "{turns}");
    }

    /// Wakes from other threads at any moment: none is lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn none_that_ends_meanwhile_is_overlooked() {
        let env = Env::system();
        let ends = async {
            let mut waiting = Waiting::<Task>::new();
            for i in 0..20_000 {
                let (end, ended) = oneshot::channel();
                let _detached = env.spawn(async move { end.send(i) });
                waiting.push(Box::pin(async move { ended.await.unwrap() }));
                if i % 3 == 0 {
                    poll_fn(|cx| waiting.poll_next(cx)).await.unwrap();
                }
            }
            while poll_fn(|cx| waiting.poll_next(cx)).await.is_some() {}
        };
        env.timeout(Duration::from_secs(60), ends).await.expect("a wake-up was lost");
    }
}
