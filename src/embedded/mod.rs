//! A Kafka broker inside the process, for tests.
#![allow(dead_code, unused_imports, reason = "its parts come one by one")]

mod api;
mod refuse;
mod versions;

pub use self::{api::Api, versions::KafkaVersion};
pub use crate::wire::ErrorCode;
