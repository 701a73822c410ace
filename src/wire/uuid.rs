//! Kafka's `uuid` type.

use std::fmt;

/// A 128-bit id of Kafka's, such as a topic's (KIP-516); all zero means unknown or unsupported by the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// No id known.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether there is no id.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// Kafka's own form: URL-safe base64 without padding.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::engine::{Engine, general_purpose::URL_SAFE_NO_PAD};
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
