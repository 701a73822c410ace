//! Promises of the reader and the builder together.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::builder::Full;
use super::*;

type Header = (String, Option<Vec<u8>>);
type Record = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>);

fn build(records: &[Record], compression: Compression, stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
    for (i, (timestamp, key, value, headers)) in records.iter().enumerate() {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
        let before = builder.size();
        assert_eq!(builder.try_append(*timestamp, key.as_deref(), value.as_deref(), &headers), Ok(i as u32));
        assert!(builder.size() - before <= max_record_len(key.as_deref(), value.as_deref(), &headers));
    }
    let batch = builder.finish(compression).unwrap();
    let mut bytes = BytesMut::from(&batch.stamp(stamp)[..]);
    bytes.extend_from_slice(batch.body());
    assert_eq!(bytes.len(), batch.size());
    bytes.freeze()
}

fn read(batch: &Batch) -> Result<Vec<Record>, RecordsError> {
    let mut at = Cursor::default();
    let mut out = Vec::new();
    while let Some(view) = batch.next(&mut at)? {
        let headers = batch
            .headers(&view)
            .map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), v.map(<[u8]>::to_vec)))
            .collect();
        let take = |r: Option<std::ops::Range<u32>>| r.map(|r| batch.bytes_of(r).to_vec());
        out.push((view.timestamp, take(view.key), take(view.value), headers));
    }
    assert_eq!(at.index, batch.records_count());
    Ok(out)
}

fn record() -> impl Strategy<Value = Record> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
    let header = ("[a-c]{0,2}", bytes());
    (0i64..2_000_000_000_000, bytes(), bytes(), proptest::collection::vec(header, 0..4))
}

fn codecs() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::all().collect::<Vec<_>>())
}

const STAMP: ProducerStamp = ProducerStamp { producer_id: 77, producer_epoch: 3, base_sequence: 4711 };

proptest! {
    #[test]
    fn what_is_appended_is_read(records in proptest::collection::vec(record(), 1..20), codec in codecs()) {
        let bytes = build(&records, codec, STAMP);
        let raw = batches(bytes).next().unwrap().unwrap();
        prop_assert_eq!(raw.header().base_sequence, 4711);
        prop_assert_eq!(raw.next_offset(), records.len() as i64);
        let batch = raw.open(&Limits::default()).unwrap();
        prop_assert_eq!(read(&batch).unwrap(), records);
    }

    #[test]
    fn skip_and_seek_land_where_next_does(records in proptest::collection::vec(record(), 1..20), to in 0u32..25) {
        let batch = batches(build(&records, Compression::None, STAMP)).next().unwrap().unwrap();
        let batch = batch.open(&Limits::default()).unwrap();
        let (mut by_next, mut by_skip) = (Cursor::default(), Cursor::default());
        for _ in 0..to {
            let more = batch.next(&mut by_next).unwrap().is_some();
            prop_assert_eq!(batch.skip(&mut by_skip).unwrap(), more);
        }
        prop_assert_eq!(by_next, by_skip);
        prop_assert_eq!(batch.seek(i64::from(to)).unwrap(), by_next);
    }

    #[test]
    fn a_flipped_byte_never_panics_and_never_passes_the_checksum(
        records in proptest::collection::vec(record(), 1..5),
        codec in codecs(),
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let mut bytes = build(&records, codec, STAMP).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        for raw in batches(bytes.into()).flatten() {
            let opened = raw.open(&Limits::of(1 << 16));
            // Only the offset, the leader epoch and the magic lie outside the checksum.
            prop_assert!(at < 17 || opened.is_err());
        }
    }

    #[test]
    fn hostile_records_with_a_right_checksum_never_panic(
        body in proptest::collection::vec(prop_oneof![0u8..24, any::<u8>()], 0..200),
        count in prop_oneof![0i32..40, any::<i32>()],
        attributes: i16,
        last_offset_delta: i32,
    ) {
        let bytes = seal(&body, count, attributes, last_offset_delta);
        for raw in batches(bytes) {
            let Ok(raw) = raw else { continue };
            raw.control_type();
            let Ok(batch) = raw.open(&Limits::of(10_000)) else { continue };
            prop_assert!(batch.records_count() as usize <= 10_000);
            let _ = read(&batch);
            let _ = batch.seek(7);
        }
    }

    #[test]
    fn kafka_protocol_reads_what_we_write_and_writes_what_we_read(records in proptest::collection::vec(record(), 1..10)) {
        use kafka_protocol::records::{Compression as Theirs, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};
        // Their map of headers cannot repeat a name, nor hold an empty one apart.
        let mut records = records;
        for (_, _, _, headers) in &mut records {
            headers.sort();
            headers.dedup_by(|a, b| a.0 == b.0);
        }
        let ours = build(&records, Compression::None, STAMP);
        let decoded = RecordBatchDecoder::decode(&mut ours.clone()).unwrap();
        prop_assert_eq!(decoded.records.len(), records.len());
        for (theirs, (timestamp, key, value, headers)) in decoded.records.iter().zip(&records) {
            prop_assert_eq!(theirs.timestamp, *timestamp);
            prop_assert_eq!(theirs.key.as_deref(), key.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), value.as_deref());
            prop_assert_eq!((theirs.producer_id, theirs.producer_epoch), (77, 3));
            let theirs: Vec<Header> =
                theirs.headers.iter().map(|(n, v)| (n.to_string(), v.as_ref().map(|v| v.to_vec()))).collect();
            prop_assert_eq!(&theirs, headers);
        }
        let mut again = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Theirs::None };
        RecordBatchEncoder::encode(&mut again, decoded.records.iter(), &options).unwrap();
        let mut read_back = Vec::new();
        for raw in batches(again.freeze()) {
            read_back.extend(read(&raw.unwrap().open(&Limits::default()).unwrap()).unwrap());
        }
        prop_assert_eq!(read_back, records);
    }
}

