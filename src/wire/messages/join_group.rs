//! JoinGroup

use bytes::Bytes;

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api JoinGroup = 11, versions 0..=9, flexible 6;

    request JoinGroupRequest {
        group_id: StrBytes,
        session_timeout_ms: i32,
        rebalance_timeout_ms: i32 [1.., ignorable] = -1,
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> [5..],
        protocol_type: StrBytes,
        protocols: Vec<Protocol>,
        reason: Option<StrBytes> [8.., ignorable],
    }
    struct Protocol {
        name: StrBytes,
        metadata: Bytes,
    }

    response JoinGroupResponse {
        throttle_time_ms: i32 [2.., ignorable],
        error_code: ErrorCode,
        generation_id: i32 = -1,
        protocol_type: Option<StrBytes> [7.., ignorable],
        protocol_name: Option<StrBytes> [null 7..] = Some(StrBytes::default()),
        leader: StrBytes,
        skip_assignment: bool [9..],
        member_id: StrBytes,
        members: Vec<Member>,
    }
    struct Member {
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> [5.., ignorable],
        metadata: Bytes,
    }
}
