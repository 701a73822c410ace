//! One function per family of decoders, each fed with arbitrary bytes: by `fuzz/` on nightly, and by a seeded mutator
//! in the unit tests on stable. They panic if a decoder panics, if a value that was read is not read the same again
//! after writing it, or if it holds more memory than its bytes can justify.

use bytes::{Bytes, BytesMut};

use super::header::{RequestHeader, correlation_id, decode_response, encode_response};
use super::message::{Request, Wire};
use super::messages::consumer_protocol::{Blob, ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use super::messages::every::{self, for_each_declared_api};
use super::messages::{self, HeartbeatRequest};
use super::primitives::{Reader, Writer};
use super::records::{self, Batch, Compression, Cursor, Limits, Packing, batches};
use super::sample::Sample;

#[cfg(test)]
mod tests;

/// Memory per byte read: at most a string (32 bytes) for a length of one, twice for the growth of its array.
const MEMORY_PER_BYTE: usize = 64;

fn check_weight(value: &impl Sample, read: usize) {
    let weight = value.weight();
    assert!(weight <= MEMORY_PER_BYTE * read, "{weight} bytes of memory for {read} on the wire");
}

fn message<T: Wire + Sample + PartialEq + std::fmt::Debug>(body: &Bytes, version: i16) {
    let mut r = Reader::new(body.clone());
    let Ok(value) = T::decode(&mut r, version) else { return };
    check_weight(&value, body.len() - r.remaining());
    let mut w = Writer::new();
    value.encode(&mut w, version).expect("what was read can be written");
    let again = w.finish().expect("it is no larger").into_bytes();
    let mut r = Reader::new(again);
    assert_eq!(T::decode(&mut r, version).as_ref(), Ok(&value));
    r.finish().expect("nothing is left over");
}

/// The API's key, its version, and the rest.
fn split(data: &[u8]) -> Option<(u8, i16, Bytes)> {
    let (&[key, version], body) = data.split_first_chunk()?;
    Some((key, i16::from(version), Bytes::copy_from_slice(body)))
}

macro_rules! families {
    ($($request:ident)*) => {
        /// Bytes: key of the API, version, body of a request.
        pub fn requests(data: &[u8]) {
            let Some((key, version, body)) = split(data) else { return };
            match i16::from(key) {
                $(messages::$request::KEY => message::<messages::$request>(&body, version),)*
                _ => {}
            }
        }

        /// Bytes: key of the API, version, body of a response.
        pub fn responses(data: &[u8]) {
            let Some((key, version, body)) = split(data) else { return };
            match i16::from(key) {
                $(messages::$request::KEY => {
                    message::<<messages::$request as Request>::Response>(&body, version);
                })*
                _ => {}
            }
        }
    };
}
for_each_declared_api!(families);

/// Bytes: a frame without its size, read as a request of any API and as a response to a Heartbeat.
pub fn headers(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let flexible = |key, version| every::api(key).is_some_and(|api| version >= api.flexible);
    let mut r = Reader::new(frame.clone());
    if let Ok(header) = RequestHeader::decode(&mut r, flexible) {
        let flexible = flexible(header.api_key, header.api_version);
        let mut w = Writer::new();
        header.encode(&mut w, flexible).expect("what was read can be written");
        let mut again = Reader::new(w.finish().expect("it is no larger").into_bytes());
        assert_eq!(RequestHeader::decode(&mut again, |_, _| flexible), Ok(header));
    }
    let id = correlation_id(&frame);
    for version in [HeartbeatRequest::MIN, HeartbeatRequest::MAX] {
        if let Ok(response) = decode_response::<HeartbeatRequest>(frame.clone(), version) {
            let id = id.expect("a response starts with an id");
            let again = encode_response::<HeartbeatRequest>(&response, version, id).expect("it is no larger");
            let again = again.into_bytes().slice(4..);
            assert_eq!(decode_response::<HeartbeatRequest>(again, version), Ok(response));
        }
    }
}

/// Bytes: a subscription or an assignment, version first.
pub fn consumer_protocol(data: &[u8]) {
    fn blob<T: Blob + Sample + PartialEq + std::fmt::Debug>(data: &[u8]) {
        let Ok((version, value)) = T::from_blob(Bytes::copy_from_slice(data)) else { return };
        check_weight(&value, data.len());
        // What it read by falling back to an older version is the same at the newest.
        let again = value.to_blob(T::MAX).expect("what was read can be written");
        assert_eq!(T::from_blob(again), Ok((T::MAX, value)), "read as version {version}");
    }
    blob::<ConsumerProtocolSubscription>(data);
    blob::<ConsumerProtocolAssignment>(data);
}

const MAX_DECOMPRESSED: usize = 1 << 20;

/// Bytes: a `records` field; read as it is, and once more with its checksums made right.
pub fn record_batches(data: &[u8]) {
    walk_batches(Bytes::copy_from_slice(data));
    walk_batches(with_right_checksums(data));
}

fn walk_batches(records: Bytes) {
    let len = records.len();
    let mut iter = batches(records);
    let mut read = 0;
    while let Some(batch) = iter.next() {
        let Ok(batch) = batch else {
            assert!(iter.next().is_none(), "an error is the last item");
            return;
        };
        read += batch.bytes().len();
        assert!(read <= len);
        assert!(batch.next_offset() > batch.header().base_offset);
        let _ = (batch.control_type(), batch.compression(), batch.is_transactional());
        let header = *batch.header();
        if let Ok(batch) = batch.open(&Limits::of(MAX_DECOMPRESSED)) {
            assert!(batch.data().len() <= MAX_DECOMPRESSED);
            walk_records(&batch);
            for offset in [i64::MIN, header.base_offset, header.next_offset() - 1, i64::MAX] {
                let _ = batch.seek(offset);
            }
        }
    }
}

fn walk_records(batch: &Batch) {
    let (mut at, mut skipped) = (Cursor::default(), Cursor::default());
    let mut count = 0;
    while let Ok(Some(record)) = batch.next(&mut at) {
        assert_eq!(batch.skip(&mut skipped), Ok(true));
        assert_eq!(at, skipped, "both walk alike");
        assert!(record.offset >= batch.header().base_offset && record.offset < batch.header().next_offset());
        for range in [record.key.clone(), record.value.clone()].into_iter().flatten() {
            assert_eq!(batch.bytes_of(range.clone()).len(), range.len());
        }
        assert_eq!(batch.headers(&record).count(), record.headers_count as usize);
        count += 1;
        assert!(count <= batch.records_count());
    }
}

/// A function per codec. Bytes: compressed records, and the same bytes as what is to be compressed, by a level that the
/// first of them chooses.
macro_rules! codecs {
    ($($name:ident = $number:literal;)*) => {
        $(
            #[doc = concat!("Bytes: ", stringify!($name), ", and what is to become it.")]
            pub fn $name(data: &[u8]) {
                codec($number, data);
            }
        )*
    };
}
codecs! {
    gzip = 1;
    snappy = 2;
    lz4 = 3;
    zstd = 4;
}

fn codec(number: u8, data: &[u8]) {
    let Ok(compression) = Compression::from_codec(number) else { return };
    unpack(number, Bytes::copy_from_slice(data));
    let mut mended = data.to_vec();
    records::mend_header(number, &mut mended);
    if mended != data {
        unpack(number, mended.into());
    }
    let data = Bytes::copy_from_slice(data);
    let chosen = i32::from(data.first().copied().unwrap_or_default());
    let level = if number == 1 { 1 + chosen % 9 } else { chosen % 30 - 8 };
    let packed = records::compress(Packing { compression, level }, &data).expect("anything can be compressed");
    assert_eq!(records::decompress(number, &packed, &Limits::of(data.len())), Ok(data), "level {level}");
}

fn unpack(codec: u8, packed: Bytes) {
    let limits = Limits::busy(MAX_DECOMPRESSED);
    if let Ok(out) = records::decompress(codec, &packed, &limits) {
        assert!(out.len() <= MAX_DECOMPRESSED);
        drop(out);
        assert!(limits.buffers.largest() <= MAX_DECOMPRESSED);
    }
}

/// Mutated batches would never come past their checksum.
fn with_right_checksums(data: &[u8]) -> Bytes {
    let mut records = BytesMut::from(data);
    let mut rest = &mut records[..];
    while let Some(length) = rest.get(8..12).and_then(|b| b.first_chunk()).map(|b| i32::from_be_bytes(*b)) {
        let Some(end) = usize::try_from(length).ok().and_then(|n| n.checked_add(12)) else { break };
        if end < 61 || end > rest.len() {
            break;
        }
        let (batch, behind) = rest.split_at_mut(end);
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = behind;
    }
    records.freeze()
}
