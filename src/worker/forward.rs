//! Where records go that their handler failed for, by way of the room above: retry topics and dead letters. A lane asks
//! for it, tries again until it is acknowledged, and only then counts the record as finished; where that can never be, it
//! holds the record.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::record::Record;
use crate::client::types::TopicName;
use crate::wire::ErrorCode;
use crate::{Error, ErrorKind, Result};

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The retry topic of this stage, from 1.
    Retry(u32),
    DeadLetters,
}

/// Whether another attempt to write there may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prospect {
    /// When the brokers are there again, say.
    Passes,
    /// When somebody has changed something: given a right, a setting.
    Hardly,
    /// The record itself is the reason.
    Never,
}

/// What an error of [`Forward::forward`] lets expect.
pub(super) fn prospect(error: &Error) -> Prospect {
    let hardly = match error.kind() {
        ErrorKind::MessageTooLarge => return Prospect::Never,
        ErrorKind::Closed
        | ErrorKind::InvalidConfig
        | ErrorKind::InvalidArgument
        | ErrorKind::UnsupportedVersion
        | ErrorKind::Auth => true,
        // An error whose cause is not known may have any.
        _ => error.code().is_some_and(|code| !code.is_retriable() && code != ErrorCode::UNKNOWN_SERVER_ERROR),
    };
    if hardly { Prospect::Hardly } else { Prospect::Passes }
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
