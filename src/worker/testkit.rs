//! Fetched blocks for this room's tests and for what counts its cost.

use bytes::{Bytes, BytesMut};

use super::record::Block;
use crate::wire::records::{Batch, BatchBuilder, Cursor, Limits, NO_PRODUCER, batches};

/// A block without a fetcher behind it.
pub(crate) struct TestBlock(pub(super) Batch);

#[cfg(test)]
impl TestBlock {
    /// So many records without a key from `base` on.
    pub(crate) fn new(base: i64, count: usize) -> Self {
        Self(batch(base, &vec![None; count]))
    }
}

impl Block for TestBlock {
    fn batch(&self) -> &Batch {
        &self.0
    }

    fn start(&self) -> Cursor {
        Cursor::default()
    }

    fn count(&self) -> u32 {
        self.0.records_count()
    }
}

/// A batch at `base`, one record per key; the value is the offset in decimal.
#[cfg(test)]
pub(crate) fn batch(base: i64, keys: &[Option<String>]) -> Batch {
    batch_of(base, keys, |i| (i as i64, (base + i as i64).to_string().into_bytes()))
}

/// A batch at `base`, one record per key, with the timestamp and the value that `record` gives for its place.
pub(super) fn batch_of(base: i64, keys: &[Option<String>], record: impl Fn(usize) -> (i64, Vec<u8>)) -> Batch {
    let mut builder = BatchBuilder::new(1 << 20, BytesMut::new());
    for (i, key) in keys.iter().enumerate() {
        let (timestamp, value) = record(i);
        builder.try_append(timestamp, key.as_deref().map(str::as_bytes), Some(&value), &[]).expect("fits");
    }
    let body = builder.finish(crate::wire::records::Compression::None).expect("a batch");
    let mut bytes = body.stamp(NO_PRODUCER).to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes.extend_from_slice(body.body());
    let raw = batches(Bytes::from(bytes)).next().expect("one").expect("well-formed");
    raw.open(&Limits::default()).expect("right checksum")
}

/// Keeps nothing attached.
#[cfg(test)]
pub(crate) struct Detached;

#[cfg(test)]
impl super::seam::Attachment for Detached {
    fn pause(&self) {}

    fn resume(&self) {}
}
