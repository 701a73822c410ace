//! Fetched blocks for this room's tests.

use bytes::{Bytes, BytesMut};

use super::record::Block;
use crate::wire::records::{Batch, BatchBuilder, Cursor, Limits, NO_PRODUCER, batches};

/// A block without a fetcher behind it.
pub(crate) struct TestBlock(Batch);

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
pub(crate) fn batch(base: i64, keys: &[Option<String>]) -> Batch {
    let mut builder = BatchBuilder::new(1 << 20, BytesMut::new());
    for (i, key) in keys.iter().enumerate() {
        let value = (base + i as i64).to_string();
        builder.try_append(i as i64, key.as_deref().map(str::as_bytes), Some(value.as_bytes()), &[]).expect("fits");
    }
    let body = builder.finish(crate::wire::records::Compression::None).expect("a batch");
    let mut bytes = body.stamp(NO_PRODUCER).to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes.extend_from_slice(body.body());
    let raw = batches(Bytes::from(bytes)).next().expect("one").expect("well-formed");
    raw.open(&Limits::default()).expect("right checksum")
}

/// Keeps nothing attached.
pub(crate) struct Detached;

impl super::seam::Attachment for Detached {
    fn pause(&self) {}

    fn resume(&self) {}
}
