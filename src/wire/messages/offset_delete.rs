//! OffsetDelete (47): forgets what a group has committed for partitions it is not subscribed to (KIP-496).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api OffsetDelete = 47, versions 0..=0, flexible i16::MAX;

    request OffsetDeleteRequest {
        group_id: StrBytes,
        topics: Vec<RequestTopic>,
    }
    struct RequestTopic {
        name: StrBytes,
        partitions: Vec<RequestPartition>,
    }
    struct RequestPartition {
        partition_index: i32,
    }

    response OffsetDeleteResponse {
        error_code: ErrorCode,
        throttle_time_ms: i32,
        topics: Vec<ResponseTopic>,
    }
    struct ResponseTopic {
        name: StrBytes,
        partitions: Vec<ResponsePartition>,
    }
    struct ResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
    }
}
