//! The bytes that fetched data may occupy. A source reserves before it sends a Fetch, gives back what did not come, and
//! the rest stays charged until the buffers are dropped. Called by sources and, through drops, by every reader.
//! Bound: the budget, plus one maximal batch per broker, because a first batch larger than asked for comes whole (KIP-74).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

/// A shared pool of bytes; cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Inner>);

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Budget({} of {} free)", self.free(), self.0.capacity)
    }
}

struct Inner {
    capacity: i64,
    /// Not reserved and not charged; negative after an answer larger than asked for.
    free: AtomicI64,
    /// Charged to data that has arrived.
    held: AtomicI64,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = i64::try_from(capacity).unwrap_or(i64::MAX).max(1);
        Self(Arc::new(Inner {
            capacity,
            free: AtomicI64::new(capacity),
            held: AtomicI64::new(0),
            freed: Notify::new(),
        }))
    }

    pub(crate) fn capacity(&self) -> i64 {
        self.0.capacity
    }

    pub(crate) fn free(&self) -> i64 {
        self.0.free.load(Ordering::Acquire)
    }

    /// What data that has arrived leaves over: a partition that holds more than this is slow (the dynamic threshold of
    /// switch buffers: `n` slow partitions get 1/(n+1) of the memory each and the last share stays for the others).
    pub(crate) fn unheld(&self) -> i64 {
        self.0.capacity - self.0.held.load(Ordering::Acquire)
    }

    /// Reserves at most `want` bytes, or nothing when fewer than `least` are free.
    pub(crate) fn try_reserve(&self, least: i64, want: i64) -> Option<Reservation> {
        let mut free = self.free();
        loop {
            let take = want.min(free);
            if take < least.min(want).max(1) {
                return None;
            }
            match self.0.free.compare_exchange_weak(free, free - take, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Reservation { budget: self.clone(), bytes: take }),
                Err(now) => free = now,
            }
        }
    }

    /// Waits until `try_reserve` succeeds. Cancel-safe.
    pub(crate) async fn reserve(&self, least: i64, want: i64) -> Reservation {
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(reservation) = self.try_reserve(least, want) {
                return reservation;
            }
            freed.await;
        }
    }

    /// Nothing, for an answer that must come all the same: what arrives is charged beyond the budget.
    #[cfg(feature = "rskafka")]
    pub(crate) fn overdraw(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Waits until bytes are free, or until `mine` is the only holder of its token: whoever holds nothing inflated may
    /// always go on by one batch, so that a full budget never stops everybody. Cancel-safe.
    pub(crate) async fn room(&self, mine: &Arc<()>) {
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if self.has_room(mine) {
                return;
            }
            freed.await;
        }
    }

    /// Whether [`room`](Self::room) returns at once.
    pub(crate) fn has_room(&self, mine: &Arc<()>) -> bool {
        self.free() > 0 || Arc::strong_count(mine) == 1
    }

    /// Charges what decompression made of bytes; may overdraw. The token counts who holds such.
    pub(crate) fn charge(&self, bytes: i64, token: Arc<()>) -> Charge {
        self.0.free.fetch_sub(bytes, Ordering::AcqRel);
        self.0.held.fetch_add(bytes, Ordering::AcqRel);
        Charge { budget: self.clone(), bytes, token: Some(token) }
    }

    fn give_back(&self, bytes: i64) {
        if bytes > 0 {
            self.0.free.fetch_add(bytes, Ordering::AcqRel);
            self.0.freed.notify_waiters();
        }
    }
}

/// Bytes set aside for an answer on its way; dropped, they are free again.
pub(crate) struct Reservation {
    budget: Budget,
    bytes: i64,
}

impl Reservation {
    pub(crate) fn bytes(&self) -> i64 {
        self.bytes
    }

    /// The answer came with `arrived` bytes: they are charged (even beyond the reservation), the rest is given back.
    pub(crate) fn settle(mut self, arrived: i64) -> Charge {
        let rest = std::mem::take(&mut self.bytes) - arrived;
        self.budget.0.held.fetch_add(arrived, Ordering::AcqRel);
        if rest < 0 {
            self.budget.0.free.fetch_add(rest, Ordering::AcqRel);
        }
        self.budget.give_back(rest);
        Charge { budget: self.budget.clone(), bytes: arrived, token: None }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Bytes in memory; dropped, they are free again.
pub(crate) struct Charge {
    budget: Budget,
    bytes: i64,
    token: Option<Arc<()>>,
}

impl Charge {
    pub(crate) fn bytes(&self) -> i64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(self.bytes, Ordering::AcqRel);
        // Before the wake-up, whose receiver counts tokens.
        self.token = None;
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    #[test]
    fn what_did_not_arrive_is_free_at_once_and_the_rest_when_the_buffer_drops() {
        let budget = Budget::new(1000);
        let reservation = budget.try_reserve(1, 600).unwrap();
        assert_eq!((budget.free(), budget.unheld()), (400, 1000));
        let charge = Arc::new(reservation.settle(200));
        assert_eq!((budget.free(), budget.unheld()), (800, 800));
        let other = charge.clone();
        drop(charge);
        assert_eq!(budget.free(), 800, "another batch of the frame is alive");
        drop(other);
        assert_eq!((budget.free(), budget.unheld()), (1000, 1000));
    }

    #[test]
    fn a_reservation_takes_what_is_free_but_not_less_than_the_least() {
        let budget = Budget::new(100);
        let first = budget.try_reserve(10, 95).unwrap();
        assert!(budget.try_reserve(10, 95).is_none());
        drop(first);
        assert_eq!(budget.try_reserve(10, 500).unwrap().bytes(), 100);
        drop(budget.try_reserve(10, 500));
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn a_batch_larger_than_asked_for_overdraws_and_is_paid_back() {
        let budget = Budget::new(100);
        let charge = budget.try_reserve(1, 100).unwrap().settle(250);
        assert_eq!(budget.free(), -150);
        assert!(budget.try_reserve(1, 1).is_none());
        drop(charge);
        assert_eq!(budget.free(), 100);
    }

    #[tokio::test]
    async fn a_waiting_source_goes_on_when_a_buffer_drops() {
        let budget = Budget::new(100);
        let held = budget.charge(100, Arc::default());
        let waiting = budget.reserve(50, 80);
        let mut waiting = std::pin::pin!(waiting);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(held);
        assert_eq!(waiting.await.bytes(), 80);
    }

    #[tokio::test]
    async fn whoever_holds_nothing_inflated_goes_on_though_the_budget_is_overdrawn() {
        let budget = Budget::new(100);
        let (mine, other) = (Arc::new(()), Arc::new(()));
        let others = budget.charge(200, other.clone());
        budget.room(&mine).await;
        let held = budget.charge(100, mine.clone());
        let mut waiting = std::pin::pin!(budget.room(&mine));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(held);
        waiting.await;
        drop(others);
    }
}
