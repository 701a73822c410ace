//! Options of `bench`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args_send::{CompressionArg, EnvelopeArg};
use super::args_subscribe::OrderArg;
use super::units::{duration, range};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// Send as fast as the cluster acknowledges.
    Produce,
    /// Read a topic from its beginning as one member of a new group.
    Consume,
    /// Send at a rate and measure the time to the handler.
    Latency,
    /// Handle messages that take a while, concurrently, until all are committed.
    Dispatch,
    /// Send, and wait for the receipt of a handler in this process.
    Receipts,
}

impl Workload {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Latency => "latency",
            Self::Dispatch => "dispatch",
            Self::Receipts => "receipts",
        }
    }

    /// Whether each message is sent when the one before it has come, or at its time.
    pub(super) fn waits_for_each(self) -> bool {
        matches!(self, Self::Latency | Self::Receipts)
    }
}

#[derive(Debug, Clone, Args)]
pub(super) struct BenchArgs {
    /// What to measure.
    #[arg(value_enum)]
    pub(super) workload: Workload,
    /// Use this topic and keep it; without it one is made and removed.
    #[arg(long, value_name = "T")]
    pub(super) topic: Option<String>,
    /// Messages. [default: 1,000,000; latency, dispatch and receipts 10,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) messages: Option<u64>,
    /// Bytes a message.
    #[arg(long, value_name = "B", default_value_t = 100)]
    pub(super) size: usize,
    /// Messages a second. [default: unlimited; latency 1,000]
    #[arg(long, value_name = "R")]
    pub(super) rate: Option<f64>,
    /// How long a batch waits for company. [default: 0]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) linger: Option<Duration>,
    /// Largest batch, in bytes. [default: 1,000,000]
    #[arg(long, value_name = "B")]
    pub(super) batch: Option<usize>,
    /// Whether the broker sorts out duplicates. [default: true]
    #[arg(long, value_name = "BOOL")]
    pub(super) idempotent: Option<bool>,
    /// Compression of batches. [default: none]
    #[arg(long, value_enum, value_name = "C")]
    pub(super) compression: Option<CompressionArg>,
    /// How message ids travel; without any, nothing is told beside the payload. Receipts have headers.
    #[arg(long, value_enum, default_value_t = EnvelopeArg::Raw)]
    pub(super) envelope: EnvelopeArg,
    /// Partitions of the topic that is made. [default: 12; latency and dispatch 1]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(1..))]
    pub(super) partitions: Option<i32>,
    /// Handlers at once. [default: 1; dispatch 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) concurrency: Option<u32>,
    /// Which messages wait for each other. [default: key when concurrency > 1, else partition]
    #[arg(long, value_enum, value_name = "O")]
    pub(super) order: Option<OrderArg>,
    /// Run each handler as a task of its own.
    #[arg(long)]
    pub(super) spawn_each: bool,
    /// How often offsets are committed. [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) commit_interval: Option<Duration>,
    /// Bytes of fetched messages that wait for their handlers, at most. [default: 64 MiB]
    #[arg(long, value_name = "B")]
    pub(super) fetch_memory: Option<usize>,
    /// Distinct keys of the messages sent; none by default.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) keys: Option<u64>,
    /// How long a handler takes, uniformly from this range.
    #[arg(long, value_name = "A-B", value_parser = range, default_value = "0-5ms")]
    pub(super) work: (Duration, Duration),
    /// Unacknowledged messages at once. [default: 100,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) window: Option<u64>,
}
