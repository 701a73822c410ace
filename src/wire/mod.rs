//! Kafka's protocol as data: bytes in, values out. No I/O, no clock, no tokio.
//! Uses no other room but `error`.
// Until the rooms above use all of it.
#![allow(dead_code, unused_imports)]

mod error;
mod error_code;
mod field;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub(crate) mod header;
pub(crate) mod message;
pub(crate) mod messages;
pub(crate) mod primitives;
pub(crate) mod records;
#[cfg(any(test, feature = "fuzzing"))]
mod sample;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
mod uuid;

pub(crate) use error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
pub(crate) use error_code::ErrorCode;
pub(crate) use message::{Request, Wire};
pub(crate) use primitives::{Frame, Reader, Records, StrBytes, Writer};
pub use uuid::Uuid;
