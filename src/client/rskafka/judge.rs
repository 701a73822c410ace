//! What an error of rskafka means, for those who decide whether to try again. Its own retries are off, so that an
//! error stands for one try; what is behind "all retries failed" is that try's.

use std::error::Error as _;
use std::fmt;

use ::rskafka::client::error::{Error as Theirs, ProtocolError, RequestError};

use crate::error::{Error, ErrorKind};
use crate::wire::ErrorCode;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The broker answered with this; the try had no effect unless the code says so.
    Refused(ErrorCode),
    /// There is no connection. With `sent` the request may have been carried out.
    Lost { sent: bool },
    /// There was an answer that rskafka cannot read.
    Unreadable,
    /// rskafka cannot even ask.
    Impossible,
}

pub(super) fn judge(error: &Theirs) -> Meaning {
    match error {
        Theirs::ServerError { protocol_error, .. } => Meaning::Refused(code(*protocol_error)),
        Theirs::Connection(_) => Meaning::Lost { sent: false },
        Theirs::Request(error) => match error {
            RequestError::NoVersionMatch { .. } | RequestError::WriteError(_) => Meaning::Impossible,
            RequestError::ReadError(_) | RequestError::ReadVersionedError(_) | RequestError::TooMuchData { .. } => {
                Meaning::Unreadable
            }
            // Whether it had been sent when the connection broke is not to be learnt.
            _ => Meaning::Lost { sent: true },
        },
        Theirs::InvalidResponse(_) => Meaning::Unreadable,
        Theirs::RetryFailed(failed) => match failed.source().and_then(|cause| cause.downcast_ref::<Theirs>()) {
            Some(cause) => judge(cause),
            None => Meaning::Lost { sent: true },
        },
        _ => Meaning::Lost { sent: true },
    }
}

/// The error as this library reports it. `context` names the call and its subject.
pub(super) fn error(error: &Theirs, context: impl fmt::Display) -> Error {
    match judge(error) {
        Meaning::Refused(code) => Error::from_code(code, context),
        Meaning::Lost { .. } => Error::new(ErrorKind::Connection, format!("{context}: {}", cause(error))),
        Meaning::Unreadable => {
            Error::new(ErrorKind::Protocol, format!("{context}: rskafka cannot read the answer: {}", cause(error)))
        }
        Meaning::Impossible => {
            let text = format!("{context}: {}: use the native backend with this cluster", cause(error));
            Error::new(ErrorKind::UnsupportedVersion, text)
        }
    }
}

/// The text of the try, without what surrounds it.
fn cause(error: &Theirs) -> String {
    match error {
        Theirs::RetryFailed(failed) => failed.source().map_or_else(|| failed.to_string(), ToString::to_string),
        other => other.to_string(),
    }
}

/// rskafka gives names; the numbers are Kafka's.
fn code(error: ProtocolError) -> ErrorCode {
    if let ProtocolError::Unknown(code) = error {
        return ErrorCode(code);
    }
    let same = |code: &i16| ProtocolError::new(*code) == Some(error);
    (-1..=256).find(same).map_or(ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode)
}

#[cfg(test)]
mod tests {
    use ::rskafka::client::error::RequestContext;

    use super::*;

    fn refused(protocol_error: ProtocolError) -> Theirs {
        let request = RequestContext::Partition("t".into(), 0);
        Theirs::ServerError { protocol_error, error_message: None, request, response: None, is_virtual: false }
    }

    #[test]
    fn a_brokers_error_keeps_its_number() {
        for (theirs, ours) in [
            (ProtocolError::NotLeaderOrFollower, ErrorCode::NOT_LEADER_OR_FOLLOWER),
            (ProtocolError::OffsetOutOfRange, ErrorCode::OFFSET_OUT_OF_RANGE),
            (ProtocolError::MessageTooLarge, ErrorCode::MESSAGE_TOO_LARGE),
            (ProtocolError::UnknownServerError, ErrorCode::UNKNOWN_SERVER_ERROR),
            (ProtocolError::Unknown(4242), ErrorCode(4242)),
        ] {
            assert_eq!(judge(&refused(theirs)), Meaning::Refused(ours));
        }
    }

    #[test]
    fn what_stopped_the_only_try_is_found_behind_the_failed_retries() {
        let source = Box::new(refused(ProtocolError::LeaderNotAvailable));
        let failed = ::rskafka::BackoffError::DeadlineExceded { deadline: Default::default(), source };
        let failed = Theirs::RetryFailed(failed);
        assert_eq!(judge(&failed), Meaning::Refused(ErrorCode::LEADER_NOT_AVAILABLE));
        assert!(error(&failed, "Produce to t-0").is_retriable());
    }

    #[test]
    fn a_broken_connection_leaves_it_open_whether_the_request_was_carried_out() {
        let broken = RequestError::IO(std::io::Error::other("reset"));
        assert_eq!(judge(&Theirs::Request(broken)), Meaning::Lost { sent: true });
    }
}
