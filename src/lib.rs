//! Dispatches work and delivers messages through Apache Kafka, in pure Rust.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod client;
mod env;
mod envelope;
mod error;
mod group;
mod wire;

pub use error::{Error, ErrorKind, Result};
