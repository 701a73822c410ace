//! Codecs of record batches. Each is behind a cargo feature; a batch of one that is not compiled in is an
//! [`RecordsError::UnknownCodec`], never garbage. Decompression stops at a cap: its ratio is in the sender's hands.

#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "lz4")]
mod xxh32;

use bytes::Bytes;

use super::RecordsError;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all. The default.
    #[default]
    None,
    /// LZ4 frames: little CPU, the choice of the Go dispatcher.
    #[cfg(feature = "lz4")]
    Lz4,
}

impl Compression {
    pub(crate) fn codec(self) -> u8 {
        match self {
            Self::None => 0,
            #[cfg(feature = "lz4")]
            Self::Lz4 => 3,
        }
    }

    pub(super) fn from_codec(codec: u8) -> Result<Self, RecordsError> {
        match codec {
            0 => Ok(Self::None),
            #[cfg(feature = "lz4")]
            3 => Ok(Self::Lz4),
            other => Err(RecordsError::UnknownCodec(other)),
        }
    }
}

pub(super) fn compress(compression: Compression, data: &Bytes) -> Result<Bytes, RecordsError> {
    match compression {
        Compression::None => Ok(data.clone()),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::compress(data).map(Bytes::from),
    }
}

/// Decompresses at most `limit` bytes; more is an error.
pub(super) fn decompress(codec: u8, data: &Bytes, limit: usize) -> Result<Bytes, RecordsError> {
    #[cfg(not(feature = "lz4"))]
    let _ = limit;
    match Compression::from_codec(codec)? {
        Compression::None => Ok(data.clone()),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::decompress(data, limit).map(Bytes::from),
    }
}
