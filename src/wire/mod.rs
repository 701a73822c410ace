//! Kafka's protocol as data: bytes in, values out. No I/O, no clock, no tokio.
//! Uses no other room but `error`.

mod error_code;
pub(crate) mod records;
mod uuid;

pub use error_code::ErrorCode;
pub use uuid::Uuid;
