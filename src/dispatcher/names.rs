//! The spellings of choices in configuration files, properties and on the command line.

use crate::client::Isolation;
use crate::wire::records::Compression;

/// A codec by Kafka's name for it; the error says what may be used.
pub(crate) fn compression(name: &str) -> Result<Compression, String> {
    if let Some(codec) = Compression::all().find(|&codec| of_compression(codec) == name) {
        return Ok(codec);
    }
    Err(match name {
        "gzip" | "snappy" | "lz4" | "zstd" => {
            format!("another codec, or build dispatcher with its feature {name}, which this program does not have")
        }
        _ => "none, gzip, snappy, lz4 or zstd".into(),
    })
}

/// Kafka's name of a codec.
pub(crate) fn of_compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        #[cfg(feature = "gzip")]
        Compression::Gzip => "gzip",
        #[cfg(feature = "snappy")]
        Compression::Snappy => "snappy",
        #[cfg(feature = "lz4")]
        Compression::Lz4 => "lz4",
        #[cfg(feature = "zstd")]
        Compression::Zstd => "zstd",
    }
}

/// An isolation level by Kafka's name for it.
pub(crate) fn isolation(name: &str) -> Result<Isolation, String> {
    match name {
        "read_committed" => Ok(Isolation::ReadCommitted),
        "read_uncommitted" => Ok(Isolation::ReadUncommitted),
        _ => Err("read_committed or read_uncommitted".into()),
    }
}

/// Kafka's name of an isolation level.
pub(crate) fn of_isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    }
}
