//! SyncGroup (14): the leader hands in the assignments, every member gets its own.

use bytes::Bytes;

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api SyncGroup = 14, versions 0..=5, flexible 4;

    request SyncGroupRequest {
        group_id: StrBytes,
        generation_id: i32,
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> [3..],
        protocol_type: Option<StrBytes> [5.., ignorable],
        protocol_name: Option<StrBytes> [5.., ignorable],
        /// Empty but from the leader.
        assignments: Vec<Assignment>,
    }
    struct Assignment {
        member_id: StrBytes,
        assignment: Bytes,
    }

    response SyncGroupResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: ErrorCode,
        protocol_type: Option<StrBytes> [5.., ignorable],
        protocol_name: Option<StrBytes> [5.., ignorable],
        assignment: Bytes,
    }
}
