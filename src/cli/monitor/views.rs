//! What was seen, as JSON for the page and for scripts, and as the one number that the Go dispatcher asks for.

use serde::Serialize;

use super::seen::SeenPartition;
use super::state::{Curve, Group, Rates, State};

/// Points of a curve in the list of groups.
const SPARK: usize = 60;

/// What a partition is marked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It has a lag and does not move.
    Stuck,
    /// Nor does it move, while messages behind its committed offset are handled: the one at that offset is held, or has
    /// been in work for long.
    Held,
    /// It has a lag, does not move, and nobody owns it.
    NoOwner,
}

/// How a group or a partition is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Unknown,
    Stuck,
    Held,
    NoOwner,
    /// What has a lag is of retry topics, and its next messages are not due.
    Delayed,
    Growing,
    Draining,
    Steady,
    CaughtUp,
}

#[derive(Serialize)]
pub(super) struct Groups<'a> {
    v: u8,
    #[serde(flatten)]
    look: Look<'a>,
    groups: Vec<Summary<'a>>,
}

#[derive(Serialize)]
pub(super) struct Detail<'a> {
    v: u8,
    #[serde(flatten)]
    look: Look<'a>,
    #[serde(flatten)]
    summary: Summary<'a>,
    topics: Vec<Topic<'a>>,
}

/// When the cluster was seen, and whether that is too long ago.
#[derive(Serialize)]
struct Look<'a> {
    now_ms: i64,
    seen_ms: Option<i64>,
    stale: bool,
    interval_ms: i64,
    look_error: Option<&'a str>,
}

#[derive(Serialize)]
struct Summary<'a> {
    group: &'a str,
    state: &'a str,
    status: Status,
    members: usize,
    partitions: usize,
    /// Of the partitions.
    stuck: usize,
    no_owner: usize,
    total_lag: i64,
    #[serde(flatten)]
    pace: Pace,
    error: Option<&'a str>,
    history: Vec<(i64, i64)>,
}

#[derive(Serialize)]
struct Topic<'a> {
    topic: &'a str,
    total_lag: i64,
    #[serde(flatten)]
    pace: Pace,
    partitions: Vec<Partition<'a>>,
}

#[derive(Serialize)]
struct Partition<'a> {
    partition: i32,
    log_start: i64,
    log_end: i64,
    committed: Option<i64>,
    lag: i64,
    #[serde(flatten)]
    pace: Pace,
    status: Status,
    /// The offset that a trouble is about.
    at_offset: Option<i64>,
    /// For how long it has had a lag and not moved.
    unmoved_ms: Option<i64>,
    /// Until when its next message waits for its delay.
    delayed_until_ms: Option<i64>,
    member_id: Option<&'a str>,
    client_id: Option<&'a str>,
    host: Option<&'a str>,
    history: Vec<(i64, i64)>,
}

/// Messages a second, and seconds until nothing is left at this pace; null where that is never, or not known yet.
#[derive(Serialize)]
struct Pace {
    consumed_per_s: Option<f64>,
    produced_per_s: Option<f64>,
    drained_in_s: Option<f64>,
}

impl Pace {
    /// `blocked`: a part of it stands still or waits, whatever else moves.
    fn new(rates: Option<Rates>, lag: i64, blocked: bool) -> Self {
        // Not more digits than there is meaning.
        let round = |n: f64| (n * 1_000.0).round() / 1_000.0;
        let net = rates.map(|r| r.consumed - r.produced).filter(|net| *net > 0.0 && !blocked);
        Self {
            consumed_per_s: rates.map(|r| round(r.consumed)),
            produced_per_s: rates.map(|r| round(r.produced)),
            drained_in_s: if lag == 0 { Some(0.0) } else { net.map(|net| round(lag as f64 / net)) },
        }
    }
}

/// A partition's mark at this time.
pub(super) fn mark(state: &State, group: &Group, p: &SeenPartition, now_ms: i64) -> Option<Mark> {
    let track = group.track(p)?;
    // A delay is no reason for having no owner.
    if has_no_owner(group, p) {
        let since = track.behind_since_ms?;
        return (now_ms - since >= state.settings.stuck_after_ms).then_some(Mark::NoOwner);
    }
    track.stuck_ms(now_ms, &state.settings)?;
    Some(if p.finished_ahead { Mark::Held } else { Mark::Stuck })
}