/// A batch around `body` with a right length and checksum.
fn seal(body: &[u8], count: i32, attributes: i16, last_offset_delta: i32) -> Bytes {
    let header = BatchHeader {
        base_offset: 5,
        batch_length: (body.len() + HEADER_LEN - 12) as i32,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes,
        last_offset_delta,
        base_timestamp: 1000,
        max_timestamp: 2000,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: count,
    };
    let mut bytes = header.write().to_vec();
    bytes.extend_from_slice(body);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[test]
fn a_batch_that_was_cut_off_ends_the_list_without_an_error() {
    let one = build(&[(1, None, Some(vec![1; 50]), vec![])], Compression::None, STAMP);
    let two = [&one[..], &one[..]].concat();
    for cut in 0..two.len() {
        let got: Vec<_> = batches(Bytes::copy_from_slice(&two[..cut])).collect();
        assert_eq!(got.len(), cut / one.len());
        assert!(got.iter().all(Result::is_ok));
    }
}

#[test]
fn an_old_magic_is_an_error_that_names_it() {
    for magic in [0u8, 1, 3] {
        let mut bytes = build(&[(1, None, None, vec![])], Compression::None, STAMP).to_vec();
        bytes[16] = magic;
        let mut iter = batches(bytes.into());
        let error = iter.next().unwrap().unwrap_err();
        assert_eq!(error, RecordsError::UnknownMagic(magic as i8));
        assert!(error.to_string().contains(&format!("magic {magic}")));
        assert!(iter.next().is_none());
    }
}

#[test]
fn a_codec_that_is_not_built_in_is_an_error_that_names_it() {
    let names =
        [(1, "`gzip`"), (2, "`snappy`"), (3, "`lz4`"), (4, "`zstd`"), (5, "codec 5"), (6, "codec 6"), (7, "codec 7")];
    for (codec, name) in names.into_iter().filter(|(codec, _)| Compression::from_codec(*codec as u8).is_err()) {
        let raw = batches(seal(&[0; 20], 1, codec, 0)).next().unwrap().unwrap();
        let error = raw.open(&Limits::default()).unwrap_err();
        assert_eq!(error, RecordsError::UnknownCodec(codec as u8));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn hostile_lengths_and_counts_are_errors() {
    for (count, delta) in [(-1, 0), (i32::MIN, 0), (1, -1), (1, i32::MIN)] {
        assert!(batches(seal(&[0; 20], count, 0, delta)).next().unwrap().is_err());
    }
    let raw = batches(seal(&[0; 20], i32::MAX, 0, 5)).next().unwrap().unwrap();
    assert_eq!(raw.open(&Limits::default()).unwrap_err(), RecordsError::malformed("records_count"));
    for length in [i32::MIN, -1, 0, 4, 5, 48] {
        let mut bytes = seal(&[0; 20], 1, 0, 0).to_vec();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert!(batches(bytes.into()).next().unwrap().is_err(), "length {length}");
    }
}

#[test]
fn an_empty_batch_is_legal_and_its_offsets_count() {
    let raw = batches(seal(&[], 0, 0, 9)).next().unwrap().unwrap();
    assert_eq!(raw.next_offset(), 15);
    let batch = raw.open(&Limits::default()).unwrap();
    assert_eq!(batch.next(&mut Cursor::default()), Ok(None));
}

#[test]
fn log_append_time_gives_every_record_the_batch_s_time() {
    let body = [12, 0, 10, 0, 1, 1, 0]; // length 6: timestamp delta 5, offset delta 0, null key, null value
    let with = |attributes| {
        let batch = batches(seal(&body, 1, attributes, 0)).next().unwrap().unwrap().open(&Limits::default()).unwrap();
        batch.next(&mut Cursor::default()).unwrap().unwrap().timestamp
    };
    assert_eq!(with(0), 1005);
    assert_eq!(with(8), 2000);
}

#[test]
fn control_batches_tell_abort_from_commit() {
    for (kind, expected) in [(0, ControlType::Abort), (1, ControlType::Commit), (2, ControlType::Other(2))] {
        let body = [20, 0, 0, 0, 8, 0, 0, 0, kind, 1, 0];
        let raw = batches(seal(&body[..], 1, 0x30, 0)).next().unwrap().unwrap();
        assert!(raw.is_control() && raw.is_transactional());
        assert_eq!(raw.control_type(), Some(expected));
    }
}

#[test]
fn a_full_batch_takes_no_more_but_an_empty_one_takes_anything() {
    let mut builder = BatchBuilder::new(200, BytesMut::new());
    assert_eq!(builder.try_append(0, None, Some(&[0; 1000]), &[]), Ok(0));
    assert_eq!(builder.try_append(0, None, None, &[]), Err(Full));
    let mut builder = BatchBuilder::new(200, BytesMut::new());
    let mut n = 0;
    while builder.try_append(0, None, Some(&[0; 10]), &[]).is_ok() {
        n += 1;
        assert!(builder.size() <= 200);
    }
    assert_eq!(builder.count(), n);
}

#[cfg(feature = "lz4")]
#[test]
fn every_recorded_batch_of_the_go_dispatcher_is_read() {
    use base64::engine::{Engine, general_purpose::STANDARD};
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/go-dispatcher/samples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let sample: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let bytes = |name: &str| sample[name].as_str().map(|text| STANDARD.decode(text).unwrap());
        let raw: Vec<_> = batches(bytes("batch_base64").unwrap().into()).collect();
        assert_eq!(raw.len(), 1, "{path:?}");
        let raw = raw[0].clone().unwrap();
        let codec = if sample["compression"] == "lz4" { Compression::Lz4 } else { Compression::None };
        assert_eq!(raw.compression(), Ok(codec), "{path:?}");
        assert_eq!(raw.header().base_offset, sample["offset"].as_i64().unwrap());
        let batch = raw.open(&Limits::default()).unwrap();
        let expected = (sample["timestamp_ms"].as_i64().unwrap(), bytes("key_base64"), bytes("value_base64"), vec![]);
        assert_eq!(read(&batch).unwrap(), [expected], "{path:?}");
        seen += 1;
    }
    assert!(seen >= 20);
}
