//! The spellings of choices in configuration files, properties and on the command line.

use crate::client::Isolation;
use crate::wire::records::Compression;

/// A codec by Kafka's name for it; the error says what may be used.
pub(crate) fn compression(name: &str) -> Result<Compression, String> {
    match name {
        "none" => Ok(Compression::None),
        #[cfg(feature = "lz4")]
        "lz4" => Ok(Compression::Lz4),
        #[cfg(not(feature = "lz4"))]
        "lz4" => Err("none: this program was built without the feature lz4".into()),
        "gzip" | "snappy" | "zstd" => Err(format!("none or lz4: {name} is not supported yet")),
        _ => Err("none or lz4".into()),
    }
}

/// Kafka's name of a codec.
pub(crate) fn of_compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        #[cfg(feature = "lz4")]
        Compression::Lz4 => "lz4",
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
