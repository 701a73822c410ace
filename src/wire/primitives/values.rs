//! The two primitives that are more than a Rust type: checked strings and records in chunks, both over shared bytes.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::error::{DecodeError, DecodeFault};

/// A string of the protocol: UTF-8 checked, usually a slice of the frame it came in.
///
/// It keeps that whole frame alive; what is to live longer than the response is copied out by its owner.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StrBytes(Bytes);

impl StrBytes {
    /// The string itself.
    pub(crate) fn as_str(&self) -> &str {
        // Always UTF-8: checked where it was built. Without `unsafe` the check runs again, which is cheap for names.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes, without the check that [`as_str`](Self::as_str) repeats.
    pub(in crate::wire) fn raw(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Bytes> for StrBytes {
    type Error = DecodeError;

    fn try_from(bytes: Bytes) -> Result<Self, DecodeError> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(DecodeError::new(DecodeFault::NotUtf8)),
        }
    }
}

impl Deref for StrBytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for StrBytes {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for StrBytes {
    fn borrow(&self) -> &str {
        self
    }
}

impl Hash for StrBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq<str> for StrBytes {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for StrBytes {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl From<&str> for StrBytes {
    fn from(s: &str) -> Self {
        Self(Bytes::copy_from_slice(s.as_bytes()))
    }
}

impl From<String> for StrBytes {
    fn from(s: String) -> Self {
        Self(Bytes::from(s))
    }
}

impl From<Arc<str>> for StrBytes {
    fn from(s: Arc<str>) -> Self {
        struct Shared(Arc<str>);
        impl AsRef<[u8]> for Shared {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
        Self(Bytes::from_owner(Shared(s)))
    }
}

impl fmt::Debug for StrBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for StrBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// A `records` field: chunks that are written one after another without being copied. Decoding gives at most one.
#[derive(Clone, Default)]
pub(crate) struct Records(pub(crate) Vec<Bytes>);

impl Records {
    /// Bytes in all chunks.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is not one byte.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// All bytes in one piece; copies only if there are several chunks.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match self.0.len() {
            0 => Bytes::new(),
            1 => self.0.swap_remove(0),
            _ => self.0.concat().into(),
        }
    }
}

/// Equal bytes, however they are cut into chunks.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.iter().flatten().eq(other.0.iter().flatten())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Vec::new() } else { vec![bytes] })
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({} bytes)", self.len())
    }
}
