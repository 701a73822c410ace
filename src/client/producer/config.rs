//! What a producer is configured with. The public builder fills it; every limit has its default here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::partitioner::SharedPartitioner;
use crate::wire::records::Packing;

/// Settings of one producer.
#[derive(Clone, Debug)]
pub(crate) struct ProducerConfig {
    /// Whether brokers are given producer ids and sequences, so that a retry never writes twice.
    pub(crate) idempotent: bool,
    /// How long a batch waits for more records. Zero adds no delay: batches fill while others are under way.
    pub(crate) linger: Duration,
    /// A batch is closed when it has this many bytes.
    pub(crate) batch_size: usize,
    /// How batches are compressed.
    pub(crate) packing: Packing,
    /// How those of single topics are.
    pub(crate) topic_packing: BTreeMap<String, Packing>,
    /// From append to acknowledgement or failure, retries included.
    pub(crate) delivery_timeout: Duration,
    /// For one Produce request.
    pub(crate) request_timeout: Duration,
    /// Bytes of records that wait or are under way; beyond it, appending waits.
    pub(crate) buffer_memory: usize,
    /// How long appending waits for buffer memory.
    pub(crate) max_block: Duration,
    /// Produce requests in flight per broker, and batches in flight per partition; at most 5 if idempotent.
    pub(crate) max_in_flight: usize,
    /// A larger message (key, value and headers, before compression) is refused.
    pub(crate) max_message_size: usize,
    /// How keys choose partitions.
    pub(crate) partitioner: SharedPartitioner,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            idempotent: true,
            linger: Duration::ZERO,
            batch_size: 1_000_000,
            packing: Packing::default(),
            topic_packing: BTreeMap::new(),
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            buffer_memory: 64 << 20,
            max_block: Duration::from_secs(60),
            max_in_flight: 5,
            max_message_size: 20_000_000,
            partitioner: SharedPartitioner::default(),
        }
    }
}

impl ProducerConfig {
    /// How a topic's batches are compressed.
    pub(crate) fn packing(&self, topic: &str) -> Packing {
        self.topic_packing.get(topic).copied().unwrap_or(self.packing)
    }

    /// Refuses settings that contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |text: &'static str| Err(Error::new(ErrorKind::InvalidConfig, text));
        if self.max_in_flight == 0 {
            return invalid("max_in_flight is 0, so nothing could be sent: set 1 to 5");
        }
        if self.idempotent && self.max_in_flight > 5 {
            return invalid(
                "max_in_flight is above 5: brokers remember only 5 batches of an idempotent producer, so set 1 to 5 \
                 or turn idempotence off",
            );
        }
        if self.buffer_memory < self.max_message_size {
            return invalid("buffer_memory is below max_message_size: the largest message could never be sent");
        }
        if self.delivery_timeout < self.linger + self.request_timeout {
            return invalid("delivery_timeout is below linger + request_timeout: make it at least their sum");
        }
        if self.batch_size == 0 || self.max_message_size > i32::MAX as usize / 2 {
            return invalid("batch_size must be above 0 and max_message_size at most 1 GiB");
        }
        Ok(())
    }
}
