//! A look at what lies at an offset, by this crate's own Fetch: what rskafka keeps to itself when it hands out nothing
//! (where the next record is) or fails (why). Never on the way of records.

use bytes::Bytes;

use crate::client::types::TopicPartition;
use crate::client::{Cluster, Use};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;
use crate::wire::messages::FetchRequest;
use crate::wire::messages::fetch::{FetchPartition, FetchTopic};
use crate::wire::records::{Batch, Cursor, Limits, RawBatch, RecordsError, batches};

/// The last version that names topics by name, which is all that rskafka knows of a topic.
const LAST_BY_NAME: i16 = 12;
/// Enough to pass a thousand empty batches at a time.
const BYTES: i32 = 1 << 16;

/// What lies at an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing yet.
    Nothing,
    /// No record up to this offset, and never one: compaction has taken them.
    Gap { next_offset: i64 },
    /// A batch that ends before `behind`, and why rskafka fails there, if that can be seen.
    Batch { behind: i64, why: Option<&'static str> },
}

/// Asks the partition's leader. Takes as long as a request may. Cancel-safe.
pub(super) async fn look(cluster: &Cluster, tp: &TopicPartition, from: i64) -> Result<Found> {
    let leader = cluster.topology().partition(tp).map_or(-1, |p| p.leader);
    if leader < 0 {
        cluster.refresh();
        return Err(Error::new(ErrorKind::Connection, format!("{tp} has no leader at present")));
    }
    let connection = cluster.connection(leader, Use::Control).await?;
    let version = connection.version::<FetchRequest>(Some(LAST_BY_NAME))?;
    let partition = FetchPartition {
        partition: tp.partition,
        fetch_offset: from,
        partition_max_bytes: BYTES,
        ..Default::default()
    };
    let topic = FetchTopic { topic: tp.topic.clone().into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_bytes: BYTES,
        isolation_level: 1,
        session_epoch: -1,
        topics: vec![topic],
        replica_id: -1,
        ..Default::default()
    };
    let response = connection.call(&request, version, cluster.config().request_timeout).await?;
    let partition =
        response.responses.into_iter().flat_map(|t| t.partitions).find(|p| p.partition_index == tp.partition);
    let code = match &partition {
        Some(partition) if response.error_code == ErrorCode::NONE => partition.error_code,
        _ => response.error_code,
    };
    if code != ErrorCode::NONE {
        return Err(Error::from_code(code, format_args!("Fetch from {tp} at offset {from}")));
    }
    Ok(found(partition.and_then(|p| p.records).unwrap_or_default().into_bytes(), from))
}

/// Walks the batches of a `records` field.
fn found(records: Bytes, from: i64) -> Found {
    let mut next_offset = from;
    for batch in batches(records) {
        let batch = match batch {
            Ok(batch) if batch.next_offset() <= next_offset => continue,
            Ok(batch) => batch,
            // Of an old format at least the offset is known; it goes on behind it at the user's wish only.
            Err(_) if next_offset == from => {
                return Found::Batch { behind: from + 1, why: Some("a batch of an old format, or damaged") };
            }
            Err(_) => break,
        };
        match obstacle(&batch, next_offset) {
            None => next_offset = batch.next_offset(),
            Some(why) if next_offset == from => return Found::Batch { behind: batch.next_offset(), why },
            // Nearer comes first.
            Some(_) => break,
        }
    }
    if next_offset > from { Found::Gap { next_offset } } else { Found::Nothing }
}

/// `None`: nothing for a reader. Otherwise it has something, with what rskafka fails at if that can be seen.
fn obstacle(batch: &RawBatch, from: i64) -> Option<Option<&'static str>> {
    if batch.is_control() {
        return Some(Some("the marker at the end of a transaction"));
    }
    if batch.header().records_count == 0 {
        return None;
    }
    let codec = match batch.header().codec() {
        3 => Some("a batch compressed with LZ4"),
        4 => Some("a batch compressed with zstd"),
        _ => None,
    };
    if codec.is_some() {
        return Some(codec);
    }
    if batch.is_transactional() {
        return Some(Some("a batch of a transaction"));
    }
    match batch.clone().open(&Limits::default()) {
        Ok(opened) => has_records(&opened, from).unwrap_or(true).then(|| headers(&opened)),
        Err(RecordsError::BadCrc { .. }) => Some(Some("a batch whose checksum is wrong")),
        Err(_) => Some(Some("a batch that cannot be decoded")),
    }
}

fn has_records(batch: &Batch, from: i64) -> Result<bool, RecordsError> {
    Ok(batch.seek(from)?.index < batch.records_count())
}

/// What rskafka's map of headers does not take.
fn headers(batch: &Batch) -> Option<&'static str> {
    let mut at = Cursor::default();
    while let Ok(Some(view)) = batch.next(&mut at) {
        for (name, value) in batch.headers(&view) {
            if value.is_none() {
                return Some("a header without a value");
            }
            if std::str::from_utf8(name).is_err() {
                return Some("a header whose name is not UTF-8");
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::wire::records::{BatchBuilder, Compression, NO_PRODUCER};

    /// A batch from `base` to before `behind` with this many records at its beginning.
    fn batch(base: i64, behind: i64, records: u32, headers: &[(&str, Option<&[u8]>)]) -> Bytes {
        let mut builder = BatchBuilder::new(1 << 16, BytesMut::new());
        for _ in 0..records {
            builder.try_append(1, None, Some(b"v"), headers).unwrap();
        }
        let body = builder.finish(Compression::None).unwrap();
        let mut header = body.stamp(NO_PRODUCER);
        header[..8].copy_from_slice(&base.to_be_bytes());
        header[23..27].copy_from_slice(&((behind - base - 1) as i32).to_be_bytes());
        let mut bytes = BytesMut::from(&header[..]);
        bytes.put_slice(body.body());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes.freeze()
    }

    fn of(batches: &[Bytes]) -> Bytes {
        batches.concat().into()
    }

    #[test]
    fn a_compacted_tail_is_passed_up_to_the_next_record_and_no_further() {
        let tail = batch(10, 20, 3, &[]);
        assert_eq!(found(of(std::slice::from_ref(&tail)), 13), Found::Gap { next_offset: 20 });
        assert_eq!(found(of(&[tail.clone(), batch(20, 30, 0, &[])]), 13), Found::Gap { next_offset: 30 });
        let then = [tail.clone(), batch(20, 30, 0, &[]), batch(30, 32, 2, &[])];
        assert_eq!(found(of(&then), 13), Found::Gap { next_offset: 30 });
        assert_eq!(found(of(&[tail]), 12), Found::Batch { behind: 20, why: None }, "the record at 12 is still there");
        assert_eq!(found(Bytes::new(), 13), Found::Nothing);
    }

    #[test]
    fn what_rskafka_fails_at_is_named() {
        let null = batch(5, 6, 1, &[("a", None)]);
        assert_eq!(found(null, 5), Found::Batch { behind: 6, why: Some("a header without a value") });
        let mut damaged = BytesMut::from(&batch(5, 6, 1, &[])[..]);
        *damaged.last_mut().unwrap() ^= 1;
        let why = Some("a batch whose checksum is wrong");
        assert_eq!(found(damaged.freeze(), 5), Found::Batch { behind: 6, why });
    }
}
