//! InitProducerId (22): a producer id and epoch for idempotent or transactional producing. KIP-98, KIP-360 (v3: bump
//! the epoch). v6 is unstable in 4.2 and left out.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api InitProducerId = 22, versions 0..=5, flexible 2;

    request InitProducerIdRequest {
        /// `None`: idempotent only.
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
