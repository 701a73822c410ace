//! The command line. Options of all commands are here; each command's own are beside it in `args_*`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::args_bench::BenchArgs;
use super::args_embedded::EmbeddedArgs;
use super::args_monitor::MonitorArgs;
use super::args_send::SendArgs;
use super::args_subscribe::SubscribeArgs;
use super::units::duration;

/// Sends, receives and administers messages through Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "dispatcher", version, propagate_version = true, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) all: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of all commands, accepted before or after the command.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// Some brokers of the cluster: host:port,…
    #[arg(short, long, env = "KAFKA_BROKERS", global = true, value_delimiter = ',', value_name = "HOST:PORT,…")]
    pub(super) brokers: Vec<String>,
    /// A file of Kafka client properties.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) command_config: Option<PathBuf>,
    /// Start a cluster of 3 brokers inside this process and use it; it ends with the command.
    #[arg(long, global = true)]
    pub(super) embedded: bool,
    /// Write the library's log to stderr.
    #[arg(long, global = true, value_enum)]
    pub(super) log: Option<LogLevel>,
    /// Which Kafka client does the work.
    #[arg(long, global = true, value_enum, default_value_t = Backend::Native)]
    pub(super) backend: Backend,
    /// Limit for connecting and for admin calls.
    #[arg(long, global = true, value_parser = duration, default_value = "15s")]
    pub(super) timeout: Duration,
    /// One JSON object a line on stdout.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Backend {
    Native,
    Rskafka,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send the lines of stdin, or a file, as messages.
    Send(SendArgs),
    /// Receive messages as a member of a consumer group.
    Subscribe(SubscribeArgs),
    /// Show how far a consumer group has got with a topic.
    Status(StatusArgs),
    /// List, describe, create and delete topics.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// List, describe, delete and reset consumer groups.
    #[command(subcommand)]
    Groups(GroupsCommand),
    /// Measure.
    Bench(BenchArgs),
    /// Run brokers inside this process for other programs to use, until a signal ends it.
    Embedded(EmbeddedArgs),
    /// Serve how far all groups have got, until a signal ends it: a page (/), JSON (/api/groups, /api/groups/GROUP),
    /// Prometheus metrics (/metrics), and the lags that the Go dispatcher asks for (/monitor/kafka/lags).
    Monitor(MonitorArgs),
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The topic.
    pub(super) topic: String,
    /// The group; the Kafka group is GROUP:TOPIC.
    pub(super) group: Option<String>,
    /// The Kafka group, exactly as named.
    #[arg(long, value_name = "GROUP", conflicts_with = "group")]
    pub(super) group_exact: Option<String>,
}

/// What new topics are made with.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct NewTopicArgs {
    /// Partitions of a new topic. [default: 10]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..), value_name = "N")]
    pub(super) partitions: Option<i32>,
    /// Replicas of a new topic. [default: 3]
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..), value_name = "N")]
    pub(super) replicas: Option<i16>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TopicsCommand {
    /// List all topics.
    List,
    /// Show one topic, or all.
    Describe {
        /// The topic.
        name: Option<String>,
    },
    /// Make topics.
    Create {
        /// The topics.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        new: NewTopicArgs,
        /// A topic setting, such as retention.ms=60000; may come several times.
        #[arg(long, value_name = "K=V", value_parser = pair)]
        config: Vec<(String, String)>,
    },
    /// Delete topics and all their messages.
    Delete {
        /// The topics.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupsCommand {
    /// List all groups, as Kafka names them.
    List,
    /// Show a group's members and how far it has got.
    Describe {
        /// The group, as Kafka names it.
        group: String,
    },
    /// Delete a group without members.
    Delete {
        /// The group, as Kafka names it.
        group: String,
    },
    /// Set a group's offsets; it must have no members.
    Reset {
        /// The group, as Kafka names it.
        group: String,
        /// The topic.
        topic: String,
        /// oldest, newest, an offset, or an RFC 3339 time.
        #[arg(long, value_name = "WHERE")]
        to: String,
    },
}

/// `k=v`, at the first `=`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form name=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_options_stand_before_or_after_the_command() {
        for line in ["dispatcher -b a:1,b:2 --json status t g", "dispatcher status t g --json --brokers a:1,b:2"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((cli.all.brokers, cli.all.json), (vec!["a:1".into(), "b:2".into()], true));
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "send",
            "send t --key a --key-delimiter b",
            "send t --null",
            "send t --null --key k --file f",
            "send t --partition -1",
            "send t --header novalue",
            "send t --envelope xml",
            "subscribe t",
            "subscribe t --group a --group-exact b",
            "subscribe t --group a --count 0",
            "subscribe t --group a --concurrency 0",
            "subscribe t --group a --order sometimes",
            "status t g --group-exact h",
            "groups reset g t",
            "topics create",
            "bench fly",
            "embedded --topic orders",
            "embedded --topic orders:0",
            "embedded --kafka-version 1.0",
            "monitor --interval 10ms",
            "monitor --base lags",
        ] {
            let words = std::iter::once("dispatcher").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
