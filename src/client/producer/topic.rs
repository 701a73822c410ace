//! Appending to a topic: which partition a record goes to, and the buffer memory it needs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::Core;
use super::delivery::Delivery;
use super::queue::{PartitionQueue, RecordParts, Refused};
use crate::client::types::{TopicId, TopicName};
use crate::error::{Error, ErrorKind, Result};
use crate::partitioner::next_sticky;
use crate::wire::records::{HEADER_LEN, max_record_len};

/// The queues of one topic. When it gets more partitions, or is made again, a successor takes over that contains these.
pub(super) struct Topic {
    pub(super) name: TopicName,
    /// Zero if the broker is too old to tell.
    pub(super) id: TopicId,
    pub(super) partitions: Box<[Arc<PartitionQueue>]>,
    /// Those of partitions that a topic of this name once had, shut. They know which sequence numbers are used up, in case
    /// the partitions come back.
    pub(super) spare: Box<[Arc<PartitionQueue>]>,
    /// Where records without a key go at present.
    sticky: AtomicU32,
    pub(super) successor: OnceLock<Arc<Topic>>,
}

impl Topic {
    pub(super) fn new(
        name: TopicName,
        id: TopicId,
        partitions: Box<[Arc<PartitionQueue>]>,
        spare: Box<[Arc<PartitionQueue>]>,
    ) -> Self {
        Self { name, id, partitions, spare, sticky: AtomicU32::new(0), successor: OnceLock::new() }
    }

    /// All, by their partition.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<PartitionQueue>> {
        self.partitions.iter().chain(&self.spare)
    }

    /// The present form of the topic.
    pub(super) fn latest(self: &Arc<Self>) -> &Arc<Topic> {
        let mut topic = self;
        while let Some(next) = topic.successor.get() {
            topic = next;
        }
        topic
    }
}

/// Which partition a record goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    /// By its key; without one, wherever a batch is open.
    #[default]
    Auto,
    /// This one.
    Partition(i32),
}

/// A handle to one topic of a producer: saves the look-up per send. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ProducerTopic {
    pub(super) core: Arc<Core>,
    pub(super) topic: Arc<Topic>,
    /// Keeps the producer open.
    pub(super) _open: Arc<super::Open>,
}

impl ProducerTopic {
    pub(crate) fn name(&self) -> &TopicName {
        &self.topic.name
    }

    /// How many partitions the topic has.
    pub(crate) fn partitions(&self) -> u32 {
        self.topic.latest().partitions.len() as u32
    }

    /// Appends a record; waits up to `max_block` for buffer memory, then fails as `NotWritten`. With memory free it is
    /// ready at once. The order in which calls become ready is the order in the partition.
    ///
    /// Cancel-safe: dropped before it is ready, the record is not appended.
    pub(crate) async fn append(&self, choice: Choice, parts: &RecordParts<'_>) -> Result<Delivery> {
        let size = self.size(parts)?;
        let shared = &self.core.shared;
        if !shared.budget.try_take(size) && !shared.budget.take(size, shared.config.max_block, &shared.env).await {
            let (memory, limit) = (shared.config.buffer_memory, shared.config.max_block);
            let message = format!(
                "{}: no buffer memory came free within {limit:?}, {memory} bytes are waiting to be acknowledged: \
                 check that the brokers are reachable, send more slowly, or raise buffer_memory",
                self.topic.name
            );
            return Err(Error::new(ErrorKind::NotWritten, message).may_pass());
        }
        self.place(choice, parts, size)
    }

