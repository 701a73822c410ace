//! LeaveGroup (13): members leave at once instead of timing out. KIP-345 (v3: several), KIP-800 (v5: why).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api LeaveGroup = 13, versions 0..=5, flexible 4;

    request LeaveGroupRequest {
        group_id: StrBytes,
        member_id: StrBytes [..=2],
        members: Vec<MemberIdentity> [3..],
    }
    struct MemberIdentity {
        member_id: StrBytes,
        group_instance_id: Option<StrBytes>,
        reason: Option<StrBytes> [5.., ignorable],
    }

    response LeaveGroupResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: ErrorCode,
        members: Vec<MemberResponse> [3..],
    }
    struct MemberResponse {
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> = Some(StrBytes::default()),
        error_code: ErrorCode,
    }
}
