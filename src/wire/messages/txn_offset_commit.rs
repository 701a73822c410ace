//! TxnOffsetCommit (28): a group's offsets that count once the transaction is committed. KIP-447 (v3: the member and
//! its generation).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api TxnOffsetCommit = 28, versions 0..=5, flexible 3;

    request TxnOffsetCommitRequest {
        transactional_id: StrBytes,
        group_id: StrBytes,
        producer_id: i64,
        producer_epoch: i16,
        /// −1: without membership.
        generation_id: i32 [3..] = -1,
        member_id: StrBytes [3..],
        group_instance_id: Option<StrBytes> [3..],
        topics: Vec<RequestTopic>,
    }
    struct RequestTopic {
        name: StrBytes,
        partitions: Vec<RequestPartition>,
    }
    struct RequestPartition {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [2.., ignorable] = -1,
        committed_metadata: Option<StrBytes> = Some(StrBytes::default()),
    }

    response TxnOffsetCommitResponse {
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
