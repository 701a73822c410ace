//! Dispatches work and delivers messages through Apache Kafka, in pure Rust.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod client;
mod dispatcher;
mod env;
mod envelope;
mod error;
mod group;
mod net;
mod partitioner;
mod wire;
mod worker;

pub use client::Isolation;
pub use dispatcher::{Config, PartitionerKind, TopicDefaults};
pub use envelope::Envelope;
pub use error::{Error, ErrorKind, Result};
pub use wire::records::Compression;

/// Entry points to the decoders for `fuzz/`. No part of the API.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::wire::fuzzing::{consumer_protocol, headers, record_batches, requests, responses};
}
