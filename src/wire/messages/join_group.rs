//! JoinGroup (11): a member asks the coordinator into a classic group. KIP-62, KIP-345 (static members), KIP-394 (v4:
//! the first answer may be MEMBER_ID_REQUIRED), KIP-814 (v9: a returning static leader may skip the assignment).

use bytes::Bytes;

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api JoinGroup = 11, versions 0..=9, flexible 6;

    request JoinGroupRequest {
        group_id: StrBytes,
        session_timeout_ms: i32,
        /// How long the coordinator waits for members to come back in a rebalance.
        rebalance_timeout_ms: i32 [1.., ignorable] = -1,
        member_id: StrBytes,
        /// Set by static members.
        group_instance_id: Option<StrBytes> [5..],
        protocol_type: StrBytes,
        /// In order of preference.
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
        /// Only the leader gets them.
        members: Vec<Member>,
    }
    struct Member {
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> [5.., ignorable],
        metadata: Bytes,
    }
}