/// While a group deals its partitions out anew nobody owns any, and that says nothing.
fn has_no_owner(group: &Group, p: &SeenPartition) -> bool {
    p.owner.is_none() && matches!(group.seen.state.as_str(), "Stable" | "Empty" | "Dead")
}

/// Until when a partition that stands still is meant to. One that nobody owns will not go on then.
fn delay(group: &Group, p: &SeenPartition, now_ms: i64) -> Option<i64> {
    if has_no_owner(group, p) {
        return None;
    }
    group.track(p)?.delayed_until_ms(now_ms)
}

/// All groups, those with trouble first, then by lag.
pub(super) fn groups(state: &State, now_ms: i64) -> Groups<'_> {
    let mut groups: Vec<_> = state.groups.iter().map(|(n, g)| summary(state, n, g, now_ms, SPARK)).collect();
    let trouble = |s: &Summary<'_>| matches!(s.status, Status::Unknown | Status::Stuck | Status::NoOwner);
    groups.sort_by_key(|s| (!trouble(s), std::cmp::Reverse(s.total_lag)));
    Groups { v: 1, look: look(state, now_ms), groups }
}

/// One group; `None` if it is not known.
pub(super) fn detail<'a>(state: &'a State, name: &str, now_ms: i64) -> Option<Detail<'a>> {
    let (name, group) = state.groups.get_key_value(name)?;
    let mut topics: Vec<Topic<'a>> = Vec::new();
    for of_topic in group.seen.partitions.chunk_by(|a, b| a.topic == b.topic) {
        let topic = of_topic[0].topic.as_str();
        let total_lag = of_topic.iter().map(|p| p.lag).sum();
        let stands = |p| mark(state, group, p, now_ms).is_some() || delay(group, p, now_ms).is_some();
        let blocked = of_topic.iter().any(stands);
        let pace = Pace::new(group.rates(Some(topic)), total_lag, blocked);
        let partitions = of_topic.iter().map(|p| partition(state, group, p, now_ms)).collect();
        topics.push(Topic { topic, total_lag, pace, partitions });
    }
    let summary = summary(state, name, group, now_ms, usize::MAX);
    Some(Detail { v: 1, look: look(state, now_ms), summary, topics })
}

fn look(state: &State, now_ms: i64) -> Look<'_> {
    Look {
        now_ms,
        seen_ms: state.seen_ms,
        stale: state.is_stale(now_ms),
        interval_ms: state.settings.interval_ms,
        look_error: state.error.as_deref(),
    }
}

fn summary<'a>(state: &State, name: &'a str, group: &'a Group, now_ms: i64, points: usize) -> Summary<'a> {
    let total_lag = group.total_lag();
    let marks: Vec<_> = group.seen.partitions.iter().filter_map(|p| mark(state, group, p, now_ms)).collect();
    let no_owner = marks.iter().filter(|m| **m == Mark::NoOwner).count();
    let stuck = marks.len() - no_owner;
    let rates = group.rates(None);
    let mut behind = group.seen.partitions.iter().filter(|p| p.lag > 0).map(|p| delay(group, p, now_ms).is_some());
    let some_delayed = behind.clone().any(|delayed| delayed);
    let all_delayed = some_delayed && behind.all(|delayed| delayed);
    Summary {
        group: name,
        state: &group.seen.state,
        status: match status(group, total_lag, stuck, no_owner, rates) {
            Status::Growing | Status::Draining | Status::Steady if all_delayed => Status::Delayed,
            other => other,
        },
        members: group.seen.members,
        partitions: group.seen.partitions.len(),
        stuck,
        no_owner,
        total_lag,
        pace: Pace::new(rates, total_lag, some_delayed || !marks.is_empty()),
        error: group.error.as_deref(),
        history: history(group.lags.as_ref(), points),
    }
}

fn status(group: &Group, total_lag: i64, stuck: usize, no_owner: usize, rates: Option<Rates>) -> Status {
    if group.error.is_some() {
        return Status::Unknown;
    }
    match (stuck, no_owner, total_lag) {
        (1.., _, _) => return Status::Stuck,
        (_, 1.., _) => return Status::NoOwner,
        (_, _, ..=0) => return Status::CaughtUp,
        _ => {}
    }
    trend(rates)
}

