//! ListOffsets (2): the offset at a point of time, or of an end of the log.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api ListOffsets = 2, versions 1..=11, flexible 6;

    request ListOffsetsRequest {
        /// −1: a consumer; the default is 0, so set it.
        replica_id: i32,
        /// 1 makes "latest" the last stable offset.
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
        /// Milliseconds, or −1 latest, −2 earliest, −3 with the largest timestamp (v7), −4 earliest local (v8), −5
        /// latest tiered (v9), −6 earliest not yet uploaded (v11).
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
        /// −1: no record is that young.
        offset: i64 = -1,
        leader_epoch: i32 [4..] = -1,
    }
}
