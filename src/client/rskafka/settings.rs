//! What rskafka's partition clients can be asked for by settings. The rest is refused with the remedy: by whoever chooses
//! the backend before anything is connected, and again where it is made.

use std::collections::BTreeMap;

use ::rskafka::client::partition::Compression;

use crate::client::ClientConfig;
use crate::client::fetch::FetchConfig;
use crate::client::producer::ProducerConfig;
use crate::client::types::Isolation;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::records::{GZIP_LEVEL, Packing};

/// How the batches of each topic are compressed.
pub(crate) struct Codecs {
    all: Compression,
    topics: BTreeMap<String, Compression>,
}

impl Codecs {
    /// As the producer's settings have them.
    pub(crate) fn new(producer: &ProducerConfig) -> Result<Self> {
        let topics = producer.topic_packing.iter().map(|(topic, &packing)| Ok((topic.clone(), codec(packing)?)));
        Ok(Self { all: codec(producer.packing)?, topics: topics.collect::<Result<_>>()? })
    }

    pub(super) fn of(&self, topic: &str) -> Compression {
        self.topics.get(topic).copied().unwrap_or(self.all)
    }
}

/// What rskafka compresses with in pure Rust, at its only level.
fn codec(packing: Packing) -> Result<Compression> {
    match packing.compression.codec() {
        0 => Ok(Compression::NoCompression),
        1 if packing.level == GZIP_LEVEL => Ok(Compression::Gzip),
        1 => Err(refused(format!(
            "the rskafka backend compresses with gzip at level {GZIP_LEVEL} only, not {}: leave \
             compression_levels.gzip out, or use the native backend",
            packing.level
        ))),
        2 => Ok(Compression::Snappy),
        other => {
            let name = if other == 3 { "lz4" } else { "zstd" };
            Err(refused(format!(
                "the rskafka backend cannot compress with {name}, for which rskafka needs C: use none, gzip or snappy, \
                 or the native backend"
            )))
        }
    }
}

/// Refuses connections that are not plain, and a cap on what batches become.
pub(crate) fn check(client: &ClientConfig, max_decompressed: usize) -> Result<()> {
    if client.tls.is_some() || client.sasl.is_some() {
        let text = "the rskafka backend has neither TLS nor SASL: use the native backend with this cluster";
        return Err(refused(text.into()));
    }
    if max_decompressed != FetchConfig::default().max_decompressed {
        let text = "the rskafka backend has no cap on what a batch becomes when it is decompressed: leave \
                    max_decompressed_size out, or use the native backend";
        return Err(refused(text.into()));
    }
    Ok(())
}

/// Refuses what rskafka never asks for.
pub(crate) fn check_isolation(isolation: Isolation) -> Result<()> {
    match isolation {
        Isolation::ReadCommitted => Ok(()),
        Isolation::ReadUncommitted => Err(refused(
            "the rskafka backend reads up to the first open transaction, never uncommitted: leave isolation at \
             read_committed, or use the native backend"
                .into(),
        )),
    }
}

fn refused(text: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, text)
}
