//! Options of `send`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args::{NewTopicArgs, pair};
use super::units::duration;
use crate::Envelope;

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The topic.
    pub(super) topic: String,
    /// The key of all messages.
    #[arg(long, conflicts_with = "key_delimiter", allow_hyphen_values = true)]
    pub(super) key: Option<OsString>,
    /// What stands between key and message in each line; \t is understood.
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    pub(super) key_delimiter: Option<OsString>,
    /// Keep all messages in order: they share one partition.
    #[arg(long)]
    pub(super) ensure_order: bool,
    /// Send to this partition.
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Option<i32>,
    /// The messages' time, in ms since 1970.
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) timestamp: Option<i64>,
    /// A header; may come several times.
    #[arg(long, value_name = "K=V", value_parser = pair, allow_hyphen_values = true)]
    pub(super) header: Vec<(String, String)>,
    /// Send one tombstone for --key; no input is read.
    #[arg(long, requires = "key", conflicts_with = "file")]
    pub(super) null: bool,
    /// How the message id travels.
    #[arg(long, value_enum, default_value_t = EnvelopeArg::Headers)]
    pub(super) envelope: EnvelopeArg,
    /// Compression of batches. [default: none]
    #[arg(long, value_enum)]
    pub(super) compression: Option<CompressionArg>,
    /// Which partition a message goes to.
    #[arg(long, value_enum, default_value_t = PartitionerArg::Default)]
    pub(super) partitioner: PartitionerArg,
    /// Make the topic if it does not exist.
    #[arg(long)]
    pub(super) create: bool,
    #[command(flatten)]
    pub(super) new: NewTopicArgs,
    /// Wait so long for the consumer's receipt.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) receipt: Option<Duration>,
    /// Report consumers' errors, and stay so long for them after the last line.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) watch_errors: Option<Duration>,
    /// Send the whole of this file as one message.
    #[arg(long, value_name = "F")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum EnvelopeArg {
    Headers,
    GoJson,
    Raw,
}

impl From<EnvelopeArg> for Envelope {
    fn from(arg: EnvelopeArg) -> Self {
        match arg {
            EnvelopeArg::Headers => Self::Headers,
            EnvelopeArg::GoJson => Self::GoJson,
            EnvelopeArg::Raw => Self::Raw,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompressionArg {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl CompressionArg {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PartitionerArg {
    Default,
    Sarama,
    Random,
}
