//! Buffer memory: one atomic on the fast path, a list of waiters only when it is used up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::client::waiting::Waiting;
use crate::env::Env;

/// Bytes that may be waiting or under way in one producer.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), waiting: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Takes `bytes` if they are free and nobody waits for some.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 && self.grab(bytes)
    }

    fn grab(&self, bytes: usize) -> bool {
        // SeqCst pairs with `give_back`: either it sees the waiter, or the waiter sees the bytes.
        let more = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Waits up to `limit` for `bytes`; false when time ran out. Cancel-safe: then nothing is taken.
    pub(crate) async fn take(&self, bytes: usize, limit: Duration, env: &Env) -> bool {
        let _counted = Waiting::new(&self.waiting);
        let waited = env.timeout(limit, async {
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                if self.grab(bytes) {
                    return;
                }
                freed.await;
            }
        });
        waited.await.is_some()
    }

    /// Frees `bytes`.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gets_freed_bytes_and_goes_before_newcomers() {
        let env = Env::system();
        let budget = Arc::new(Budget::new(100));
        assert!(budget.try_take(90));
        assert!(!budget.try_take(20));
        let (waiter, clock) = (budget.clone(), env.clone());
        let waiter = env.spawn(async move { waiter.take(20, Duration::from_secs(60), &clock).await });
        tokio::task::yield_now().await;
        assert!(!budget.try_take(1), "a newcomer passed the waiter");
        budget.give_back(50);
        assert!(waiter.await.unwrap());
        assert_eq!(budget.used(), 60);
        assert!(budget.try_take(40));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_limit_and_leaves_nothing_taken() {
        let env = Env::system();
        let budget = Budget::new(100);
        assert!(budget.try_take(100));
        assert!(!budget.take(1, Duration::from_secs(60), &env).await);
        budget.give_back(100);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_take(100));
    }
}
