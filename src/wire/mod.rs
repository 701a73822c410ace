//! Kafka's protocol as data: bytes in, values out. No I/O, no clock, no tokio.
//! Uses no other room but `error`.

pub(crate) mod buffers;
mod error;
mod error_code;
mod field;
pub(crate) mod frames;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(unreachable_pub, reason = "public with the feature `fuzzing`")]
pub(crate) mod fuzzing;
pub(crate) mod header;
pub(crate) mod message;
#[allow(dead_code, reason = "messages are declared whole, as Kafka has them; no room needs every field")]
pub(crate) mod messages;
pub(crate) mod primitives;
pub(crate) mod records;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod sample;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
mod uuid;

pub(crate) use error::{DecodeError, EncodeError};
#[allow(unreachable_pub, reason = "public with the feature `embedded`")]
pub use error_code::ErrorCode;
pub(crate) use message::{Request, Wire};
pub(crate) use primitives::{Reader, Records, StrBytes, Writer};
pub use uuid::Uuid;
