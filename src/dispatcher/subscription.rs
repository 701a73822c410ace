//! A running subscription: its errors, its end.

use crate::error::{Error, Result};
use crate::worker::{self, ConsumerHandle, Ended, Failures, SubscriptionEvent};

/// A member of a consumer group that hands messages to its handler.
///
/// Dropped, it stops without waiting for running handlers, whose messages will be delivered again, and leaves the
/// group in the background; [`stop`](Self::stop) is the orderly way. A static member
/// ([`instance_id`](crate::Subscribe::instance_id)) leaves in neither case: its partitions wait for it for the
/// `session_timeout`.
#[derive(Debug)]
#[must_use = "dropped, a subscription stops: join() or stop() it"]
pub struct Subscription {
    handle: ConsumerHandle,
    group: String,
}

/// How a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped(Ended);

impl Stopped {
    /// Messages that were still being handled when `stop_timeout` was over, or the `drain_timeout` of partitions that
    /// were taken away while it stopped; they will be delivered again.
    pub fn unfinished(&self) -> u64 {
        self.0.left
    }
}

impl Subscription {
    pub(super) fn new(handle: ConsumerHandle, group: String) -> Self {
        Self { handle, group }
    }

    /// The group under Kafka's name for it, `<group>:<topic>` unless it was named exactly.
    pub fn group_id(&self) -> &str {
        &self.group
    }

    /// Failed handlers, and what else a user should know. The newest 1,000 are kept until they are read; all of a
    /// subscription's streams share them.
    pub fn errors(&self) -> Errors {
        Errors(self.handle.failures())
    }

    /// Partitions that come and go, handlers that stand still, and more: see [`SubscriptionEvent`]. The newest 1,000 are
    /// kept until they are read, and before the first call of this the newest 100; all of a subscription's streams share
    /// them.
    pub fn events(&self) -> Events {
        Events(self.handle.events())
    }

    /// Starts no handler and reads nothing until [`resume`](Self::resume); a handler that is about to start in this very
    /// moment still may. Running handlers end and are committed. The membership goes on: partitions come and go, and new
    /// ones are paused too. [`stop`](Self::stop) works, and [`join`](Self::join) waits on. Again, it does nothing.
    ///
    /// What has been fetched stays in memory, within the dispatcher's `fetch_memory`. Other subscriptions keep a share of
    /// it, if there is more of it than 1 MiB, or one batch if that is larger, for each paused partition.
    pub fn pause(&self) {
        self.handle.pause();
    }

    /// Goes on after [`pause`](Self::pause), where it stopped. Without one it does nothing.
    pub fn resume(&self) {
        self.handle.resume();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.handle.is_paused()
    }

    /// Waits until the subscription ends: by [`stop`](Self::stop) from elsewhere, by `count` or `until_end`, or by a
    /// failure.
    ///
    /// # Errors
    /// What ended it: a failed handler under `OnFailure::Stop`, a batch that cannot be read, a group that refuses
    /// this member. Cancel-safe.
    pub async fn join(&self) -> Result<Stopped> {
        self.handle.join().await.map(Stopped)
    }

    /// Takes no more messages in, waits up to `stop_timeout` for running handlers, commits what is finished and
    /// leaves the group. Ends within twice `stop_timeout` and 30 s, whatever the brokers do.
    ///
    /// # Errors
    /// What had ended it before, or what went wrong while it ended, such as a last commit that failed, so that messages
    /// that were handled may come again. Cancel-safe: dropped, the stop goes on.
    pub async fn stop(&self) -> Result<Stopped> {
        self.handle.stop().await.map(Stopped)
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.handle.is_ended()
    }
}

/// A subscription's errors, one after another.
#[derive(Debug)]
pub struct Errors(Failures);

impl Errors {
    pub(super) fn of(failures: Failures) -> Self {
        Self(failures)
    }

    pub(super) async fn next_raw(&mut self) -> Option<worker::Failure> {
        std::future::poll_fn(|cx| self.0.poll_next(cx)).await
    }

    /// The next one; `None` when the subscription has ended and all were read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Failure> {
        self.next_raw().await.map(Failure)
    }

    /// How many were lost since the last call because nobody read them in time.
    pub fn take_dropped(&mut self) -> u64 {
        self.0.take_dropped()
    }
}

/// A subscription's events, one after another.
#[derive(Debug)]
pub struct Events(worker::Events);

impl Events {
    /// The next one; `None` when the subscription has ended and all were read. Cancel-safe.
    pub async fn next(&mut self) -> Option<SubscriptionEvent> {
        std::future::poll_fn(|cx| self.0.ring().poll_next(cx)).await
    }

    /// How many were lost since the last call because nobody read them in time.
    pub fn take_dropped(&mut self) -> u64 {
        self.0.ring().take_dropped()
    }
}

/// A handler that failed, or something about the subscription that a user should know.
#[derive(Debug, Clone)]
pub struct Failure(worker::Failure);

impl Failure {
    /// What went wrong.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The topic of the message whose handler failed; `None` if no single message is concerned.
    pub fn topic(&self) -> Option<&str> {
        self.0.record.as_ref().map(|(tp, _)| &*tp.topic)
    }

    /// The partition of that message.
    pub fn partition(&self) -> Option<i32> {
        self.0.record.as_ref().map(|(tp, _)| tp.partition)
    }

    /// The offset of that message.
    pub fn offset(&self) -> Option<i64> {
        self.0.record.as_ref().map(|(_, offset)| *offset)
    }
}
