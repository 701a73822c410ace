//! Codecs of record batches. Each is behind a cargo feature; a batch of one that is not compiled in is an
//! [`RecordsError::UnknownCodec`], never garbage. Decompression stops at a cap: its ratio is in the sender's hands.
//! The encoders keep their memory per thread, so that small batches do not pay for it.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(any(feature = "lz4", feature = "zstd"))]
mod input;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd"))]
mod room;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(test)]
mod tests;
#[cfg(feature = "lz4")]
mod xxh32;
#[cfg(feature = "zstd")]
mod zstd;

use bytes::Bytes;

#[cfg(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd"))]
use self::room::Room;
use super::{Limits, RecordsError};

/// How the records of a batch are compressed.
///
/// All of them are understood by every Kafka client; each is behind a cargo feature of its name, and all four are on by
/// default. How hard gzip and Zstandard try is set by [`CompressionLevels`](crate::CompressionLevels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all. The default.
    #[default]
    None,
    /// gzip: small, and slow to compress; for readers that know nothing better.
    #[cfg(feature = "gzip")]
    Gzip,
    /// Snappy: little CPU for small messages that are alike; for larger ones LZ4 takes less.
    #[cfg(feature = "snappy")]
    Snappy,
    /// LZ4 frames: little CPU, the choice of the Go dispatcher.
    #[cfg(feature = "lz4")]
    Lz4,
    /// Zstandard: as small as gzip, at a fraction of its CPU at level 1. Needs brokers from 2.1 on, as this client does.
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Compression {
    pub(crate) fn codec(self) -> u8 {
        match self {
            Self::None => 0,
            #[cfg(feature = "gzip")]
            Self::Gzip => 1,
            #[cfg(feature = "snappy")]
            Self::Snappy => 2,
            #[cfg(feature = "lz4")]
            Self::Lz4 => 3,
            #[cfg(feature = "zstd")]
            Self::Zstd => 4,
        }
    }

    pub(crate) fn from_codec(codec: u8) -> Result<Self, RecordsError> {
        match codec {
            0 => Ok(Self::None),
            #[cfg(feature = "gzip")]
            1 => Ok(Self::Gzip),
            #[cfg(feature = "snappy")]
            2 => Ok(Self::Snappy),
            #[cfg(feature = "lz4")]
            3 => Ok(Self::Lz4),
            #[cfg(feature = "zstd")]
            4 => Ok(Self::Zstd),
            other => Err(RecordsError::UnknownCodec(other)),
        }
    }

    /// All that are compiled in.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..8).filter_map(|codec| Self::from_codec(codec).ok())
    }
}

/// A codec, and how hard it tries: what a batch is closed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Packing {
    pub(crate) compression: Compression,
    /// In the codec's own numbers, within its range; without a meaning for codecs that have none.
    pub(crate) level: i32,
}

/// The level that gzip has when none is asked for.
pub(crate) const GZIP_LEVEL: i32 = 6;
/// The level that Zstandard has when none is asked for.
pub(crate) const ZSTD_LEVEL: i32 = 3;

impl From<Compression> for Packing {
    fn from(compression: Compression) -> Self {
        let level = match compression {
            #[cfg(feature = "gzip")]
            Compression::Gzip => GZIP_LEVEL,
            #[cfg(feature = "zstd")]
            Compression::Zstd => ZSTD_LEVEL,
            _ => 0,
        };
        Self { compression, level }
    }
}

pub(crate) fn compress(packing: Packing, data: &Bytes) -> Result<Bytes, RecordsError> {
    match packing.compression {
        Compression::None => Ok(data.clone()),
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::compress(data, packing.level.clamp(0, 9) as u32).map(Bytes::from),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::compress(data).map(Bytes::from),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::compress(data).map(Bytes::from),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd::compress(data, packing.level).map(Bytes::from),
    }
}

/// Decompresses no more bytes than `limits` allow; more is an error.
pub(crate) fn decompress(codec: u8, data: &Bytes, limits: &Limits) -> Result<Bytes, RecordsError> {
    let _used_by_codecs = &limits.buffers;
    match Compression::from_codec(codec)? {
        Compression::None => Ok(data.clone()),
        #[cfg(feature = "gzip")]
        Compression::Gzip => unpack(limits, |room| gzip::decompress(data, room)),
        #[cfg(feature = "snappy")]
        Compression::Snappy => unpack(limits, |room| snappy::decompress(data, room)),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => unpack(limits, |room| lz4::decompress(data, room)),
        #[cfg(feature = "zstd")]
        Compression::Zstd => unpack(limits, |room| zstd::decompress(data, room)),
    }
}

#[cfg(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd"))]
fn unpack<F>(limits: &Limits, decompress: F) -> Result<Bytes, RecordsError>
where
    F: FnOnce(&mut Room<'_>) -> Result<(), RecordsError>,
{
    let mut room = Room::new(limits);
    decompress(&mut room)?;
    Ok(room.finish())
}

/// Makes the header checksum of an LZ4 frame right: without it, changed headers would never come past it.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn mend_header(codec: u8, data: &mut [u8]) {
    let _used_for_lz4 = &data;
    #[cfg(feature = "lz4")]
    if codec == 3 {
        lz4::mend_header(data);
    }
}

/// Where memory is full, makes some for `hint` more bytes, of which there are no more than `most`, or for as many again as
/// are there. `false` when the limit is reached.
#[cfg(any(feature = "gzip", feature = "zstd"))]
fn grow(out: &mut Room<'_>, hint: usize, most: usize) -> bool {
    const LEAST: usize = 1 << 10;
    if out.left() == 0 {
        return false;
    }
    if out.free() == 0 {
        let more = hint.min(most).max(LEAST);
        out.reserve(more.min(out.left()));
    }
    true
}
