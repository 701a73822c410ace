//! OffsetCommit (8): the next offsets to read, stored for a group. KIP-211 (v5 drops retention), KIP-320 (v6: epochs),
//! KIP-848 (v9: member epochs of the new protocol), v10: topics by id.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes, Uuid};

message! {
    api OffsetCommit = 8, versions 2..=10, flexible 8;

    request OffsetCommitRequest {
        group_id: StrBytes,
        /// −1 for a commit from outside the group.
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
        /// At most the broker's `offset.metadata.max.bytes` (4,096).
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
