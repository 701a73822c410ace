//! The invariants of `ARCHITECTURE.md` as functions over handler logs, acknowledgements and what Kafka holds. Each panics
//! with the letter of the invariant and an example of what breaks it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::log::{Event, HandlerLog, What};
use super::tools::Stored;

/// Where a message lies.
pub type Place = (i32, i64);

/// L: every acknowledged message was handled to its end at least once.
pub fn no_loss(acked: impl IntoIterator<Item = Place>, logs: &[HandlerLog]) {
    let handled = finished(logs);
    let lost: Vec<_> = acked.into_iter().filter(|place| !handled.contains_key(place)).collect();
    assert!(lost.is_empty(), "L: {} acknowledged messages were not handled, such as {:?}", lost.len(), sample(&lost));
}

/// L, and its reverse: what was handled is what was acknowledged.
pub fn handled_is_acked(acked: &[Place], logs: &[HandlerLog]) {
    no_loss(acked.iter().copied(), logs);
    let acked: BTreeSet<_> = acked.iter().collect();
    let strange: Vec<_> = finished(logs).into_keys().filter(|place| !acked.contains(place)).collect();
    assert!(strange.is_empty(), "{} were handled that nobody sent, such as {:?}", strange.len(), sample(&strange));
}

/// D: no message was handled to its end twice, by whomever.
pub fn no_doubles(logs: &[HandlerLog]) {
    let doubles: Vec<_> = finished(logs).into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(doubles.is_empty(), "D: {} messages were handled again, such as {:?}", doubles.len(), sample(&doubles));
}

/// D after a crash: only messages at or past the commit of that moment were handled again.
pub fn doubles_only_from(committed: &BTreeMap<i32, i64>, logs: &[HandlerLog]) {
    for ((partition, offset), times) in finished(logs) {
        let from = committed.get(&partition).copied().unwrap_or(0);
        assert!(
            times == 1 || offset >= from,
            "D: {partition}/{offset} was handled {times} times, committed was {from}"
        );
    }
}

/// C: nothing below a committed offset is unfinished. `logs` must have been taken after `committed` was read.
pub fn commits_do_not_pass_unfinished(committed: &BTreeMap<i32, i64>, stored: &[Place], logs: &[HandlerLog]) {
    let handled = finished(logs);
    for place in stored {
        let passed = committed.get(&place.0).is_some_and(|next| place.1 < *next);
        assert!(
            !passed || handled.contains_key(place),
            "C: {place:?} is unfinished and below the commit {committed:?}"
        );
    }
}

/// What must not overlap or swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Key,
    Partition,
}

/// K: within one member, handler calls of one lane follow each other, in the order of offsets. After a rebalance a member
/// may get offsets again, so going back is looked for only where `replays` says that none can be.
pub fn lanes_keep_order(lane: Lane, replays: bool, logs: &[HandlerLog]) {
    for (member, log) in logs.iter().enumerate() {
        let mut running: HashMap<(i32, String), Event> = HashMap::new();
        let mut last: HashMap<(i32, String), i64> = HashMap::new();
        for event in log.events() {
            let key = if lane == Lane::Key { event.key.clone() } else { String::new() };
            if lane == Lane::Key && key.is_empty() {
                continue;
            }
            let lane = (event.partition, key);
            if event.what == What::Start {
                let other = running.insert(lane.clone(), event.clone());
                assert!(other.is_none(), "K: member {member} started {event:?} while {other:?} ran");
                let before = last.insert(lane, event.offset);
                let swapped = before.is_some_and(|before| before >= event.offset);
                assert!(replays || !swapped, "K: member {member} started {event:?} after offset {before:?}");
            } else {
                let started = running.remove(&lane);
                assert_eq!(started.map(|s| s.offset), Some(event.offset), "K: member {member} ended {event:?}");
            }
        }
    }
}

/// I: the log holds each acknowledged payload exactly once, and one producer's in the order it sent them.
pub fn stored_exactly_once(acked: &[String], stored: &[Stored]) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for record in stored {
        *times.entry(&record.value).or_default() += 1;
    }
    let missing: Vec<_> = acked.iter().filter(|value| !times.contains_key(value.as_str())).collect();
    assert!(missing.is_empty(), "I: {} acknowledged messages are not stored: {:?}", missing.len(), sample(&missing));
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "I: {} messages are stored more than once: {:?}", doubled.len(), sample(&doubled));
}

/// I, order: sequences of one producer rise along each partition.
pub fn stored_in_order(stored: &[Stored]) {
    let mut by_place: Vec<_> = stored.iter().collect();
    by_place.sort_by_key(|record| (record.partition, record.offset));
    let mut last: HashMap<(i32, u32), usize> = HashMap::new();
    for record in by_place {
        let Some((producer, sequence)) = super::parse_payload(record.value.as_bytes()) else { continue };
        let before = last.insert((record.partition, producer), sequence);
        assert!(before.is_none_or(|before| before < sequence), "I: {record:?} lies after its producer's {before:?}");
    }
}

/// How often each message was handled to its end.
pub fn finished(logs: &[HandlerLog]) -> BTreeMap<Place, usize> {
    let mut places = BTreeMap::new();
    for log in logs {
        for event in log.events().iter().filter(|e| e.what == What::Done) {
            *places.entry((event.partition, event.offset)).or_default() += 1;
        }
    }
    places
}

/// Messages whose handler failed at least once.
pub fn failed(logs: &[HandlerLog]) -> BTreeSet<Place> {
    let events = logs.iter().flat_map(HandlerLog::events);
    events.filter(|e| e.what == What::Failed).map(|e| (e.partition, e.offset)).collect()
}

fn sample<T: Clone>(all: &[T]) -> Vec<T> {
    all.iter().take(5).cloned().collect()
}
