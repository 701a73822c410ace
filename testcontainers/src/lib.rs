//! Real Apache Kafka brokers for tests, benches and examples.
//!
//! [`Kafka::builder`] starts a KRaft cluster of its own: from a running Docker daemon if there is one, else from Apache
//! Kafka's jars, which Maven brings once and Java (17 or newer) runs. [`Builder::shared`] hands out a cluster that all
//! test binaries of one `cargo test` use together, or the one that `KAFKA_BROKERS` names. Everything is blocking and
//! needs no async runtime. Clusters end with their value, after a panic as well, and when the process is killed.
//!
//! ```no_run
//! use dispatcher_testcontainers::Kafka;
//!
//! let Some(kafka) = Kafka::builder().brokers(3).version("4.2.0").start_or_skip() else { return };
//! println!("{}", kafka.bootstrap());
//! kafka.broker(0).kill();
//! kafka.broker(0).restart();
//! ```
//!
//! Environment: `KAFKA_BROKERS` (a cluster for tests without broker control), `DISPATCHER_REQUIRE_KAFKA=1` (no broker is
//! a failure, not a skip), `DISPATCHER_KAFKA_FROM=docker|jars` (no choice by itself), `DISPATCHER_KAFKA_LINGER` (seconds
//! a shared cluster outlives its last user, 30).
// Test support lives in real time.
#![allow(clippy::disallowed_methods)]

mod broker;
mod builder;
pub mod certificates;
mod cluster;
mod docker;
mod jars;
mod keeper;
mod net;
mod security;
mod shared;
mod tools;

pub use broker::Broker;
pub use builder::Builder;
pub use cluster::Kafka;
pub use security::{Listener, MECHANISMS};
pub use shared::SharedKafka;
pub use tools::Tools;

use std::fmt;

/// The Kafka version that is started unless another is asked for.
pub const DEFAULT_VERSION: &str = "4.2.0";

/// Why there is no Kafka.
#[derive(Debug, Clone)]
pub enum Unavailable {
    /// This machine lacks what is needed: tests skip, unless `DISPATCHER_REQUIRE_KAFKA=1`. The text says what to install.
    Missing(String),
    /// What is needed is there, but Kafka did not come up: tests fail. The text holds the end of its log.
    Failed(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(how) => write!(f, "needs Kafka: {how}"),
            Self::Failed(why) => write!(f, "Kafka did not start: {why}"),
        }
    }
}

impl std::error::Error for Unavailable {}

/// The value, or `None` after saying `skipped: needs Kafka: <how> (<test>)` on stderr, where the test harness does not
/// hide it.
///
/// # Panics
/// If Kafka failed to start, or is missing although `DISPATCHER_REQUIRE_KAFKA=1`.
pub fn or_skip<T>(result: Result<T, Unavailable>) -> Option<T> {
    use std::io::Write as _;
    match result {
        Ok(value) => Some(value),
        Err(error @ Unavailable::Failed(_)) => panic!("{error}"),
        Err(error) if std::env::var("DISPATCHER_REQUIRE_KAFKA").is_ok_and(|v| v == "1") => panic!("{error}"),
        Err(error) => {
            // The harness runs each test on a thread of its name, unless it runs them one by one.
            let thread = std::thread::current();
            let test = thread.name().filter(|name| *name != "main").map(|name| format!(" ({name})"));
            let _ = writeln!(std::io::stderr(), "skipped: {error}{}", test.unwrap_or_default());
            None
        }
    }
}
