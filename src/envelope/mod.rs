//! What surrounds a payload on the wire: Kafka headers (the default), the Go dispatcher's JSON object, or nothing.
//! The send path encodes with it, messages recognise all three by themselves. Nothing is ever dropped: a value that
//! is no envelope is a raw payload. No I/O, no clock.

mod answer;
mod base64;
mod go;
mod headers;
mod json;
mod time;

use serde::{Deserialize, Serialize};

pub(crate) use answer::{
    Answer, ERROR_SUFFIX, ERRORS_TO, Headers as AnswerHeaders, Place, RECEIPT_TO, REPLY_SUFFIX, Wishes, cut, is_wish,
};
pub(crate) use go::{
    GoMessage, encode as encode_go, recognise as recognise_go, recognise_error as recognise_go_error,
    without_wishes as go_without_wishes,
};
pub(crate) use headers::{
    Decimal, FAILED_AT, FAILED_ATTEMPTS, FAILED_ERROR, FAILED_GROUP, ID_HEADER, MessageId, ORIGIN_OFFSET,
    ORIGIN_PARTITION, ORIGIN_TIMESTAMP, ORIGIN_TOPIC, SENT_HEADER, is_of_failed, is_ours, parse_decimal,
};
pub(crate) use time::GoTime;

/// How a message's id and sent time travel beside its payload. Consumers recognise every form by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Envelope {
    /// The payload as it is, with the id and the sent time in two Kafka headers. The default.
    #[default]
    Headers,
    /// The JSON object of the Go dispatcher, for topics that its consumers read too. Carries no Kafka headers and
    /// grows the payload by a third (base64).
    GoJson,
    /// The payload as it is and nothing else: no id, no sent time.
    Raw,
}
