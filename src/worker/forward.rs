//! Where records go that their handler failed for, by way of the room above: retry topics and dead letters. A lane asks
//! for it, tries again until it is acknowledged, and only then counts the record as finished.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::record::Record;
use crate::client::types::TopicName;
use crate::{Error, Result};

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The retry topic of this stage, from 1.
    Retry(u32),
    DeadLetters,
}

/// See the file's head.
pub(crate) trait Forward<B>: fmt::Debug + Send + Sync + 'static {
    /// How often a record of a retry topic was handled before it came there, as it says itself.
    fn attempts_before(&self, record: &Record<B>) -> Option<u32>;

    /// Writes the record there, with why its last attempt failed; ends when that is acknowledged. Limits its own time.
    fn forward(&self, record: Record<B>, to: Destination, cause: Error) -> BoxFuture<'static, Result<()>>;
}

/// A topic that the same consumer reads for messages that failed.
#[derive(Debug, Clone)]
pub(crate) struct RetryTopic {
    pub(crate) topic: TopicName,
    /// Whose messages these are: the number of their topic.
    pub(crate) route: usize,
    /// From 1.
    pub(crate) stage: u32,
    /// From a record's timestamp on, at most from when it was read.
    pub(crate) delay: Duration,
}
