//! Fetched blocks for this room's tests.

use bytes::{Bytes, BytesMut};

use crate::wire::records::{Batch, BatchBuilder, Limits, NO_PRODUCER, batches};

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
