//! DescribeGroups (15): members, state and assignment of classic groups.

use bytes::Bytes;

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api DescribeGroups = 15, versions 0..=6, flexible 5;

    request DescribeGroupsRequest {
        groups: Vec<StrBytes>,
        include_authorized_operations: bool [3..],
    }

    response DescribeGroupsResponse {
        throttle_time_ms: i32 [1.., ignorable],
        groups: Vec<DescribedGroup>,
    }
    struct DescribedGroup {
        error_code: ErrorCode,
        error_message: Option<StrBytes> [6..],
        group_id: StrBytes,
        group_state: StrBytes,
        protocol_type: StrBytes,
        protocol_data: StrBytes,
        members: Vec<GroupMember>,
        authorized_operations: i32 [3..] = i32::MIN,
    }
    struct GroupMember {
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> [4.., ignorable],
        client_id: StrBytes,
        client_host: StrBytes,
        member_metadata: Bytes,
        member_assignment: Bytes,
    }
}
