//! CreatePartitions (37): more partitions for topics.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api CreatePartitions = 37, versions 0..=3, flexible 2;

    request CreatePartitionsRequest {
        topics: Vec<TopicPartitions>,
        timeout_ms: i32,
        validate_only: bool,
    }
    struct TopicPartitions {
        name: StrBytes,
        /// The new total, not the increase.
        count: i32,
        /// `None`: the broker chooses.
        assignments: Option<Vec<Assignment>> = Some(Vec::new()),
    }
    struct Assignment {
        broker_ids: Vec<i32>,
    }

    response CreatePartitionsResponse {
        throttle_time_ms: i32,
        results: Vec<TopicResult>,
    }
    struct TopicResult {
        name: StrBytes,
        error_code: ErrorCode,
        error_message: Option<StrBytes>,
    }
}
