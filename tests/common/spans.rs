//! Handler calls of members of this process as spans of time, over all members: whether two members ever had a partition
//! at once, whether a key's order held over every change of owners, and how long each partition stood still.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::log::{HandlerLog, What};

/// One handler call.
#[derive(Debug, Clone)]
pub struct Span {
    /// The index of its log.
    pub member: usize,
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub start: Instant,
    /// None: it was not seen to end.
    pub end: Option<Instant>,
}

/// All handler calls by partition, in the order in which they started.
pub fn by_partition(logs: &[HandlerLog]) -> BTreeMap<i32, Vec<Span>> {
    let mut partitions: BTreeMap<i32, Vec<Span>> = BTreeMap::new();
    for (member, log) in logs.iter().enumerate() {
        let mut open: HashMap<(i32, i64), Span> = HashMap::new();
        for event in log.events() {
            let (place, at) = ((event.partition, event.offset), event.at.unwrap());
            if event.what == What::Start {
                let (partition, offset) = place;
                let span = Span { member, partition, offset, key: event.key, start: at, end: None };
                // A second start of a message whose first call has not ended: both are kept.
                partitions.entry(partition).or_default().extend(open.insert(place, span));
            } else if let Some(mut span) = open.remove(&place) {
                span.end = Some(at);
                partitions.entry(span.partition).or_default().push(span);
            }
        }
        open.into_values().for_each(|span| partitions.entry(span.partition).or_default().push(span));
    }
    partitions.values_mut().for_each(|spans| spans.sort_by_key(|span| span.start));
    partitions
}

/// O: a partition's handler calls at different members do not overlap. What `unclean` members left running when they
/// ended, or were still at when they lost a partition, is not looked at.
pub fn one_owner_at_a_time(logs: &[HandlerLog], unclean: &BTreeSet<usize>) {
    for spans in by_partition(logs).values() {
        let mut last: Option<&Span> = None;
        for span in spans.iter().filter(|span| !unclean.contains(&span.member)) {
            if let Some(other) = last.filter(|other| other.member != span.member) {
                assert!(other.end.is_some_and(|end| end <= span.start), "O: {span:?} began while {other:?} ran");
            }
            // Of one member's calls that overlap, what ends last counts.
            let ends_later = |other: &Span| other.end.is_none_or(|end| span.end.is_some_and(|this| this < end));
            if !last.is_some_and(|other| other.member == span.member && ends_later(other)) {
                last = Some(span);
            }
        }
    }
}

/// K over all changes of owners: calls of one key neither overlap nor swap, whoever made them. Only where nothing is
/// handled twice.
pub fn keys_keep_order(logs: &[HandlerLog]) {
    for spans in by_partition(logs).values() {
        let mut last: HashMap<&str, &Span> = HashMap::new();
        for span in spans.iter().filter(|span| !span.key.is_empty()) {
            if let Some(before) = last.insert(&span.key, span) {
                let follows = before.offset < span.offset && before.end.is_some_and(|end| end <= span.start);
                assert!(follows, "K: {span:?} came after {before:?}");
            }
        }
    }
}

/// D: what a member handled to its end comes again only after an unclean end of that member.
pub fn doubles_only_after(logs: &[HandlerLog], unclean: &BTreeSet<usize>) -> usize {
    let mut doubles = 0;
    for spans in by_partition(logs).values() {
        let mut handled: HashMap<i64, &Span> = HashMap::new();
        for span in spans.iter().filter(|span| span.end.is_some()) {
            if let Some(before) = handled.insert(span.offset, span) {
                assert!(unclean.contains(&before.member), "D: {span:?} was handled before, in {before:?}");
                doubles += 1;
            }
        }
    }
    doubles
}

/// The longest times between two starts of handler calls of one partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gaps {
    /// Where the same member made both calls.
    pub stayed: Duration,
    /// Where different members did.
    pub moved: Duration,
}

pub fn longest_gaps(logs: &[HandlerLog]) -> BTreeMap<i32, Gaps> {
    let gaps = |spans: &Vec<Span>| {
        let mut longest = Gaps::default();
        for pair in spans.windows(2) {
            let gap = pair[1].start - pair[0].start;
            let slot = if pair[0].member == pair[1].member { &mut longest.stayed } else { &mut longest.moved };
            *slot = gap.max(*slot);
        }
        longest
    };
    by_partition(logs).iter().map(|(partition, spans)| (*partition, gaps(spans))).collect()
}
