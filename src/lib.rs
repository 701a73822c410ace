//! Dispatches work and delivers messages through Apache Kafka, in pure Rust: no librdkafka, no C compiler.
//!
//! Connect, [`send`](Dispatcher::send), [`subscribe`](Dispatcher::subscribe), and ask
//! [how far a group has got](Dispatcher::consume_status):
//!
//! ```no_run
//! use dispatcher::{Dispatcher, Error, Message};
//!
//! # async fn run() -> dispatcher::Result<()> {
//! let dispatcher = Dispatcher::builder(["localhost:9092"]).replicas(1).connect().await?;
//!
//! let report = dispatcher.send("orders", "one espresso").key("table-4").await?;
//! println!("stored at {}-{} {:?}", report.topic(), report.partition(), report.offset());
//!
//! let subscription = dispatcher
//!     .subscribe("orders", async |message: Message| {
//!         println!("{:?}", message.value());
//!         Ok::<(), Error>(())
//!     })
//!     .group("kitchen")
//!     .concurrency(32)
//!     .start()
//!     .await?;
//! // …
//! subscription.stop().await?;
//! dispatcher.close(std::time::Duration::from_secs(10)).await
//! # }
//! ```
//!
//! What is promised: a message whose `send` succeeded is in the log once, on all in-sync replicas; a message is not
//! committed before its handler has finished, whatever the concurrency; order is kept by key, or by partition, as
//! chosen. Every wait has a limit and every buffer a bound; each option's documentation names its default.
//!
//! # Cargo features
//! - `gzip`, `lz4`, `snappy`, `zstd` (default): compression of batches, none of it in C; see [`Compression`].
//! - `monitor-host` (default): [`Builder::monitor_host`], consume status from an HTTP service.
//! - `tls` (default): [`Tls`], connections that are encrypted and checked.
//! - `embedded`: the module [`embedded`], a Kafka cluster inside this process for tests and quick starts.
//! - `metrics`: what is sent, handled and late, through the `metrics` facade; see [`telemetry`].
//! - `rskafka`: `Backend::Rskafka`, another Kafka client behind the same interface.
//! - `logging`: `init_logging`, for programs without a `tracing` subscriber of their own.
//! - `cli`: the command-line tool `dispatcher`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// Whether a mistake is to be made on purpose; see the module `mutants`.
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(feature = "mutants")]
        let is = crate::mutants::is(crate::mutants::Mutant::$name);
        #[cfg(not(feature = "mutants"))]
        let is = false;
        is
    }};
}

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod client;
mod dispatcher;
#[cfg(feature = "embedded")]
pub mod embedded;
mod env;
mod envelope;
mod error;
mod group;
#[cfg(feature = "mutants")]
#[doc(hidden)]
pub mod mutants;
mod net;
mod partitioner;
pub mod telemetry;
mod wire;
mod worker;

/// rustls, in the version in use here: what [`Tls::crypto_provider`] takes is of it.
#[cfg(feature = "tls")]
pub use rustls;

pub use client::fetch::OnBadBatch;
pub use client::{Isolation, TopicId};
pub use dispatcher::{
    And, Backend, Builder, CallbackError, CallbackErrors, CompressionLevels, Config, ConsumeStatus, CreateTopics,
    Delivery, Dispatcher, Errors, Events, Failure, FromMessage, GroupDescription, GroupInfo, GroupMember, Json,
    Message, MonitorLag, Origin, Outcome, PartitionStatus, PartitionerKind, Payload, PendingReceipts, Receipt, ResetTo,
    Resubscribe, Resubscription, Route, Routes, SendForReceipt, SendForReceipts, SendMessage, SendReport, StatusSource,
    Stopped, Subscribe, Subscription, Topic, TopicDefaults, TopicInfo, TopicProgress,
};
#[cfg(feature = "logging")]
pub use dispatcher::{init_logging, init_logging_with_internals};
pub use envelope::Envelope;
pub use error::{Error, ErrorKind, Result};
pub use group::Assignor;
pub use net::Secret;
pub use net::sasl::{OauthToken, Sasl};
pub use net::tls::{Tls, TlsVersion};
pub use partitioner::{Murmur2, Partitioner, SaramaHash};
pub use wire::records::Compression;
pub use worker::{OnFailure, Order, RetryPolicy, StartAt, SubscriptionEvent};

/// Entry points to the decoders for `fuzz/`. No part of the API.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::wire::fuzzing::{
        consumer_protocol, gzip, headers, lz4, record_batches, requests, responses, snappy, zstd,
    };
}

/// The examples in the READMEs and of the page on tuning are tests.
#[cfg(doctest)]
mod readme {
    #[doc = include_str!("../README.md")]
    struct English;

    #[doc = include_str!("../README.zh-TW.md")]
    struct TraditionalChinese;

    #[doc = include_str!("../TUNING.md")]
    struct Tuning;
}
