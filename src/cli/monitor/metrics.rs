//! What was seen, in Prometheus' text format (0.0.4). Groups that could not be looked at are left out, and all of them
//! when what is known is too old: a gap says what an old number would hide.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::seen::SeenPartition;
use super::state::{Group, State};
use super::views::{Mark, mark};

/// Content type of the format.
pub(super) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric under construction.
struct Metric<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl<'a> Metric<'a> {
    fn gauge(out: &'a mut String, name: &'static str, help: &str) -> Self {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        Self { out, name }
    }

    fn put(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.out.push_str(self.name);
        for (i, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{name}=\"{}\"", if i == 0 { '{' } else { ',' }, escape(value));
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

pub(super) fn text(state: &State, now_ms: i64) -> String {
    let out = &mut String::with_capacity(16 << 10);
    let up = u8::from(!state.is_stale(now_ms) && state.error.is_none());
    Metric::gauge(out, "dispatcher_monitor_up", "1 if the last look at the cluster succeeded.").put(&[], up);
    if let Some(seen) = state.seen_ms {
        let help = "When the cluster was last seen, in seconds since 1970.";
        Metric::gauge(out, "dispatcher_monitor_last_success_timestamp_seconds", help).put(&[], seen as f64 / 1_000.0);
    }
    let failed = state.groups.values().filter(|g| g.error.is_some()).count();
    let help = "Groups that the last look could not look at.";
    Metric::gauge(out, "dispatcher_monitor_failed_groups", help).put(&[], failed);
    if state.is_stale(now_ms) {
        return std::mem::take(out);
    }
    let groups: Vec<_> = state.groups.iter().filter(|(_, g)| g.error.is_none()).collect();

    let mut members = Metric::gauge(out, "kafka_consumergroup_members", "Members of a consumer group.");
    groups.iter().for_each(|(name, group)| members.put(&[("group", name)], group.seen.members));

    let help = "Messages of a topic that a group has not committed.";
    let mut sums = Metric::gauge(out, "kafka_consumergroup_lag_sum", help);
    for (name, group) in &groups {
        let mut topics: BTreeMap<&str, i64> = BTreeMap::new();
        group.seen.partitions.iter().for_each(|p| *topics.entry(&p.topic).or_default() += p.lag);
        topics.into_iter().for_each(|(topic, lag)| sums.put(&[("group", name), ("topic", topic)], lag));
    }

    type Value<'a> = &'a dyn Fn(&Group, &SeenPartition) -> Option<i64>;
    let by_partition: [(&str, &str, Value<'_>); 3] = [
        ("kafka_consumergroup_lag", "Messages of a partition that a group has not committed.", &|_, p| Some(p.lag)),
        ("kafka_consumergroup_current_offset", "The offset a group has committed in a partition.", &|_, p| p.committed),
        (
            "kafka_consumergroup_stuck",
            "1 if a group has a lag in a partition and its committed offset has not moved for long.",
            &|group, p| Some(i64::from(mark(state, group, p, now_ms).is_some())),
        ),
    ];
    for (name, help, value) in by_partition {
        let mut metric = Metric::gauge(out, name, help);
        for (group, known) in &groups {
            for p in &known.seen.partitions {
                if let Some(value) = value(known, p) {
                    let number = p.partition.to_string();
                    metric.put(&[("group", group), ("topic", &p.topic), ("partition", &number)], value);
                }
            }
        }
    }

    let help = "The offset of a message that is held, or has been in work for long, while later ones are handled.";
    let mut held = Metric::gauge(out, "kafka_consumergroup_held_offset", help);
    for (group, known) in &groups {
        for p in known.seen.partitions.iter().filter(|p| mark(state, known, p, now_ms) == Some(Mark::Held)) {
            let number = p.partition.to_string();
            held.put(&[("group", group), ("topic", &p.topic), ("partition", &number)], p.committed.unwrap_or(-1));
        }
    }

    let logs: BTreeMap<_, _> = groups
        .iter()
        .flat_map(|(_, g)| &g.seen.partitions)
        .map(|p| ((p.topic.as_str(), p.partition), (p.log_start, p.log_end)))
        .collect();
    for (name, help, of) in [
        ("kafka_topic_partition_current_offset", "Where a partition's log ends.", 1),
        ("kafka_topic_partition_oldest_offset", "Where a partition's log starts.", 0),
    ] {
        let mut metric = Metric::gauge(out, name, help);
        for ((topic, partition), (start, end)) in &logs {
            let value = if of == 0 { start } else { end };
            metric.put(&[("topic", topic), ("partition", &partition.to_string())], value);
        }
    }
    std::mem::take(out)
}

/// A label's value.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::seen::Seen;
    use super::super::state::Settings;
    use super::*;

    #[test]
    fn labels_are_escaped_and_old_numbers_are_not_told() {
        let mut state = State::new(Settings { interval_ms: 5_000, history_ms: 3_600_000, stuck_after_ms: 30_000 });
        assert!(text(&state, 0).contains("dispatcher_monitor_up 0\n"));
        let p = SeenPartition {
            topic: "t".into(),
            partition: 3,
            committed: Some(5),
            log_end: 9,
            lag: 4,
            ..Default::default()
        };
        let seen = Seen { state: "Stable".into(), members: 1, partitions: vec![p] };
        state.observe(0, vec![("a\"b\\c\nd".into(), Ok(seen)), ("e".into(), Err("no".into()))]);
        let told = text(&state, 0);
        for line in [
            "dispatcher_monitor_up 1",
            "dispatcher_monitor_failed_groups 1",
            r#"kafka_consumergroup_lag{group="a\"b\\c\nd",topic="t",partition="3"} 4"#,
            r#"kafka_consumergroup_current_offset{group="a\"b\\c\nd",topic="t",partition="3"} 5"#,
            r#"kafka_topic_partition_current_offset{topic="t",partition="3"} 9"#,
        ] {
            assert!(told.lines().any(|l| l == line), "{line}\n{told}");
        }
        assert!(!told.contains("group=\"e\""));
        assert!(!text(&state, 60_000).contains("kafka_consumergroup_lag"));
    }
}
