//! Handlers that fail: what they may say, what is done about it, and the bounded stream that tells the user.

use std::any::Any;
use std::task::{Context, Poll};
use std::time::Duration;

use super::ring::Ring;
use crate::client::retry::BackoffConfig;
use crate::client::types::TopicPartition;
use crate::{Error, ErrorKind};

/// What becomes of a message whose handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// **Reported and committed**: the message is not handled again. The default, as in the Go dispatcher.
    #[default]
    Skip,
    /// Reported and kept: commits never pass it, and it is handled again after a restart or by the next owner.
    Hold,
    /// Reported, and the subscription stops: what came before it in each partition is committed, nothing at or past it.
    Stop,
}

impl OnFailure {
    pub(crate) fn plan(&self) -> Plan {
        let backoff = BackoffConfig { first: Duration::from_millis(100), max: Duration::from_secs(10) };
        let last = match self {
            Self::Skip => Last::Skip,
            Self::Hold => Last::Hold,
            Self::Stop => Last::Stop,
        };
        Plan { attempts: 1, backoff, last }
    }
}

/// A failure policy as lanes follow it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How often a handler is called for a record in place, at least 1.
    pub(crate) attempts: u32,
    /// Between two of these calls.
    pub(crate) backoff: BackoffConfig,
    /// What becomes of the record then.
    pub(crate) last: Last,
}

/// What becomes of a record that is handled no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Skip,
    Hold,
    Stop,
}

/// Why a handler did not finish a record.
#[derive(Debug)]
pub(crate) struct HandlerError(Box<dyn std::error::Error + Send + Sync + 'static>);

impl HandlerError {
    pub(crate) fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self(source.into())
    }

    /// The payload is not what the handler takes: no attempt can change that.
    pub(crate) fn is_unfit(&self) -> bool {
        self.0.is::<Unfit>()
    }

    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => text,
            (_, Some(text)) => text.as_str(),
            _ => "no message",
        };
        Self::new(format!("the handler panicked: {text}"))
    }

    pub(crate) fn timed_out(limit: Duration) -> Self {
        Self::new(format!("the handler was ended after handler_timeout ({limit:?})"))
    }

    /// As the library's own error, naming the record.
    pub(crate) fn into_error(self, tp: &TopicPartition, offset: i64) -> Error {
        self.because(format!("the handler of {tp} offset {offset} failed"))
    }

    /// As the library's own error, saying which handler it was.
    pub(crate) fn because(self, what: String) -> Error {
        Error::new(ErrorKind::Handler, what).with_source(Plain(self.0))
    }
}

/// Why a payload is not what the handler takes.
#[derive(Debug)]
pub(crate) struct Unfit(pub(crate) Error);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unfit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A boxed error that is an error itself.
#[derive(Debug)]
struct Plain(Box<dyn std::error::Error + Send + Sync + 'static>);

impl std::fmt::Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Plain {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// One entry of a subscription's error stream.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The record whose handler failed; `None` for a failure of the subscription itself.
    pub(crate) record: Option<(TopicPartition, i64)>,
    pub(crate) error: Error,
}

/// The stream's buffer: the newest [`ERRORS_KEPT`] entries wait for the reader, older ones give way and are counted.
#[derive(Debug, Clone)]
pub(crate) struct Failures(Ring<Failure>);

const ERRORS_KEPT: usize = 1_000;

impl Default for Failures {
    fn default() -> Self {
        Self(Ring::new(ERRORS_KEPT))
    }
}

impl Failures {
    /// Never blocks; the oldest entry gives way.
    pub(crate) fn push(&self, failure: Failure) {
        if self.0.push(failure) {
            tracing::warn!(
                target: "dispatcher::worker",
                "errors() is not read: only the newest {ERRORS_KEPT} errors are kept"
            );
        }
    }

    /// No more will come; what waits can still be read.
    pub(crate) fn end(&self) {
        self.0.end();
    }

    /// How many entries gave way unread since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.0.take_dropped()
    }

    /// The next entry; `None` when the subscription has ended.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Failure>> {
        self.0.poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(offset: i64) -> Failure {
        let tp = TopicPartition::new("orders", 3);
        Failure { error: HandlerError::new("no").into_error(&tp, offset), record: Some((tp, offset)) }
    }

    #[tokio::test]
    async fn an_unread_error_stream_keeps_the_newest_and_counts_the_rest() {
        let failures = Failures::default();
        for offset in 0..ERRORS_KEPT as i64 + 5 {
            failures.push(failure(offset));
        }
        failures.end();
        failures.push(failure(-1));
        assert_eq!(failures.take_dropped(), 5);
        let mut read = Vec::new();
        while let Some(f) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
            read.push(f.record.map(|r| r.1));
        }
        assert_eq!((read.len(), read[0]), (ERRORS_KEPT, Some(5)));
    }

    #[test]
    fn a_handlers_error_names_its_record_and_keeps_its_cause() {
        let error = HandlerError::new(std::io::Error::other("disk full")).into_error(&TopicPartition::new("t", 1), 42);
        assert_eq!(error.kind(), ErrorKind::Handler);
        assert!(error.to_string().contains("t-1 offset 42") && error.to_string().contains("disk full"));
        let panic = HandlerError::panicked(Box::new("boom".to_owned()));
        assert!(panic.into_error(&TopicPartition::new("t", 1), 0).to_string().contains("boom"));
    }
}
