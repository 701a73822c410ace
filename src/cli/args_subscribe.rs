//! Options of `subscribe`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

use super::args::NewTopicArgs;
use super::units::duration;
use crate::StartAt;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("membership").required(true).args(["group", "group_exact"]))]
pub(super) struct SubscribeArgs {
    /// The topic.
    pub(super) topic: String,
    /// The group; the Kafka group is GROUP:TOPIC.
    #[arg(long)]
    pub(super) group: Option<String>,
    /// The Kafka group, exactly as named.
    #[arg(long, value_name = "GROUP")]
    pub(super) group_exact: Option<String>,
    /// End after so many messages, failed ones counted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// End when all that was there at the start is handled.
    #[arg(long)]
    pub(super) until_end: bool,
    /// Messages in handling at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) concurrency: u32,
    /// Which messages wait for each other. [default: key when concurrency > 1, else partition]
    #[arg(long, value_enum)]
    pub(super) order: Option<OrderArg>,
    /// Begin at the end where the group has committed nothing; the same as --start-at newest.
    #[arg(long)]
    pub(super) skip_existing: bool,
    /// Where to begin where the group has committed nothing: oldest, newest, a time like 2026-01-31T08:00:00Z, or how
    /// long ago, like 90m. [default: oldest]
    #[arg(long, value_name = "WHERE", value_parser = start_at, conflicts_with = "skip_existing")]
    pub(super) start_at: Option<StartAt>,
    /// What to do with a failed message: skip, hold, stop, retry:N, dlq:TOPIC.
    #[arg(long, default_value = "skip", value_parser = failure)]
    pub(super) on_failure: FailureArg,
    /// What to do with a batch that cannot be read.
    #[arg(long, value_enum, default_value_t = BadBatchArg::Stop)]
    pub(super) on_bad_batch: BadBatchArg,
    /// Which records of transactions are seen. [default: read_committed]
    #[arg(long, value_enum)]
    pub(super) isolation: Option<IsolationArg>,
    /// The group's protocol.
    #[arg(long, value_enum, default_value_t = ProtocolArg::Classic)]
    pub(super) protocol: ProtocolArg,
    /// How partitions are dealt out; may come several times. [default: range, then
    /// cooperative-sticky]
    #[arg(long, value_enum)]
    pub(super) assignor: Vec<AssignorArg>,
    /// Makes this a static member, which keeps its partitions over a restart.
    #[arg(long, value_name = "ID")]
    pub(super) instance_id: Option<String>,
    /// Silence after which this member is taken for dead. [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) session_timeout: Option<Duration>,
    /// How often progress is committed.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub(super) commit_interval: Duration,
    /// When a handler is ended and its message counts as failed. [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) handler_timeout: Option<Duration>,
    /// Make the topic if it does not exist.
    #[arg(long)]
    pub(super) create: bool,
    #[command(flatten)]
    pub(super) new: NewTopicArgs,
    /// A program to run for each message, which it gets on stdin.
    #[arg(last = true, value_name = "PROG ARGS")]
    pub(super) program: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OrderArg {
    None,
    Key,
    Partition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BadBatchArg {
    Stop,
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum IsolationArg {
    ReadCommitted,
    ReadUncommitted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProtocolArg {
    Classic,
    Consumer,
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AssignorArg {
    Range,
    #[value(name = "roundrobin")]
    RoundRobin,
    Sticky,
    CooperativeSticky,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FailureArg {
    Skip,
    Hold,
    Stop,
    /// `retry:N`: so many more attempts in place.
    Retry(u32),
    /// `dlq:TOPIC`: where dead letters go.
    DeadLetter(String),
}

fn start_at(text: &str) -> Result<StartAt, String> {
    match text {
        "oldest" => return Ok(StartAt::Oldest),
        "newest" => return Ok(StartAt::Newest),
        _ => {}
    }
    if let Ok(ago) = duration(text) {
        return Ok(StartAt::Ago(ago));
    }
    match crate::envelope::GoTime::parse(text.as_bytes()).and_then(crate::envelope::GoTime::unix_ms) {
        Some(ms) if ms >= 0 => Ok(StartAt::TimestampMs(ms)),
        _ => Err("use oldest, newest, a time like 2026-01-31T08:00:00Z, or how long ago, like 90m".into()),
    }
}

fn failure(text: &str) -> Result<FailureArg, String> {
    match text.split_once(':') {
        None if text == "skip" => Ok(FailureArg::Skip),
        None if text == "hold" => Ok(FailureArg::Hold),
        None if text == "stop" => Ok(FailureArg::Stop),
        Some(("retry", n)) if n.parse::<u32>().is_ok_and(|n| n > 0) => Ok(FailureArg::Retry(n.parse().unwrap_or(1))),
        Some(("dlq", topic)) if !topic.is_empty() => Ok(FailureArg::DeadLetter(topic.to_owned())),
        _ => Err("use skip, hold, stop, retry:N or dlq:TOPIC".into()),
    }
}
