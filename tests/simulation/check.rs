//! What is judged when a run is over: nothing lost (L), nothing doubled or out of order in the log (I), commits that
//! never ran ahead (C).

use std::collections::{BTreeMap, BTreeSet};

use dispatcher::Order;
use dispatcher::embedded::{KafkaVersion, StoredRecord};

use crate::plan::Mood;
use crate::world::{Ctx, Outcome, World};

pub(crate) fn judge(ctx: &Ctx) {
    let present = ctx.everything();
    let world = ctx.world();
    let mut wrong: Vec<(&str, String)> = Vec::new();
    let lost: BTreeSet<(i32, i64)> = world.lost.iter().map(|(p, r)| (*p, r.offset)).collect();
    let mut log: Vec<(i32, &StoredRecord)> = world.lost.iter().map(|(p, r)| (*p, r)).collect();
    log.extend(present.iter().map(|(p, r)| (*p, r)));
    log.sort_by_key(|(p, r)| (*p, r.offset));
    idempotence(&world, &log, &mut wrong);
    if !ctx.plan.confuses_topics() {
        handled(ctx, &world, &log, &lost, &mut wrong);
    }
    if world.running() > 0 {
        wrong.push(("P", format!("{} handlers still run", world.running())));
    }
    // Without topic ids nothing is kept about messages that were finished ahead of one that had not begun.
    let keeps_finished = ctx.plan.version >= KafkaVersion::V2_8 || ctx.plan.group.order == Order::Partition;
    if ctx.plan.mood == Mood::Calm && keeps_finished {
        for ((p, offset), record) in world.records.iter().filter(|(_, r)| r.starts > 1) {
            wrong.push(("D", format!("{p}/{offset} was handled {} times although all went well", record.starts)));
        }
    }
    drop(world);
    wrong.into_iter().for_each(|(invariant, what)| ctx.violated(invariant, what));
}

fn id(record: &StoredRecord) -> String {
    let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    value.split(' ').next().unwrap_or_default().to_owned()
}

fn idempotence(world: &World, log: &[(i32, &StoredRecord)], wrong: &mut Vec<(&'static str, String)>) {
    let mut places: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
    for (p, record) in log {
        places.entry(id(record)).or_default().push((*p, record.offset));
    }
    let mut last: BTreeMap<(usize, i32), (i64, &str)> = BTreeMap::new();
    for send in &world.sends {
        let found = places.get(&send.id).map_or(&[][..], Vec::as_slice);
        let current = send.recreations == world.recreations;
        if found.len() > 1 {
            wrong.push(("I", format!("{} is in the log {} times: {found:?}", send.id, found.len())));
        }
        match &send.outcome {
            Outcome::NotWritten if !found.is_empty() => {
                wrong.push(("I", format!("{} was not written by its report, but is at {found:?}", send.id)));
            }
            Outcome::Acked(partition, _) if current && found.iter().all(|(p, _)| p != partition) => {
                wrong.push(("I", format!("{} is acknowledged, but not in partition {partition}: {found:?}", send.id)));
            }
            Outcome::Acked(partition, Some(offset)) if current && !found.contains(&(*partition, *offset)) => {
                wrong.push(("I", format!("{} is acknowledged at {partition}/{offset}, but at {found:?}", send.id)));
            }
            // A topic that was made again knows nothing of its producers' earlier sequences, nor of their order.
            Outcome::Acked(..) if world.recreations == 0 => {
                for (p, offset) in found {
                    let before = last.insert((send.producer, *p), (*offset, &send.id));
                    if let Some((before, other)) = before.filter(|(before, _)| before > offset) {
                        let text = format!("{} at {p}/{offset} was sent after {other} at {p}/{before}", send.id);
                        wrong.push(("I", text));
                    }
                }
            }
            _ => {}
        }
    }
}

fn handled(
    ctx: &Ctx,
    world: &World,
    log: &[(i32, &StoredRecord)],
    lost: &BTreeSet<(i32, i64)>,
    wrong: &mut Vec<(&'static str, String)>,
) {
    let mut first_commit: BTreeMap<i32, i64> = BTreeMap::new();
    for (_, p, offset) in &world.commits {
        first_commit.entry(*p).or_insert(*offset);
    }
    let skips = ctx.plan.group.skip_existing;
    let former = former_commits(world, log);
    for (p, record) in log {
        let (p, offset) = (*p, record.offset);
        if lost.contains(&(p, offset)) || (skips && first_commit.get(&p).is_none_or(|first| offset < *first)) {
            continue;
        }
        if former.get(&p).is_some_and(|committed| offset < *committed) {
            continue;
        }
        let acked = || world.sends.iter().any(|s| s.id == id(record) && matches!(s.outcome, Outcome::Acked(..)));
        if world.ends.get(&p).is_some_and(|end| offset >= *end) && !acked() {
            continue;
        }
        let finished = world.records.get(&(p, offset)).filter(|r| r.id == id(record)).and_then(|r| r.finished);
        let Some(finished) = finished else {
            wrong.push(("L", format!("{} at {p}/{offset} was not handled", id(record))));
            continue;
        };
        if world.recreations > 0 {
            // Commits of the former topic may come after it was made again, by name.
            continue;
        }
        let passed = world.commits.iter().find(|(_, q, committed)| *q == p && *committed > offset);
        if let Some((stamp, ..)) = passed.filter(|(stamp, ..)| *stamp < finished) {
            wrong
                .push(("C", format!("{p}/{offset} was committed (event {stamp}) before it was finished ({finished})")));
        }
    }
}

/// Offsets that members committed for the topic's former self after it was made again: by name, as long as they did not
/// know. No broker can tell, and the next owner believes what lies within the new log. As with every Kafka client.
fn former_commits(world: &World, log: &[(i32, &StoredRecord)]) -> BTreeMap<i32, i64> {
    let ids: BTreeMap<(i32, i64), String> = log.iter().map(|(p, r)| ((*p, r.offset), id(r))).collect();
    let mut former = BTreeMap::new();
    for (stamp, p, committed) in world.commits.iter().filter(|_| world.recreations > 0) {
        let at = (*p, committed - 1);
        let last = world.records.get(&at).filter(|r| ids.get(&at) == Some(&r.id)).and_then(|r| r.finished);
        if last.is_none_or(|finished| finished > *stamp) {
            let highest = former.entry(*p).or_insert(*committed);
            *highest = (*highest).max(*committed);
        }
    }
    former
}
