//! OffsetCommit

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes, Uuid};

message! {
    api OffsetCommit = 8, versions 2..=10, flexible 8;

    request OffsetCommitRequest {
        group_id: StrBytes,
        generation_id_or_member_epoch: i32 = -1,
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> [7..],
        retention_time_ms: i64 [..=4, ignorable] = -1,
        topics: Vec<RequestTopic>,
    }
    struct RequestTopic {
        name: StrBytes [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: Vec<RequestPartition>,
    }
    struct RequestPartition {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [6.., ignorable] = -1,
        committed_metadata: Option<StrBytes> = Some(StrBytes::default()),
    }

    response OffsetCommitResponse {
        throttle_time_ms: i32 [3.., ignorable],
        topics: Vec<ResponseTopic>,
    }
    struct ResponseTopic {
        name: StrBytes [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: Vec<ResponsePartition>,
    }
    struct ResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
    }
}
