//! How a send ends. All records of a batch share one completion; a [`Delivery`] is that and an index, so that nothing
//! is allocated per record and a waker is kept only by those that are awaited.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use crate::client::types::{TopicName, TopicPartition};
use crate::env::lock;
use crate::error::{Error, Result};

/// Where an acknowledged record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) topic: TopicName,
    pub(crate) partition: i32,
    /// `None` if the broker only said that it has the record already (a retry of a batch that had been written).
    pub(crate) offset: Option<i64>,
    /// Milliseconds since 1970: the broker's if the topic says so, else the record's own.
    pub(crate) timestamp: i64,
}

/// What became of consecutive records of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// In the log, the first of them at `base_offset`.
    Written { base_offset: Option<i64>, log_append_time: Option<i64> },
    /// Not acknowledged.
    Failed(Error),
}

/// The completion that all records of one batch share.
#[derive(Debug)]
pub(crate) struct Completion {
    tp: Arc<TopicPartition>,
    /// Set once. More than one part if the batch had to be split: the index its records start at, and their fate.
    fates: OnceLock<Vec<(u32, Fate)>>,
    pending: Mutex<PendingFates>,
}

#[derive(Debug, Default)]
struct PendingFates {
    settled: Vec<(u32, Fate)>,
    records_settled: u32,
    waiters: Vec<Waiter>,
}

/// A task that waits for records of the batch.
#[derive(Debug)]
struct Waiter {
    waker: Waker,
    /// How many of them: it stays when one of several moves to another task.
    records: u32,
}

impl Completion {
    pub(crate) fn new(tp: Arc<TopicPartition>) -> Arc<Self> {
        Arc::new(Self { tp, fates: OnceLock::new(), pending: Mutex::default() })
    }

    /// Says what became of `count` records from index `first`; when all `of` records are settled, wakes who waits.
    /// Each record is settled exactly once.
    pub(crate) fn settle(&self, first: u32, count: u32, of: u32, fate: Fate) {
        let mut pending = lock(&self.pending);
        pending.settled.push((first, fate));
        pending.records_settled += count;
        debug_assert!(pending.records_settled <= of, "a record was settled twice");
        if pending.records_settled < of {
            return;
        }
        let mut fates = std::mem::take(&mut pending.settled);
        fates.sort_by_key(|(first, _)| *first);
        let _ = self.fates.set(fates);
        let waiters = std::mem::take(&mut pending.waiters);
        drop(pending);
        waiters.into_iter().for_each(|waiter| waiter.waker.wake());
    }

    /// Whether every record is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.fates.get().is_some()
    }

    /// Ready when every record is settled; else leaves a waker, and its place in `slot`.
    fn poll(&self, cx: &mut Context<'_>, slot: &mut Option<usize>) -> Poll<&[(u32, Fate)]> {
        if let Some(fates) = self.fates.get() {
            return Poll::Ready(fates);
        }
        let mut pending = lock(&self.pending);
        if let Some(fates) = self.fates.get() {
            return Poll::Ready(fates);
        }
        let waiters = &mut pending.waiters;
        if let Some(own) = slot.and_then(|own| waiters.get_mut(own)) {
            if own.waker.will_wake(cx.waker()) {
                return Poll::Pending;
            }
            if own.records == 1 {
                own.waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            own.records -= 1;
        }
        // One task that awaits many records of a batch needs one waker.
        match waiters.last_mut().filter(|last| last.waker.will_wake(cx.waker())) {
            Some(last) => last.records += 1,
            None => waiters.push(Waiter { waker: cx.waker().clone(), records: 1 }),
        }
        *slot = Some(waiters.len() - 1);
        Poll::Pending
    }

    /// Waits until every record is settled, whatever became of them. Cancel-safe.
    pub(crate) async fn settled(self: Arc<Self>) {
        let mut slot = None;
        std::future::poll_fn(move |cx| self.poll(cx, &mut slot).map(|_| ())).await;
    }
}

/// The outcome of one appended record: resolves when it is acknowledged or has failed.
///
/// Cancel-safe; dropping it does not unsend the record.
#[must_use = "a Delivery tells whether the record was written"]
#[derive(Debug)]
pub(crate) struct Delivery {
    completion: Arc<Completion>,
    index: u32,
    slot: Option<usize>,
    timestamp: i64,
}

impl Delivery {
    pub(crate) fn new(completion: Arc<Completion>, index: u32, timestamp: i64) -> Self {
        Self { completion, index, slot: None, timestamp }
    }

    /// The partition the record was appended to.
    pub(crate) fn partition(&self) -> &Arc<TopicPartition> {
        &self.completion.tp
    }

    /// What it shares with the other records of its batch.
    pub(crate) fn batch(&self) -> &Arc<Completion> {
        &self.completion
    }

    /// How it ended, once its batch has [settled](Completion::settled).
    pub(crate) fn outcome(&self) -> Option<Result<Ack>> {
        self.completion.fates.get().map(|fates| self.of(fates))
    }

