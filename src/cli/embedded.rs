//! The cluster in this process: for one command (`--embedded`), or for other programs (`embedded`).

use serde::Serialize;

use super::args::Common;
use super::args_embedded::EmbeddedArgs;
use super::exit::{Exit, Outcome};
use super::output::print_row;
use super::signals::Stop;
use crate::ErrorKind;
use crate::embedded::{EmbeddedBuilder, EmbeddedCluster};

/// As many as new topics have replicas, so that the defaults work.
const BROKERS: usize = 3;

#[derive(Serialize)]
struct Row<'a> {
    v: u8,
    brokers: &'a [String],
}

/// `--embedded`: the command's cluster, which its options name from now on.
pub(super) async fn start(all: &mut Common) -> Outcome<EmbeddedCluster> {
    let cluster = started(EmbeddedCluster::builder().brokers(BROKERS)).await?;
    all.brokers = cluster.brokers();
    Ok(cluster)
}

/// `embedded`: serves until the first signal.
pub(super) async fn run(all: &Common, args: EmbeddedArgs) -> Outcome {
    let stop = Stop::listen();
    let mut builder = EmbeddedCluster::builder()
        .brokers(count(&args.count)?)
        .listen(args.listen)
        .auto_create_topics(args.auto_create_topics)
        .kafka_version(args.kafka_version.unwrap_or_default());
    for (name, partitions) in args.topics {
        builder = builder.topic(name, partitions);
    }
    if let Some(dir) = args.data {
        builder = builder.data_dir(dir);
    }
    let cluster = started(builder).await?;
    let brokers = cluster.brokers();
    print_row(all.json, &Row { v: 1, brokers: &brokers }, || brokers.join(","))?;
    stop.raised().await;
    Ok(())
}

/// What is wrong with the settings themselves is a usage error; a port or a directory that cannot be had is not.
async fn started(builder: EmbeddedBuilder) -> Outcome<EmbeddedCluster> {
    builder.start().await.map_err(|e| match e.kind() {
        ErrorKind::InvalidConfig if std::error::Error::source(&e).is_none() => Exit::usage(e.to_string()),
        _ => e.into(),
    })
}

fn count(given: &[String]) -> Outcome<usize> {
    match given {
        [] => Ok(1),
        [n] if n.parse::<usize>().is_ok_and(|n| (1..=100).contains(&n)) => Ok(n.parse().unwrap_or(1)),
        other => Err(Exit::usage(format!("--brokers {}: use a number from 1 to 100", other.join(",")))),
    }
}
