//! DeleteTopics (20): topics and all their records, gone. KIP-516 (v6: by id).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes, Uuid};

message! {
    api DeleteTopics = 20, versions 1..=6, flexible 4;

    request DeleteTopicsRequest {
        /// By name or, with a null name, by id.
        topics: Vec<DeleteTopicState> [6..],
        topic_names: Vec<StrBytes> [..=5, ignorable],
        timeout_ms: i32,
    }
    struct DeleteTopicState {
        name: Option<StrBytes>,
        topic_id: Uuid,
    }

    response DeleteTopicsResponse {
        throttle_time_ms: i32,
        responses: Vec<DeletedTopic>,
    }
    struct DeletedTopic {
        name: Option<StrBytes> [null 6..] = Some(StrBytes::default()),
        topic_id: Uuid [6.., ignorable],
        error_code: ErrorCode,
        error_message: Option<StrBytes> [5.., ignorable],
    }
}
