//! FindCoordinator (10): the broker that coordinates a group or a transactional id. KIP-699 (v4: several at once).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api FindCoordinator = 10, versions 0..=6, flexible 3;

    request FindCoordinatorRequest {
        key: StrBytes [..=3],
        /// 0: group, 1: transaction.
        key_type: i8 [1..],
        coordinator_keys: Vec<StrBytes> [4..],
    }

    response FindCoordinatorResponse {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: ErrorCode [..=3],
        error_message: Option<StrBytes> [1..=3, ignorable] = Some(StrBytes::default()),
        node_id: i32 [..=3],
        host: StrBytes [..=3],
        port: i32 [..=3],
        coordinators: Vec<Coordinator> [4..],
    }
    struct Coordinator {
        key: StrBytes,
        node_id: i32,
        host: StrBytes,
        port: i32,
        error_code: ErrorCode,
        error_message: Option<StrBytes> = Some(StrBytes::default()),
    }
}
