//! Records between this library's batches and rskafka's vectors. Pure functions. rskafka keeps headers in a map: what
//! such a map cannot hold is refused here when it is to be written; of what is read, the map has it already lost.

use std::collections::BTreeMap;

use ::rskafka::chrono::DateTime;
use ::rskafka::record::{Record, RecordAndOffset};
use bytes::BytesMut;

use crate::error::{Error, ErrorKind, Result};
use crate::wire::records::{Batch, BatchBuilder, Compression, Cursor, RecordsError};

/// Fetched records become batches of about this many bytes.
const BATCH: usize = 1 << 20;

/// The records of a batch that is to be written.
pub(super) fn to_write(batch: &Batch) -> Result<Vec<Record>> {
    let mut records = Vec::with_capacity(batch.records_count() as usize);
    let mut at = Cursor::default();
    while let Some(view) = batch.next(&mut at)? {
        let mut headers = BTreeMap::new();
        for (name, value) in batch.headers(&view) {
            let name = String::from_utf8_lossy(name).into_owned();
            let Some(value) = value else {
                return Err(refused(format!("header {name:?} without a value")));
            };
            if headers.insert(name.clone(), value.to_vec()).is_some() {
                return Err(refused(format!("header {name:?} twice")));
            }
        }
        let timestamp = DateTime::from_timestamp_millis(view.timestamp)
            .ok_or_else(|| refused(format!("the timestamp {} ms", view.timestamp)))?;
        let bytes = |range| batch.bytes_of(range).to_vec();
        records.push(Record { key: view.key.map(bytes), value: view.value.map(bytes), headers, timestamp });
    }
    Ok(records)
}

fn refused(what: String) -> Error {
    let text = format!("the rskafka backend cannot write {what}: leave it out, or use the native backend");
    Error::new(ErrorKind::InvalidArgument, text)
}

/// Fetched records as batches: a new one wherever offsets are missing, since a batch built here has none missing.
pub(super) fn batches(records: &[RecordAndOffset]) -> Result<Vec<Batch>, RecordsError> {
    let mut batches = Vec::new();
    let mut rest = records;
    while let Some(first) = rest.first() {
        let mut builder = BatchBuilder::new(BATCH, BytesMut::new());
        let mut taken = 0;
        for RecordAndOffset { record, offset } in rest {
            if *offset != first.offset + taken as i64 {
                break;
            }
            let headers: Vec<_> = record.headers.iter().map(|(k, v)| (k.as_str(), Some(v.as_slice()))).collect();
            let timestamp = record.timestamp.timestamp_millis();
            if builder.try_append(timestamp, record.key.as_deref(), record.value.as_deref(), &headers).is_err() {
                break;
            }
            taken += 1;
        }
        batches.push(builder.finish(Compression::None)?.placed(first.offset));
        rest = &rest[taken..];
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, value: &str) -> RecordAndOffset {
        let headers = [("b".to_owned(), vec![2]), ("a".to_owned(), vec![1])].into();
        let timestamp = DateTime::from_timestamp_millis(1_700_000_000_000 + offset).unwrap();
        RecordAndOffset { record: Record { key: None, value: Some(value.into()), headers, timestamp }, offset }
    }

    fn read(batches: &[Batch]) -> Vec<(i64, i64, Vec<u8>)> {
        let mut seen = Vec::new();
        for batch in batches {
            let mut at = Cursor::default();
            while let Some(view) = batch.next(&mut at).unwrap() {
                seen.push((view.offset, view.timestamp, batch.bytes_of(view.value.unwrap()).to_vec()));
            }
        }
        seen
    }

    #[test]
    fn fetched_records_keep_offsets_and_timestamps_whatever_is_missing_between() {
        let records: Vec<_> = [7, 8, 11, 12, 40].map(|offset| record(offset, "v")).into();
        let batches = batches(&records).unwrap();
        assert_eq!(batches.iter().map(Batch::records_count).collect::<Vec<_>>(), [2, 2, 1]);
        let expected: Vec<_> =
            records.iter().map(|r| (r.offset, 1_700_000_000_000 + r.offset, b"v".to_vec())).collect();
        assert_eq!(read(&batches), expected);
    }

    #[test]
    fn large_records_come_in_several_batches_and_none_is_lost() {
        let value = "x".repeat(400_000);
        let records: Vec<_> = (0..7).map(|offset| record(offset, &value)).collect();
        let batches = batches(&records).unwrap();
        assert!(batches.len() > 2);
        assert_eq!(read(&batches).iter().map(|r| r.0).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn what_rskafka_has_no_place_for_is_refused_with_the_headers_name() {
        let batch = |headers: &[(&str, Option<&[u8]>)]| {
            let mut builder = BatchBuilder::new(1 << 16, BytesMut::new());
            builder.try_append(5, Some(b"k"), None, headers).unwrap();
            to_write(&builder.finish(Compression::None).unwrap().placed(0))
        };
        let one = batch(&[("a", Some(b"1")), ("b", Some(b""))]).unwrap();
        assert_eq!((one[0].key.as_deref(), one[0].value.as_deref()), (Some(b"k".as_slice()), None));
        for headers in [[("a", Some(b"1".as_slice())), ("a", Some(b"2"))], [("b", Some(b"1")), ("a", None)]] {
            let error = batch(&headers).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("\"a\""), "{error}");
        }
    }
}
