//! What happens to a subscription, for those who want to watch it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ring::Ring;
use crate::client::types::TopicPartition;

/// What happens to a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// These partitions, topic and number each, are this member's from now on.
    Assigned {
        /// Those that were not before; none after a rebalance that brought this member nothing.
        partitions: Vec<(Arc<str>, i32)>,
    },
    /// These were given back: nothing of them starts any more, and what has been handled is committed, as far as the
    /// errors say nothing else.
    Revoked {
        /// Those that were given back.
        partitions: Vec<(Arc<str>, i32)>,
    },
    /// These were lost, and another member may have them already: what was handled since the last commit comes again.
    Lost {
        /// Those that were lost.
        partitions: Vec<(Arc<str>, i32)>,
    },
    /// A handler has been running for longer than `stall_after` and holds back the commits of its partition. Told once
    /// a message, and among the errors too, which say so if the message has failed and no retry topic or dead letters have
    /// taken it yet; not while the subscription is paused.
    Stalled {
        /// Its message's topic.
        topic: Arc<str>,
        /// Its message's partition.
        partition: i32,
        /// Its message's offset.
        offset: i64,
        /// For how long it has been the oldest of its partition that runs.
        running_for: Duration,
    },
    /// The partition is read no further: as many failed messages are held as `max_held` allows.
    Held {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The first failed message that is held.
        offset: i64,
        /// How many are held.
        held: u32,
    },
    /// All that was in the partition when it was assigned, or when the subscription was resumed, has been handled. At
    /// once for one without messages. If [`events`](crate::Subscription::events) was called later than that, what counts
    /// is what was there then.
    CaughtUp {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Where its log ended.
        offset: i64,
    },
    /// [`pause`](crate::Subscription::pause) was called.
    Paused,
    /// [`resume`](crate::Subscription::resume) was called.
    Resumed,
}

/// Kept before anybody asks for events, and after.
const KEPT: (usize, usize) = (100, 1_000);

/// The stream's buffer.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    ring: Ring<SubscriptionEvent>,
    watched: Arc<AtomicBool>,
}

impl Default for Events {
    fn default() -> Self {
        Self { ring: Ring::new(KEPT.0), watched: Arc::default() }
    }
}

impl Events {
    pub(crate) fn push(&self, event: SubscriptionEvent) {
        if self.ring.push(event) && self.is_watched() {
            let kept = KEPT.1;
            tracing::warn!(target: "dispatcher::worker", "events() is not read: only the newest {kept} are kept");
        }
    }

    /// From now on somebody reads.
    pub(crate) fn watch(&self) {
        self.ring.keep(KEPT.1);
        self.watched.store(true, Ordering::Release);
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// The buffer, to read from.
    pub(crate) fn ring(&self) -> &Ring<SubscriptionEvent> {
        &self.ring
    }
}

/// Partitions as events name them.
pub(super) fn named<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Vec<(Arc<str>, i32)> {
    partitions.into_iter().map(|tp| (tp.topic.clone(), tp.partition)).collect()
}
