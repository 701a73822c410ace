//! Promises of reading a partition's records.

use super::super::testing::{concat, corrupted, data, emptied, marker};
use super::*;

fn stop(records: Bytes, from: i64) -> Scan {
    scan(records, from, Some(AbortedFilter::new(Vec::new())), OnBadBatch::Stop)
}

fn aborted(list: &[(i64, i64)]) -> Option<AbortedFilter> {
    let of = |&(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset };
    Some(AbortedFilter::new(list.iter().map(of).collect()))
}

fn bases(scan: &Scan) -> Vec<i64> {
    scan.kept.iter().map(|b| b.header().base_offset).collect()
}

/// Offsets of all records a reader would see.
fn offsets(scan: Scan, from: i64) -> Vec<i64> {
    let mut out = Vec::new();
    for raw in scan.kept {
        let Some(opened) = open(raw, from, &Limits::default()).unwrap() else { continue };
        let mut at = opened.start;
        let before = out.len();
        while let Some(record) = opened.batch.next(&mut at).unwrap() {
            out.push(record.offset);
        }
        assert_eq!(out.len() - before, opened.count as usize);
    }
    out
}

#[test]
fn a_first_batch_that_begins_earlier_is_entered_at_the_asked_offset() {
    let found = stop(concat(&[data(10, 5, -1), data(15, 3, -1)]), 12);
    assert_eq!((found.next_offset, found.leader_epoch), (18, 5));
    assert_eq!(offsets(found, 12), [12, 13, 14, 15, 16, 17]);
}

#[test]
fn a_cut_last_batch_is_left_for_the_next_fetch() {
    let mut bytes = concat(&[data(0, 5, -1), data(5, 5, -1)]).to_vec();
    bytes.truncate(bytes.len() - 1);
    let found = stop(bytes.into(), 0);
    assert_eq!((bases(&found), found.next_offset, found.starved), (vec![0], 5, false));
}

#[test]
fn a_batch_cut_off_with_nothing_before_it_asks_for_a_larger_limit() {
    for keep in [5, 30, 100] {
        let mut bytes = data(0, 5, -1);
        bytes.truncate(keep);
        let found = stop(bytes.into(), 0);
        assert!(found.starved && found.bad.is_none() && found.next_offset == 0);
    }
    assert!(!stop(Bytes::new(), 0).starved);
}

#[test]
fn batches_without_records_and_markers_advance_the_offset() {
    let found = stop(concat(&[emptied(0, 7), marker(7, 3, true), emptied(8, 2)]), 0);
    assert_eq!((found.kept.len(), found.next_offset, found.starved), (0, 10, false));
}

#[test]
fn a_batch_compacted_below_the_asked_offset_gives_nothing_but_progress() {
    let mut batch = data(0, 2, -1);
    batch[23..27].copy_from_slice(&9i32.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let found = stop(batch.into(), 5);
    assert_eq!(found.next_offset, 10);
    assert!(offsets(found, 5).is_empty());
}

#[test]
fn records_of_aborted_transactions_are_hidden_until_their_marker() {
    let log = || {
        concat(&[
            data(0, 2, 1),
            data(2, 2, 2),
            data(4, 1, -1),
            marker(5, 1, false),
            data(6, 1, 1),
            marker(7, 2, true),
            marker(8, 1, true),
        ])
    };
    let found = scan(log(), 0, aborted(&[(1, 0)]), OnBadBatch::Stop);
    assert_eq!(bases(&found), [2, 4, 6], "producer 1's next transaction is not hidden");
    assert_eq!(found.next_offset, 9);
    let found = scan(log(), 0, None, OnBadBatch::Stop);
    assert_eq!(bases(&found), [0, 2, 4, 6], "read_uncommitted sees all data");
}

#[test]
fn a_transaction_aborted_later_in_the_log_does_not_hide_an_earlier_one() {
    let log = concat(&[data(0, 2, 1), marker(2, 1, true), data(3, 2, 1), marker(5, 1, false)]);
    let found = scan(log, 0, aborted(&[(1, 3)]), OnBadBatch::Stop);
    assert_eq!((bases(&found), found.next_offset), (vec![0], 6));
}

#[test]
fn reading_from_the_middle_of_an_aborted_transaction_hides_the_rest() {
    let log = concat(&[data(4, 2, 1), marker(6, 1, false), data(7, 1, 1)]);
    assert_eq!(bases(&scan(log, 4, aborted(&[(1, 0)]), OnBadBatch::Stop)), [7]);
}

#[test]
fn a_corrupt_batch_is_found_when_it_is_opened_and_names_its_offset() {
    let found = stop(concat(&[data(0, 2, -1), corrupted(data(2, 2, -1))]), 0);
    let [good, bad]: [RawBatch; 2] = found.kept.try_into().unwrap();
    assert!(open(good, 0, &Limits::default()).unwrap().is_some());
    let bad = open(bad, 0, &Limits::default()).unwrap_err();
    assert!(bad.offset == 2 && matches!(bad.error, RecordsError::BadCrc { .. }));
}

#[test]
fn a_corrupt_marker_or_aborted_batch_is_not_believed() {
    for batch in [corrupted(marker(2, 1, false)), corrupted(data(2, 2, 1))] {
        let log = concat(&[data(0, 2, 1), batch, data(4, 2, 1)]);
        let found = scan(log.clone(), 0, aborted(&[(1, 0)]), OnBadBatch::Stop);
        assert_eq!((found.next_offset, found.bad.as_ref().map(|b| b.offset)), (2, Some(2)));
        let found = scan(log, 0, aborted(&[(1, 0)]), OnBadBatch::Skip);
        assert_eq!((found.next_offset, found.skipped.len(), found.bad), (6, 1, None));
    }
}

#[test]
fn an_old_format_stops_or_is_passed_by_its_offset() {
    let mut old = data(3, 1, -1);
    old[16] = 1;
    let log = concat(&[data(0, 3, -1), old]);
    let found = stop(log.clone(), 0);
    assert_eq!(found.bad, Some(BadBatch { offset: 3, error: RecordsError::UnknownMagic(1) }));
    let found = scan(log, 0, None, OnBadBatch::Skip);
    assert_eq!((found.next_offset, found.bad), (4, None));
}

#[test]
fn a_batch_sent_twice_is_read_once() {
    let found = stop(concat(&[data(0, 3, -1), data(0, 3, -1), data(3, 1, -1)]), 0);
    assert_eq!(offsets(found, 0), [0, 1, 2, 3]);
}

#[test]
fn garbage_never_panics() {
    let mut rng = fastrand::Rng::with_seed(7);
    let good = concat(&[data(0, 3, 1), marker(3, 1, false), data(4, 3, -1)]);
    for _ in 0..20_000 {
        let mut bytes = good.to_vec();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            bytes[at] = rng.u8(..);
        }
        bytes.truncate(rng.usize(..=bytes.len()));
        let from = rng.i64(0..8);
        let found =
            scan(bytes.into(), from, aborted(&[(1, 0)]), if rng.bool() { OnBadBatch::Stop } else { OnBadBatch::Skip });
        assert!(found.next_offset >= from);
        for raw in found.kept {
            let _ = open(raw, from, &Limits::default());
        }
    }
}
