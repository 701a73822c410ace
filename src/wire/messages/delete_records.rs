//! DeleteRecords (21): moves the start of a partition's log.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api DeleteRecords = 21, versions 0..=2, flexible 2;

    request DeleteRecordsRequest {
        topics: Vec<RequestTopic>,
        timeout_ms: i32,
    }
    struct RequestTopic {
        name: StrBytes,
        partitions: Vec<RequestPartition>,
    }
    struct RequestPartition {
        partition_index: i32,
        /// The first offset that stays; −1: the high watermark.
        offset: i64,
    }

    response DeleteRecordsResponse {
        throttle_time_ms: i32,
        topics: Vec<ResponseTopic>,
    }
    struct ResponseTopic {
        name: StrBytes,
        partitions: Vec<ResponsePartition>,
    }
    struct ResponsePartition {
        partition_index: i32,
        /// Where the log starts now, on all replicas.
        low_watermark: i64,
        error_code: ErrorCode,
    }
}
