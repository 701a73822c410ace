//! Promises of a log.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::wire::ErrorCode;
use crate::wire::records::{BatchBuilder, Compression, Cursor, NO_PRODUCER, ProducerStamp};

const RULES: Rules =
    Rules { max_message_bytes: 1 << 20, log_append_time: false, compacted: false, timestamps: (i64::MAX, i64::MAX) };
const TRANSACTIONAL: u8 = 1 << 4;

fn stamp() -> Stamp {
    Stamp { leader_epoch: 0, now_ms: 5_000 }
}

/// A batch of records `(key, value)`, value `None` for a tombstone, made at 1,000 ms and on.
fn batch(producer: ProducerStamp, bits: u8, records: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
    for (i, (key, value)) in records.iter().enumerate() {
        builder.try_append(1_000 + i as i64, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    }
    let body = builder.finish(Compression::None).unwrap();
    let mut bytes = [&body.stamp(producer)[..], body.body()].concat();
    bytes[22] |= bits;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn producer(epoch: i16, sequence: i32) -> ProducerStamp {
    ProducerStamp { producer_id: 7, producer_epoch: epoch, base_sequence: sequence }
}

fn append(log: &mut Log, records: Bytes) -> Result<i64, ErrorCode> {
    let appended = log.append(records, &RULES, stamp()).map_err(|why| why.code);
    appended.map(|a| a.base_offset).inspect(|_| log.replicate())
}

/// Offset, key and value of every record that lies in the log.
fn contents(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let mut out = Vec::new();
    for stored in log.batches().filter(|b| !b.header.is_control()) {
        let batch = stored.open().unwrap();
        let mut at = Cursor::default();
        while let Some(r) = batch.next(&mut at).unwrap() {
            let text = |range| String::from_utf8(batch.bytes_of(range).to_vec()).unwrap();
            out.push((r.offset, text(r.key.unwrap()), r.value.map(text)));
        }
    }
    out
}

#[test]
fn a_retried_batch_is_recognised_and_a_gap_refused() {
    let mut log = Log::default();
    let one = |epoch, sequence| batch(producer(epoch, sequence), 0, &[("a", Some("1")), ("b", Some("2"))]);
    assert_eq!(append(&mut log, one(0, 0)), Ok(0));
    assert_eq!(append(&mut log, one(0, 2)), Ok(2));
    for retry in [0, 2] {
        let again = log.append(one(0, retry), &RULES, stamp()).unwrap();
        assert!(again.duplicate && again.base_offset == i64::from(retry));
    }
    assert_eq!(append(&mut log, one(0, 6)), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(append(&mut log, one(1, 4)), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), "a new epoch begins with 0");
    assert_eq!(append(&mut log, one(1, 0)), Ok(4));
    assert_eq!(append(&mut log, one(0, 4)), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(log.end(), 6);
}

#[test]
fn only_the_last_five_batches_of_a_producer_are_remembered() {
    let mut log = Log::default();
    for n in 0..6 {
        append(&mut log, batch(producer(0, n), 0, &[("k", None)])).unwrap();
    }
    let again = |log: &mut Log, n| append(log, batch(producer(0, n), 0, &[("k", None)]));
    assert_eq!(again(&mut log, 1), Ok(1));
    assert_eq!(again(&mut log, 0), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
}

#[test]
fn sequence_numbers_go_on_with_0_behind_the_largest() {
    let mut log = Log::default();
    let two = |sequence| batch(producer(0, sequence), 0, &[("a", None), ("b", None)]);
    append(&mut log, two(i32::MAX)).unwrap();
    assert_eq!(append(&mut log, two(1)), Ok(2), "the first batch held i32::MAX and 0");
}

#[test]
fn what_is_broken_is_refused() {
    let mut log = Log::default();
    let good = batch(NO_PRODUCER, 0, &[("a", Some("1"))]);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(append(&mut log, flipped.into()), Err(ErrorCode::CORRUPT_MESSAGE));
    assert_eq!(append(&mut log, [&good[..], &good[..]].concat().into()), Err(ErrorCode::INVALID_RECORD), "two batches");
    assert_eq!(append(&mut log, good.slice(..good.len() - 1)), Err(ErrorCode::INVALID_RECORD), "cut");
    assert_eq!(append(&mut log, Bytes::new()), Err(ErrorCode::INVALID_RECORD));
    let small = Rules { max_message_bytes: 50, ..RULES };
    assert_eq!(log.append(good, &small, stamp()), Err(ErrorCode::MESSAGE_TOO_LARGE.into()));
    assert_eq!(log.end(), 0);
}

#[test]
fn an_open_transaction_holds_the_last_stable_offset_and_an_aborted_one_is_listed() {
    let mut log = Log::default();
    append(&mut log, batch(NO_PRODUCER, 0, &[("x", None)])).unwrap();
    append(&mut log, batch(producer(0, 0), TRANSACTIONAL, &[("a", None), ("b", None)])).unwrap();
    append(&mut log, batch(NO_PRODUCER, 0, &[("y", None)])).unwrap();
    assert_eq!((log.last_stable(), log.high_watermark()), (1, 4));
    assert_eq!(log.aborted_in(0, 4).count(), 0);
    log.append_marker((7, 0), false, stamp());
    log.replicate();
    assert_eq!((log.last_stable(), log.end()), (5, 5));
    let aborted: Vec<_> = log.aborted_in(2, 3).map(|a| (a.producer_id, a.first_offset)).collect();
    assert_eq!(aborted, [(7, 1)]);
    assert_eq!(log.aborted_in(0, 1).count(), 0, "before it");
    let raw = log.batches().last().unwrap().raw().unwrap();
    assert_eq!(raw.control_type(), Some(crate::wire::records::ControlType::Abort));
}

#[test]
fn compaction_keeps_the_last_of_each_key_at_its_offset() {
    let mut log = Log::default();
    append(&mut log, batch(NO_PRODUCER, 0, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))])).unwrap();
    append(&mut log, batch(NO_PRODUCER, 0, &[("b", Some("2"))])).unwrap();
    append(&mut log, batch(producer(0, 0), 0, &[("a", Some("3"))])).unwrap();
    append(&mut log, batch(NO_PRODUCER, 0, &[("a", Some("4")), ("c", None), ("d", Some("1"))])).unwrap();
    log.compact(0);
    let some = |s: &str| Some(s.to_owned());
    let rest = [(3, "b", some("2")), (5, "a", some("4")), (6, "c", None), (7, "d", some("1"))];
    assert_eq!(contents(&log), rest.map(|(o, k, v)| (o, k.to_owned(), v)));
    assert_eq!((log.start(), log.end(), log.high_watermark()), (0, 8, 8));
    assert_eq!(log.batches().filter(|b| b.header.records_count == 0).count(), 1, "a producer's sequence stays");
    assert_eq!(append(&mut log, batch(producer(0, 1), 0, &[("e", None)])), Ok(8), "and is known");
    log.compact(i64::MAX);
    assert!(contents(&log).iter().all(|(_, _, value)| value.is_some()), "tombstones go");
}

#[test]
fn retention_takes_whole_batches_from_the_front() {
    let mut log = Log::default();
    for _ in 0..10 {
        append(&mut log, batch(NO_PRODUCER, 0, &[("k", Some("0123456789"))])).unwrap();
    }
    let one = log.bytes() / 10;
    log.retain(i64::MIN, 3 * one);
    assert_eq!((log.start(), log.end(), log.bytes()), (7, 10, 3 * one));
    log.retain(1_001, usize::MAX);
    assert_eq!((log.start(), log.bytes()), (10, 0));
    assert!(log.read(10, 10, 1000, true).is_empty());
}

#[test]
fn reading_begins_with_the_batch_around_the_offset_and_cuts_the_last() {
    let mut log = Log::default();
    for _ in 0..4 {
        append(&mut log, batch(NO_PRODUCER, 0, &[("a", Some("1")), ("b", Some("2"))])).unwrap();
    }
    let one = log.bytes() / 4;
    let lens = |chunks: Vec<Bytes>| chunks.iter().map(Bytes::len).collect::<Vec<_>>();
    assert_eq!(lens(log.read(3, 8, 10 * one, false)), [one, one, one], "offset 3 is within the second batch");
    assert_eq!(lens(log.read(0, 4, 10 * one, false)), [one, one], "up to the limit");
    assert_eq!(lens(log.read(0, 8, one + 5, false)), [one, 5]);
    assert_eq!(lens(log.read(0, 8, 5, true)), [one], "the first comes whole");
    assert_eq!(log.read(8, 8, 100, true), Vec::<Bytes>::new());
}

#[test]
fn epochs_tell_where_each_leader_ended() {
    let mut log = Log::default();
    let write = |log: &mut Log, epoch, n| {
        log.lead(epoch);
        for _ in 0..n {
            log.append(batch(NO_PRODUCER, 0, &[("k", None)]), &RULES, Stamp { leader_epoch: epoch, now_ms: 0 })
                .unwrap();
        }
    };
    write(&mut log, 0, 2);
    write(&mut log, 1, 0);
    write(&mut log, 4, 3);
    assert_eq!(log.epoch_end(0), (0, 2));
    assert_eq!(log.epoch_end(1), (0, 2), "it wrote nothing");
    assert_eq!(log.epoch_end(4), (4, 5));
    assert_eq!((log.epoch_end(5), log.epoch_end(-1)), ((-1, -1), (-1, -1)));
    assert_eq!((log.epoch_at(1), log.epoch_at(2), log.epoch_at(5)), (0, 4, 4));
}

#[test]
fn what_was_not_replicated_is_lost_with_its_leader() {
    let mut log = Log::default();
    log.lead(0);
    append(&mut log, batch(producer(0, 0), 0, &[("a", None)])).unwrap();
    log.append(batch(producer(0, 1), 0, &[("b", None)]), &RULES, stamp()).unwrap();
    assert_eq!((log.high_watermark(), log.end()), (1, 2));
    log.truncate_to_high_watermark();
    log.lead(1);
    assert_eq!((log.end(), log.epoch_end(0)), (1, (0, 1)));
    assert_eq!(append(&mut log, batch(producer(0, 1), 0, &[("b", None)])), Ok(1), "its producer's memory is lost too");
}

#[test]
fn offsets_are_found_by_time() {
    let mut log = Log::default();
    append(&mut log, batch(NO_PRODUCER, 0, &[("a", None), ("b", None), ("c", None)])).unwrap();
    assert_eq!(log.at_time(0), Some((0, 1_000)));
    assert_eq!(log.at_time(1_001), Some((1, 1_001)));
    assert_eq!(log.at_time(1_003), None);
    assert_eq!(log.youngest(), Some((2, 1_002)));
    log.delete_before(2);
    assert_eq!(log.at_time(0), Some((2, 1_002)), "deleted records are not found");
}

/// Found by the simulation: a retry of a batch that had been deleted was appended after a change of leaders.
#[test]
fn a_producer_is_known_by_batches_that_are_deleted_but_not_by_those_that_are_lost() {
    let mut log = Log::default();
    let first = batch(producer(0, 0), 0, &[("a", Some("1"))]);
    let second = batch(producer(0, 1), 0, &[("b", Some("2"))]);
    append(&mut log, first.clone()).unwrap();
    log.delete_before(1);
    assert!(log.append(second.clone(), &RULES, stamp()).is_ok());
    log.truncate_to_high_watermark();
    assert_eq!(append(&mut log, first), Ok(0), "a duplicate of what is deleted");
    assert_eq!(append(&mut log, second), Ok(1), "lost, and written again");
    assert_eq!(log.end(), 2);
}
