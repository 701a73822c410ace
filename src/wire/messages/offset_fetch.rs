//! OffsetFetch (9): what a group has committed. KIP-447 (v7: `require_stable`), KIP-709 (v8: several groups), v10:
//! topics by id.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes, Uuid};

message! {
    api OffsetFetch = 9, versions 1..=10, flexible 6;

    request OffsetFetchRequest {
        group_id: StrBytes [..=7],
        /// `None`: all of the group.
        topics: Option<Vec<RequestTopic>> [..=7, null 2..] = Some(Vec::new()),
        groups: Vec<RequestGroup> [8..],
        /// Answer UNSTABLE_OFFSET_COMMIT while a transaction holds commits of the partition.
        require_stable: bool [7..],
    }
    struct RequestTopic {
        name: StrBytes,
        partition_indexes: Vec<i32>,
    }
    struct RequestGroup {
        group_id: StrBytes,
        member_id: Option<StrBytes> [9.., ignorable],
        member_epoch: i32 [9.., ignorable] = -1,
        /// `None`: all of the group.
        topics: Option<Vec<RequestGroupTopic>> = Some(Vec::new()),
    }
    struct RequestGroupTopic {
        name: StrBytes [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partition_indexes: Vec<i32>,
    }

    response OffsetFetchResponse {
        throttle_time_ms: i32 [3.., ignorable],
        topics: Vec<ResponseTopic> [..=7],
        error_code: ErrorCode [2..=7, ignorable],
        groups: Vec<ResponseGroup> [8..],
    }
    struct ResponseTopic {
        name: StrBytes,
        partitions: Vec<ResponsePartition>,
    }
    struct ResponseGroup {
        group_id: StrBytes,
        topics: Vec<ResponseGroupTopic>,
        error_code: ErrorCode,
    }
    struct ResponsePartition {
        partition_index: i32,
        /// −1: nothing committed.
        committed_offset: i64,
        committed_leader_epoch: i32 [5.., ignorable] = -1,
        metadata: Option<StrBytes> = Some(StrBytes::default()),
        error_code: ErrorCode,
    }
    struct ResponseGroupTopic {
        name: StrBytes [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: Vec<ResponseGroupPartition>,
    }
    struct ResponseGroupPartition {
        partition_index: i32,
        /// −1: nothing committed.
        committed_offset: i64,
        committed_leader_epoch: i32 = -1,
        metadata: Option<StrBytes> = Some(StrBytes::default()),
        error_code: ErrorCode,
    }
}
