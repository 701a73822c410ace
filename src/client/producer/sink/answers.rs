//! What each error code of a Produce answer means for its batch.

use crate::client::producer::queue::{Outcome, Retry};
use crate::client::producer::sequencer::Answer;
use crate::error::Error;
use crate::wire::ErrorCode;

/// The outcome for a batch that was answered with `code`. `moved`: a new leader is known.
pub(in crate::client) fn outcome(code: ErrorCode, error: Error, moved: bool) -> Outcome {
    let retry = if moved { Retry::AtOnce } else { Retry::AfterBackoff };
    let answer = match code {
        // The broker has it, but has forgotten where.
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => return Outcome::Written { base_offset: None, log_append_time: None },
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => {
            return Outcome::Refused { answer: Answer::OutOfOrder, error, retry: Retry::AtOnce };
        }
        ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::INVALID_PRODUCER_ID_MAPPING
        | ErrorCode::PRODUCER_FENCED => {
            return Outcome::Refused { answer: Answer::UnknownProducer, error, retry: Retry::AtOnce };
        }
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            return Outcome::Refused { answer: Answer::TooLarge, error, retry: Retry::AtOnce };
        }
        // The leader has it, but could not have it replicated in time.
        ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            Answer::Retry { maybe_written: true }
        }
        ErrorCode::UNKNOWN_SERVER_ERROR => Answer::Failed { maybe_written: true },
        // Before the append, or in a log that is no longer the partition's: for an idempotent producer it makes no
        // difference whether a leader that has just been replaced had appended it, since its log is cut back.
        code if code.is_retriable() => Answer::Retry { maybe_written: is_after_append(code) },
        _ => Answer::Failed { maybe_written: false },
    };
    Outcome::Refused { answer, error, retry }
}

/// A leader that was replaced while the append waited for its followers answers NOT_LEADER_OR_FOLLOWER, and the
/// followers may have it.
fn is_after_append(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::FENCED_LEADER_EPOCH)
}

/// Whether the code says that what is known of the cluster is out of date.
pub(in crate::client) fn is_stale_metadata(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::REPLICA_NOT_AVAILABLE
            | ErrorCode::LISTENER_NOT_FOUND
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: ErrorCode) -> Option<Answer> {
        match outcome(code, Error::from_code(code, "Produce to t-0"), false) {
            Outcome::Written { base_offset, .. } => {
                assert_eq!(base_offset, None);
                None
            }
            Outcome::Refused { answer, .. } => Some(answer),
        }
    }

    #[test]
    fn a_duplicate_is_a_success_whose_offset_is_unknown() {
        assert_eq!(answer(ErrorCode::DUPLICATE_SEQUENCE_NUMBER), None);
    }

    #[test]
    fn only_what_cannot_have_been_appended_is_certainly_not_written() {
        for code in [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::LEADER_NOT_AVAILABLE, ErrorCode::UNKNOWN_TOPIC_ID] {
            assert_eq!(answer(code), Some(Answer::Retry { maybe_written: false }), "{}", code.name());
        }
        for code in [
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ] {
            assert_eq!(answer(code), Some(Answer::Retry { maybe_written: true }), "{}", code.name());
        }
        assert_eq!(answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Some(Answer::Failed { maybe_written: false }));
        assert_eq!(answer(ErrorCode::UNKNOWN_SERVER_ERROR), Some(Answer::Failed { maybe_written: true }));
    }
}
