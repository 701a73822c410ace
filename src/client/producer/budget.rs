//! Buffer memory: a semaphore with a permit a byte. It is fair, so that a large message does not wait for ever while small
//! ones take whatever comes free.

use std::time::Duration;

use tokio::sync::Semaphore;

use crate::env::Env;

/// Bytes that may be waiting or under way in one producer.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    free: Semaphore,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { limit, free: Semaphore::new(limit) }
    }

    /// Takes `bytes` if they are free. What comes free while somebody waits is his first.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let taken = self.permits(bytes).and_then(|permits| self.free.try_acquire_many(permits).ok());
        taken.map(|permit| permit.forget()).is_some()
    }

    /// `None` for more than there ever is.
    fn permits(&self, bytes: usize) -> Option<u32> {
        u32::try_from(bytes).ok().filter(|_| bytes <= self.limit)
    }

    /// Waits up to `limit` for `bytes`, behind those who have waited for longer; false when time ran out. Cancel-safe: then
    /// nothing is taken.
    pub(crate) async fn take(&self, bytes: usize, limit: Duration, env: &Env) -> bool {
        // Who does not wait must not keep for a moment what others may have.
        let Some(permits) = self.permits(bytes).filter(|_| !limit.is_zero()) else { return false };
        match env.timeout(limit, self.free.acquire_many(permits)).await {
            Some(Ok(permit)) => {
                permit.forget();
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    /// Frees `bytes`.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.free.add_permits(bytes);
    }

    /// Bytes in use, or put by for who waits.
    pub(crate) fn used(&self) -> usize {
        self.limit - self.free.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn waiter(budget: &Arc<Budget>, bytes: usize) -> tokio::task::JoinHandle<bool> {
        let (budget, env) = (budget.clone(), Env::system());
        Env::system().spawn(async move { budget.take(bytes, MINUTE, &env).await })
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gets_freed_bytes_and_goes_before_newcomers() {
        let budget = Arc::new(Budget::new(100));
        assert!(budget.try_take(90));
        assert!(!budget.try_take(20));
        let waiter = waiter(&budget, 20);
        tokio::task::yield_now().await;
        assert!(!budget.try_take(1), "a newcomer passed the waiter");
        budget.give_back(50);
        assert!(waiter.await.unwrap());
        assert_eq!(budget.used(), 60);
        assert!(budget.try_take(40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_message_gets_its_turn_before_small_ones_that_came_later() {
        let budget = Arc::new(Budget::new(100));
        assert!(budget.try_take(100));
        let large = waiter(&budget, 80);
        tokio::task::yield_now().await;
        let small: Vec<_> = (0..20).map(|_| waiter(&budget, 10)).collect();
        for _ in 0..10 {
            tokio::task::yield_now().await;
            budget.give_back(10);
        }
        assert!(large.await.unwrap());
        budget.give_back(80);
        for waiter in small.into_iter().take(10) {
            assert!(waiter.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_limit_and_leaves_nothing_taken() {
        let env = Env::system();
        let budget = Budget::new(100);
        assert!(budget.try_take(100));
        assert!(!budget.take(1, MINUTE, &env).await);
        budget.give_back(100);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_take(100));
    }
}
