//! Record batches, magic 2: a lazy reader that borrows from the frame, and a builder that encodes a record when it
//! is appended. The fetcher and the workers read, the producer writes. Bytes from a peer never cause a panic, nor an
//! allocation beyond the stated limits.

mod batch;
mod builder;
mod compression;
mod error;
mod header;
mod raw;
#[cfg(test)]
mod tests;
mod varint;

pub(crate) use batch::{Batch, Cursor, HeaderIter, RecordView};
pub(crate) use builder::{BatchBody, BatchBuilder, max_record_len};
pub use compression::Compression;
pub(crate) use compression::{GZIP_LEVEL, Packing, ZSTD_LEVEL};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use compression::{compress, decompress, mend_header};
pub(crate) use error::RecordsError;
#[cfg(feature = "embedded")]
pub(crate) use header::CRC_FROM;
pub(crate) use header::{BatchHeader, HEADER_LEN, NO_PRODUCER, ProducerStamp};
pub(crate) use raw::{ControlType, Limits, RawBatch, batches};
