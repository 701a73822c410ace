//! Fetched blocks for this room's tests.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::part::Prepared;
use super::record::Block;
use crate::wire::records::{Batch, BatchBuilder, Cursor, Limits, NO_PRODUCER, batches};

#[derive(Debug)]
pub(crate) struct Fake {
    batch: Batch,
    start: Cursor,
    count: u32,
}

impl Block for Fake {
    fn batch(&self) -> &Batch {
        &self.batch
    }
    fn start(&self) -> Cursor {
        self.start
    }
    fn count(&self) -> u32 {
        self.count
    }
}

/// A batch at `base`, one record per key; the value is the offset in decimal.
pub(crate) fn batch(base: i64, keys: &[Option<String>]) -> Batch {
    let mut builder = BatchBuilder::new(1 << 20, BytesMut::new());
    for (i, key) in keys.iter().enumerate() {
        let value = (base + i as i64).to_string();
        builder.try_append(i as i64, key.as_deref().map(str::as_bytes), Some(value.as_bytes()), &[]).expect("fits");
    }
    let body = builder.finish(Default::default()).expect("a batch");
    let mut bytes = body.stamp(NO_PRODUCER).to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes.extend_from_slice(body.body());
    let raw = batches(Bytes::from(bytes)).next().expect("one").expect("well-formed");
    raw.open(&Limits::default()).expect("right checksum")
}

/// A block from the record at `from` on.
pub(crate) fn block_from(base: i64, keys: &[Option<String>], from: u32) -> Arc<Fake> {
    let batch = batch(base, keys);
    let mut start = Cursor::default();
    for _ in 0..from {
        batch.skip(&mut start).expect("a record");
    }
    Arc::new(Fake { batch, start, count: keys.len() as u32 - from })
}

pub(crate) fn prepared(base: i64, keys: &[Option<String>]) -> Prepared<Fake> {
    Prepared::new(block_from(base, keys, 0)).expect("records").expect("some")
}

/// `count` records without a key.
pub(crate) fn keyless(base: i64, count: usize) -> Prepared<Fake> {
    prepared(base, &vec![None; count])
}
