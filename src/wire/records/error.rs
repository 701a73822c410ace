//! Why a record batch cannot be read or written.

use crate::error::{Error, ErrorKind};

/// Why a record batch cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordsError {
    /// The checksum does not match the bytes.
    #[error("the CRC-32C of the batch is {actual:#010x}, its header says {expected:#010x}")]
    BadCrc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// Decompressed, the batch is larger than allowed.
    #[error("the batch is larger than {limit} bytes when decompressed")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Not magic 2: a batch of a Kafka before 0.11, or garbage.
    #[error("the batch has magic {0}, only magic 2 (Kafka 0.11 and later) can be read")]
    UnknownMagic(i8),
    /// Compressed by a codec that this build does not contain, or that does not exist.
    #[error("the batch is compressed by {}", codec_name(*.0))]
    UnknownCodec(u8),
    /// The bytes break the format.
    #[error("the batch is malformed: {field}")]
    Malformed {
        /// Which field is wrong.
        field: &'static str,
    },
}

impl RecordsError {
    pub(super) fn malformed(field: &'static str) -> Self {
        Self::Malformed { field }
    }
}

impl From<RecordsError> for Error {
    fn from(error: RecordsError) -> Self {
        Error::new(ErrorKind::CorruptBatch, error.to_string())
    }
}

fn codec_name(codec: u8) -> &'static str {
    match codec {
        1 => "gzip (codec 1): build dispatcher with its feature `gzip`",
        2 => "snappy (codec 2): build dispatcher with its feature `snappy`",
        3 => "lz4 (codec 3): build dispatcher with its feature `lz4`",
        4 => "zstd (codec 4): build dispatcher with its feature `zstd`",
        5 => "codec 5, which Kafka does not know",
        6 => "codec 6, which Kafka does not know",
        _ => "codec 7, which Kafka does not know",
    }
}
