//! SaslAuthenticate (36): one step of a SASL exchange. KIP-152, KIP-368.

use bytes::Bytes;

use crate::wire::message::message;
use crate::wire::{ErrorCode, StrBytes};

message! {
    api SaslAuthenticate = 36, versions 0..=2, flexible 2;

    request SaslAuthenticateRequest {
        /// Holds secrets: never to be printed.
        auth_bytes: Bytes,
    }

    response SaslAuthenticateResponse {
        error_code: ErrorCode,
        error_message: Option<StrBytes> = Some(StrBytes::default()),
        auth_bytes: Bytes,
        /// With the last step: after so long the broker closes a connection that has not authenticated again; 0: never.
        session_lifetime_ms: i64 [1.., ignorable],
    }
}
