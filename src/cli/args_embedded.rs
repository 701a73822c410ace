//! Options of `embedded`.

use std::path::PathBuf;

use clap::Args;

use crate::embedded::KafkaVersion;

#[derive(Debug, Clone, Args)]
pub(super) struct EmbeddedArgs {
    /// Where the first broker listens, and what clients are told; the others take the ports behind it. Port 0: any.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub(super) listen: String,
    // Takes the place of the common option of this name, whose type it must have; a value from the environment is the
    // other one's.
    /// How many brokers. [default: 1]
    #[arg(id = "brokers", long, value_name = "N", value_delimiter = ',', num_args = 1)]
    pub(super) count: Vec<String>,
    /// A topic and its number of partitions; may come several times.
    #[arg(long = "topic", value_name = "TOPIC:PARTITIONS", value_parser = topic)]
    pub(super) topics: Vec<(String, i32)>,
    /// Keep topics, messages and committed offsets in this directory. [default: all is gone at the end]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Offer the API versions of this release of Kafka. [default: 4.2]
    #[arg(long, value_name = "VERSION")]
    pub(super) kafka_version: Option<KafkaVersion>,
    /// Make a topic when a client asks about it, with one partition.
    #[arg(long)]
    pub(super) auto_create_topics: bool,
}

fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = text.rsplit_once(':').ok_or("use name:partitions, such as orders:12")?;
    let count = partitions.parse().ok().filter(|n| (1..=10_000).contains(n));
    let count = count.ok_or_else(|| format!("{partitions:?} is not a number of partitions: use 1 to 10,000"))?;
    Ok((name.to_owned(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read() {
        assert_eq!(topic("orders:12"), Ok(("orders".into(), 12)));
        for wrong in ["orders", "orders:", "orders:0", "orders:many", "x:99999999"] {
            assert!(topic(wrong).is_err(), "{wrong}");
        }
    }
}