    /// [`append`](Self::append) if that needs no waiting for buffer memory; else `None`.
    pub(crate) fn try_append(&self, choice: Choice, parts: &RecordParts<'_>) -> Option<Result<Delivery>> {
        match self.size(parts) {
            Ok(size) => self.core.shared.budget.try_take(size).then(|| self.place(choice, parts, size)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Buffer memory the record needs.
    fn size(&self, parts: &RecordParts<'_>) -> Result<usize> {
        let size = max_record_len(parts.key, parts.value, parts.headers);
        let limit = self.core.shared.config.max_message_size;
        if size + HEADER_LEN > limit {
            let message = format!(
                "{}: the message has {size} bytes with key and headers, max_message_size is {limit}: make it smaller, \
                 or raise max_message_size here and max.message.bytes of the topic",
                self.topic.name
            );
            return Err(Error::new(ErrorKind::MessageTooLarge, message));
        }
        Ok(size)
    }

    /// Appends with `size` bytes taken from the budget; gives them back on failure.
    fn place(&self, choice: Choice, parts: &RecordParts<'_>, size: usize) -> Result<Delivery> {
        let shared = &self.core.shared;
        let timestamp = parts.timestamp.unwrap_or_else(|| shared.env.stamp_ms());
        loop {
            let topic = self.topic.latest();
            let appended = self.place_in(topic, choice, parts, timestamp, size);
            // A partition that just went: the topic's successor says where the record goes instead.
            if appended.is_ok() || Arc::ptr_eq(topic, self.topic.latest()) {
                return appended.inspect_err(|_| shared.budget.give_back(size));
            }
        }
    }

    fn place_in(
        &self,
        topic: &Topic,
        choice: Choice,
        parts: &RecordParts<'_>,
        timestamp: i64,
        size: usize,
    ) -> Result<Delivery> {
        let queue = match (choice, parts.key) {
            (Choice::Partition(number), _) => self.known(topic, i64::from(number))?,
            (_, Some(key)) => {
                let count = topic.partitions.len() as u32;
                self.known(topic, i64::from(self.core.shared.config.partitioner.0.partition(key, count)))?
            }
            (_, None) => return self.stick(topic, parts, timestamp, size),
        };
        match queue.append(parts, timestamp, size, true) {
            Ok(delivery) => Ok(delivery),
            Err(Refused::Shut(error)) => Err(error),
            Err(Refused::NoBatch) => Err(closed()),
        }
    }

    fn known<'a>(&self, topic: &'a Topic, number: i64) -> Result<&'a Arc<PartitionQueue>> {
        usize::try_from(number).ok().and_then(|n| topic.partitions.get(n)).ok_or_else(|| {
            let (name, count) = (&topic.name, topic.partitions.len());
            let message =
                format!("{name} has {count} partitions, so there is no partition {number}: choose 0 to {}", count - 1);
            Error::new(ErrorKind::InvalidArgument, message)
        })
    }

    /// Appends to the sticky partition's open batch; when it has none, moves on to another partition.
    fn stick(&self, topic: &Topic, parts: &RecordParts<'_>, timestamp: i64, size: usize) -> Result<Delivery> {
        let current = topic.sticky.load(Ordering::Relaxed);
        if let Some(queue) = topic.partitions.get(current as usize) {
            match queue.append(parts, timestamp, size, false) {
                Ok(delivery) => return Ok(delivery),
                Err(Refused::Shut(error)) => return Err(error),
                Err(Refused::NoBatch) => {}
            }
        }
        let next = self.core.next_sticky(topic, current);
        topic.sticky.store(next, Ordering::Relaxed);
        let queue = self.known(topic, i64::from(next))?;
        match queue.append(parts, timestamp, size, true) {
            Ok(delivery) => Ok(delivery),
            Err(Refused::Shut(error)) => Err(error),
            Err(Refused::NoBatch) => Err(closed()),
        }
    }
}

impl Core {
    /// The next partition for records without a key: one with a leader, if any has.
    fn next_sticky(&self, topic: &Topic, current: u32) -> u32 {
        let known = self.cluster.topology();
        let all = 0..topic.partitions.len() as u32;
        let led = |number: &u32| {
            known.topic(&topic.name).and_then(|t| t.partition(*number as i32)).is_some_and(|p| p.leader >= 0)
        };
        let mut usable: Vec<u32> = all.clone().filter(led).collect();
        if usable.is_empty() {
            usable.extend(all);
        }
        let random = self.shared.env.random(|rng| rng.u64(..));
        next_sticky(current, &usable, random).unwrap_or_default()
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer is closed")
}