fn trend(rates: Option<Rates>) -> Status {
    let Some(Rates { consumed, produced }) = rates else { return Status::Steady };
    // A percent more or less is the time between two looks.
    let grows = produced - consumed;
    match grows.abs() > (produced.max(consumed) / 100.0).max(0.05) {
        true if grows > 0.0 => Status::Growing,
        true => Status::Draining,
        false => Status::Steady,
    }
}

fn partition<'a>(state: &State, group: &'a Group, p: &'a SeenPartition, now_ms: i64) -> Partition<'a> {
    let track = group.track(p);
    let mark = mark(state, group, p, now_ms);
    let rates = track.and_then(|t| t.rates());
    let delayed_until_ms = delay(group, p, now_ms);
    let status = match mark {
        Some(Mark::Stuck) => Status::Stuck,
        Some(Mark::Held) => Status::Held,
        Some(Mark::NoOwner) => Status::NoOwner,
        None if p.lag == 0 => Status::CaughtUp,
        None if delayed_until_ms.is_some() => Status::Delayed,
        None => trend(rates),
    };
    Partition {
        partition: p.partition,
        log_start: p.log_start,
        log_end: p.log_end,
        committed: p.committed,
        lag: p.lag,
        pace: Pace::new(rates, p.lag, mark.is_some() || delayed_until_ms.is_some()),
        status,
        at_offset: mark.map(|_| p.committed.unwrap_or(p.log_start)),
        unmoved_ms: track.and_then(|t| t.behind_since_ms).map(|since| now_ms - since),
        delayed_until_ms,
        member_id: p.owner.as_ref().map(|o| o.member_id.as_str()),
        client_id: p.owner.as_ref().map(|o| o.client_id.as_str()),
        host: p.owner.as_ref().map(|o| o.host.as_str()),
        history: history(track.and_then(|t| t.lags.as_ref()), SPARK),
    }
}

fn history(curve: Option<&Curve>, points: usize) -> Vec<(i64, i64)> {
    curve.map(|curve| curve.thinned(points)).unwrap_or_default()
}

/// The lag of a group with a topic as a plain number, or why there is none: a status and a text.
pub(super) fn go_lag(state: &State, group: &str, topic: &str, now_ms: i64) -> Result<String, (u16, String)> {
    if state.is_stale(now_ms) {
        let why = state.error.as_deref().unwrap_or("it has not answered yet");
        return Err((503, format!("nothing recent is known of the cluster: {why}")));
    }
    // 400 is the one status whose text the Go library passes on.
    let unknown = |what: String| Err((400, what));
    let Some(known) = state.groups.get(group) else {
        return unknown(format!("there is no group {group:?}: use Kafka's name of it, <group>:<topic>"));
    };
    if let Some(error) = &known.error {
        return Err((503, format!("group {group:?} could not be looked at: {error}")));
    }
    let mut lags = known.seen.partitions.iter().filter(|p| p.topic == topic).map(|p| p.lag).peekable();
    match lags.peek() {
        Some(_) => Ok(lags.sum::<i64>().to_string()),
        None => unknown(format!("group {group:?} has committed nothing of topic {topic:?} and owns none of it")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::{Owner, Seen};
    use super::super::state::Settings;
    use super::*;

    #[test]
    fn a_delayed_partition_that_nobody_owns_has_no_owner() {
        let p = |owner| SeenPartition {
            topic: "t".into(),
            log_end: 4,
            lag: 4,
            owner,
            waits_until_ms: Some(600_000),
            ..SeenPartition::default()
        };
        let status = |group: &str, owner: Option<Owner>| {
            let mut state = State::new(Settings { interval_ms: 5_000, history_ms: 3_600_000, stuck_after_ms: 30_000 });
            for now in [0, 30_000] {
                let seen = Seen { state: group.into(), members: 1, partitions: vec![p(owner.clone())] };
                state.observe(now, vec![("g".into(), Ok(seen))]);
            }
            let detail = detail(&state, "g", 30_000).unwrap();
            let partition = &detail.topics[0].partitions[0];
            (detail.summary.status, partition.status, partition.delayed_until_ms)
        };
        assert_eq!(status("Empty", None), (Status::NoOwner, Status::NoOwner, None));
        let delayed = (Status::Delayed, Status::Delayed, Some(600_000));
        assert_eq!(status("Stable", Some(Owner::default())), delayed);
        assert_eq!(status("PreparingRebalance", None), delayed, "it deals them out anew");
    }
}
