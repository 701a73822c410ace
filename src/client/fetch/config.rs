//! What the fetcher is configured with. Every limit has its default here.

use std::time::Duration;

/// Settings of one fetcher, shared by all subscriptions of a client.
#[derive(Clone, Debug)]
pub(crate) struct FetchConfig {
    /// How long a broker may wait for `min_bytes` before it answers.
    pub(crate) max_wait: Duration,
    pub(crate) min_bytes: i32,
    /// Most bytes of one answer, as far as the budget allows.
    pub(crate) max_bytes: usize,
    /// Most bytes of one partition in one answer; raised for a partition whose batches are larger.
    pub(crate) partition_max_bytes: i32,
    /// Bytes that fetched and not yet released data may take together. Beyond it, one batch per broker (KIP-74).
    pub(crate) budget: usize,
    /// Most bytes of one batch after decompression.
    pub(crate) max_decompressed: usize,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            budget: 64 << 20,
            max_decompressed: 128 << 20,
        }
    }
}
