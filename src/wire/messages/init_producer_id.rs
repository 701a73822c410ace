//! InitProducerId

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api InitProducerId = 22, versions 0..=5, flexible 2;

    request InitProducerIdRequest {
        transactional_id: Option<StrBytes> = Some(StrBytes::default()),
        transaction_timeout_ms: i32,
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }

    response InitProducerIdResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        producer_id: i64 = -1,
        producer_epoch: i16,
    }
}
