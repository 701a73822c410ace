//! EndTxn (26): commits or aborts a transaction. KIP-890 (v5: the epoch rises with every transaction).

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api EndTxn = 26, versions 0..=5, flexible 3;

    request EndTxnRequest {
        transactional_id: StrBytes,
        producer_id: i64,
        producer_epoch: i16,
        /// False: abort.
        committed: bool,
    }

    response EndTxnResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        /// For the next transaction.
        producer_id: i64 [5.., ignorable] = -1,
        /// For the next transaction.
        producer_epoch: i16 [5.., ignorable] = -1,
    }
}
