//! SaslHandshake (17): names the SASL mechanism that follows. KIP-43, KIP-152. After v0 the exchange is no longer in
//! Kafka's frames; this client uses v1 only.

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api SaslHandshake = 17, versions 0..=1, flexible i16::MAX;

    request SaslHandshakeRequest {
        mechanism: StrBytes,
    }

    response SaslHandshakeResponse {
        error_code: ErrorCode,
        /// What the listener offers.
        mechanisms: Vec<StrBytes>,
    }
}
