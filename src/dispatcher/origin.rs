//! What the headers of a message that failed say of it: read from retry topics and dead letters by whoever handles
//! them, and by the forwarder that passes them on. Anybody can write headers: nothing here is more than a hint.

use crate::envelope;

/// Where a message that failed came from, and why it failed, as its headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) group: Option<String>,
    pub(super) error: Option<String>,
    pub(super) attempts: u32,
    pub(super) failed_ms: Option<i64>,
}

impl Origin {
    /// `None` unless the place is there and can be one.
    pub(super) fn read<'a>(header: impl Fn(&str) -> Option<&'a [u8]>) -> Option<Self> {
        let number = |name: &str| header(name).and_then(envelope::parse_decimal);
        let text = |name: &str| header(name).map(|value| String::from_utf8_lossy(value).into_owned());
        Some(Self {
            topic: text(envelope::ORIGIN_TOPIC).filter(|topic| super::validate::topic(topic).is_ok())?,
            partition: number(envelope::ORIGIN_PARTITION).and_then(|n| i32::try_from(n).ok())?,
            offset: number(envelope::ORIGIN_OFFSET)?,
            timestamp: number(envelope::ORIGIN_TIMESTAMP).unwrap_or(-1),
            group: text(envelope::FAILED_GROUP),
            error: text(envelope::FAILED_ERROR),
            attempts: number(envelope::FAILED_ATTEMPTS).and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1),
            failed_ms: number(envelope::FAILED_AT),
        })
    }

    /// The topic it was sent to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its partition there.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Its offset there.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Its timestamp there, in ms since 1970; −1 if it had none.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The group whose handler failed, by Kafka's name.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Why the last attempt failed; at most 1,024 bytes.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How often it had been given to a handler when it failed, at least 1.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When the last attempt had failed, in ms since 1970.
    pub fn failed_ms(&self) -> Option<i64> {
        self.failed_ms
    }
}