    fn of(&self, fates: &[(u32, Fate)]) -> Result<Ack> {
        let part = fates.partition_point(|(first, _)| *first <= self.index).saturating_sub(1);
        let (first, fate) = &fates[part];
        match fate {
            Fate::Failed(error) => Err(error.clone()),
            Fate::Written { base_offset, log_append_time } => Ok(Ack {
                topic: self.completion.tp.topic.clone(),
                partition: self.completion.tp.partition,
                offset: base_offset.map(|base| base + i64::from(self.index - first)),
                timestamp: log_append_time.unwrap_or(self.timestamp),
            }),
        }
    }

    /// Whether awaiting would return at once.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.completion.is_settled()
    }
}

impl Future for Delivery {
    type Output = Result<Ack>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.completion.poll(cx, &mut this.slot) {
            Poll::Ready(fates) => Poll::Ready(this.of(fates)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn completion() -> Arc<Completion> {
        Completion::new(Arc::new(TopicPartition::new("t", 1)))
    }

    fn written(base: i64) -> Fate {
        Fate::Written { base_offset: Some(base), log_append_time: None }
    }

    #[tokio::test]
    async fn every_record_gets_its_own_offset() {
        let completion = completion();
        let deliveries: Vec<_> = (0..3).map(|i| Delivery::new(completion.clone(), i, 5)).collect();
        completion.settle(0, 3, 3, written(100));
        for (delivery, offset) in deliveries.into_iter().zip(100..) {
            let ack = delivery.await.unwrap();
            assert_eq!((ack.offset, ack.timestamp, ack.partition), (Some(offset), 5, 1));
        }
    }

    #[tokio::test]
    async fn the_parts_of_a_split_batch_end_each_for_itself() {
        let completion = completion();
        let [a, b, c] = [0, 1, 2].map(|i| Delivery::new(completion.clone(), i, 0));
        completion.settle(2, 1, 3, Fate::Failed(Error::new(ErrorKind::MessageTooLarge, "too large")));
        assert!(!a.is_settled());
        completion.settle(0, 2, 3, written(7));
        assert_eq!(a.await.unwrap().offset, Some(7));
        assert_eq!(b.await.unwrap().offset, Some(8));
        assert_eq!(c.await.unwrap_err().kind(), ErrorKind::MessageTooLarge);
    }

    #[tokio::test]
    async fn all_waiters_of_a_batch_wake_in_one_go() {
        let completion = completion();
        let tasks: Vec<_> =
            (0..10).map(|i| crate::env::Env::system().spawn(Delivery::new(completion.clone(), i, 0))).collect();
        tokio::task::yield_now().await;
        completion.settle(0, 10, 10, written(0));
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap().offset, Some(i as i64));
        }
    }

    struct Count(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// A batch of `N` records, and two tasks that count how often they are woken.
    struct Scene<const N: usize> {
        completion: Arc<Completion>,
        deliveries: [Delivery; N],
        counts: [Arc<Count>; 2],
    }

    impl<const N: usize> Scene<N> {
        fn new() -> Self {
            let completion = completion();
            let deliveries = std::array::from_fn(|i| Delivery::new(completion.clone(), i as u32, 0));
            Self { completion, deliveries, counts: [0, 1].map(|_| Arc::new(Count(0.into()))) }
        }

        /// Task `task` polls record `delivery`, which is not settled.
        fn poll(&mut self, task: usize, delivery: usize) {
            let waker = Waker::from(self.counts[task].clone());
            let polled = Pin::new(&mut self.deliveries[delivery]).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }

        fn waiters(&self) -> usize {
            lock(&self.completion.pending).waiters.len()
        }

        /// How often each task has been woken, once all is settled.
        fn woken(&self) -> [usize; 2] {
            self.completion.settle(0, N as u32, N as u32, written(0));
            self.counts.each_ref().map(|count| count.0.load(std::sync::atomic::Ordering::SeqCst))
        }
    }

    #[test]
    fn a_task_that_awaits_many_records_leaves_one_waker_and_a_moved_delivery_its_latest() {
        let mut scene = Scene::<100>::new();
        (0..100).for_each(|i| scene.poll(0, i));
        assert_eq!(scene.waiters(), 1);
        // Delivery 7 shares the first one's waker; moved to another task it leaves its own, once.
        (0..50).for_each(|_| scene.poll(1, 7));
        assert_eq!(scene.waiters(), 2);
        assert_eq!(scene.woken(), [1, 1]);
    }

    #[test]
    fn the_delivery_whose_waker_others_share_may_move_to_another_task() {
        let mut scene = Scene::<2>::new();
        scene.poll(0, 0);
        scene.poll(0, 1);
        scene.poll(1, 0);
        assert_eq!(scene.woken(), [1, 1]);
    }

    #[test]
    fn deliveries_that_go_from_task_to_task_leave_a_waker_each_at_most() {
        let mut scene = Scene::<2>::new();
        scene.poll(0, 0);
        scene.poll(0, 1);
        (0..100).for_each(|i| scene.poll(i % 2, 0));
        assert_eq!(scene.waiters(), 2);
        // Both together, as in a `join!` that is moved.
        (0..100).for_each(|i| (0..2).for_each(|delivery| scene.poll(i % 2, delivery)));
        assert_eq!(scene.waiters(), 2);
        scene.poll(0, 1);
        assert_eq!(scene.woken(), [1, 1]);
    }
}
