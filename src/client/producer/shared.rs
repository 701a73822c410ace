//! What all partitions of one producer share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;

use super::budget::Budget;
use super::config::ProducerConfig;
use super::identity::IdentityCell;
use crate::client::retry::BackoffConfig;
use crate::env::{Env, lock};

/// Used buffers that are kept for the next batches.
const SPARE: usize = 8;
/// Smaller ones are not worth it.
const SPARE_MIN: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) config: ProducerConfig,
    pub(crate) budget: Budget,
    pub(crate) identity: IdentityCell,
    pub(super) backoff: BackoffConfig,
    spare: Mutex<Vec<BytesMut>>,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(env: Env, config: ProducerConfig, backoff: BackoffConfig) -> Self {
        let budget = Budget::new(config.buffer_memory);
        Self {
            env,
            config,
            budget,
            identity: IdentityCell::default(),
            backoff,
            spare: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// No more is taken in, and nobody waits for what is not under way.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Memory for a batch.
    pub(super) fn buffer(&self) -> BytesMut {
        lock(&self.spare).pop().unwrap_or_default()
    }

    /// Keeps the memory of a batch that is done.
    pub(super) fn keep(&self, buffer: BytesMut) {
        if (SPARE_MIN..=2 * self.config.batch_size).contains(&buffer.capacity()) {
            let mut spare = lock(&self.spare);
            if spare.len() < SPARE {
                spare.push(buffer);
            }
        }
    }
}
