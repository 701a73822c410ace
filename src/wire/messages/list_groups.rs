//! ListGroups (16): the groups one broker coordinates; ask every broker. KIP-518 (v4: by state), KIP-848 (v5: by type).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api ListGroups = 16, versions 0..=5, flexible 3;

    request ListGroupsRequest {
        states_filter: Vec<StrBytes> [4..],
        types_filter: Vec<StrBytes> [5..],
    }

    response ListGroupsResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: ErrorCode,
        groups: Vec<ListedGroup>,
    }
    struct ListedGroup {
        group_id: StrBytes,
        protocol_type: StrBytes,
        group_state: StrBytes [4.., ignorable],
        group_type: StrBytes [5.., ignorable],
    }
}
