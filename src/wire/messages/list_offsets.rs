//! ListOffsets

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api ListOffsets = 2, versions 1..=11, flexible 6;

    request ListOffsetsRequest {
        replica_id: i32,
        isolation_level: i8 [2..],
        topics: Vec<RequestTopic>,
        timeout_ms: i32 [10.., ignorable],
    }
    struct RequestTopic {
        name: StrBytes,
        partitions: Vec<RequestPartition>,
    }
    struct RequestPartition {
        partition_index: i32,
        current_leader_epoch: i32 [4.., ignorable] = -1,
        timestamp: i64,
    }

    response ListOffsetsResponse {
        throttle_time_ms: i32 [2.., ignorable],
        topics: Vec<ResponseTopic>,
    }
    struct ResponseTopic {
        name: StrBytes,
        partitions: Vec<ResponsePartition>,
    }
    struct ResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
        timestamp: i64 = -1,
        offset: i64 = -1,
        leader_epoch: i32 [4..] = -1,
    }
}
