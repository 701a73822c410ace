//! DeleteGroups (42): groups without members, with what they have committed.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api DeleteGroups = 42, versions 0..=2, flexible 2;

    request DeleteGroupsRequest {
        groups_names: Vec<StrBytes>,
    }

    response DeleteGroupsResponse {
        throttle_time_ms: i32,
        results: Vec<DeletedGroup>,
    }
    struct DeletedGroup {
        group_id: StrBytes,
        error_code: ErrorCode,
    }
}
