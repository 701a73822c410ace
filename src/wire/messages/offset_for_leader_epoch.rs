//! OffsetForLeaderEpoch (23): where an epoch ended, to find out whether a log was truncated. KIP-320.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api OffsetForLeaderEpoch = 23, versions 2..=4, flexible 4;

    request OffsetForLeaderEpochRequest {
        /// −1: a consumer; the default −2 is a debug client.
        replica_id: i32 [3.., ignorable] = -2,
        topics: Vec<RequestTopic>,
    }
    struct RequestTopic {
        topic: StrBytes,
        partitions: Vec<RequestPartition>,
    }
    struct RequestPartition {
        partition: i32,
        current_leader_epoch: i32 = -1,
        leader_epoch: i32,
    }

    response OffsetForLeaderEpochResponse {
        throttle_time_ms: i32,
        topics: Vec<ResponseTopic>,
    }
    struct ResponseTopic {
        topic: StrBytes,
        partitions: Vec<EpochEndOffset>,
    }
    struct EpochEndOffset {
        error_code: ErrorCode,
        partition: i32,
        leader_epoch: i32 = -1,
        end_offset: i64 = -1,
    }
}
