//! Heartbeat (12): a member of a classic group says that it lives, and learns of rebalances.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api Heartbeat = 12, versions 0..=4, flexible 4;

    request HeartbeatRequest {
        group_id: StrBytes,
        generation_id: i32,
        member_id: StrBytes,
        group_instance_id: Option<StrBytes> [3..],
    }

    response HeartbeatResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: ErrorCode,
    }
}
