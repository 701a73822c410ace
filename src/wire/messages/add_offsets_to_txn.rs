//! AddOffsetsToTxn (25): a transaction is going to commit offsets of this group.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api AddOffsetsToTxn = 25, versions 0..=4, flexible 3;

    request AddOffsetsToTxnRequest {
        transactional_id: StrBytes,
        producer_id: i64,
        producer_epoch: i16,
        group_id: StrBytes,
    }

    response AddOffsetsToTxnResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
    }
}
