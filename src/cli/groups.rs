//! `groups`: consumer groups, as Kafka names them.

use serde::Serialize;

use super::args::{Common, GroupsCommand};
use super::connect;
use super::exit::{Exit, Outcome};
use super::output::print_row;
use super::status::{Member, Partition, table};
use crate::{Dispatcher, GroupDescription, GroupInfo, ResetTo};

#[derive(Serialize)]
struct Listed<'a> {
    v: u8,
    group: &'a str,
    state: &'a str,
    protocol: &'a str,
}

#[derive(Serialize)]
struct Described<'a> {
    v: u8,
    group: &'a str,
    state: &'a str,
    members: Vec<Member<'a>>,
    topics: Vec<Topic<'a>>,
}

#[derive(Serialize)]
struct Topic<'a> {
    topic: &'a str,
    partitions: Vec<Partition<'a>>,
    total_lag: i64,
}

#[derive(Serialize)]
struct Deleted<'a> {
    v: u8,
    group: &'a str,
    deleted: bool,
}

#[derive(Serialize)]
struct Reset<'a> {
    v: u8,
    group: &'a str,
    topic: &'a str,
    partition: i32,
    committed: i64,
}

pub(super) async fn run(all: &Common, command: GroupsCommand) -> Outcome {
    let to = match &command {
        GroupsCommand::Reset { to, .. } => Some(target(to)?),
        _ => None,
    };
    let dispatcher = connect::connect_admin(all).await?;
    let outcome = execute(all, &dispatcher, command, to).await;
    connect::close(dispatcher).await;
    outcome
}

async fn execute(all: &Common, dispatcher: &Dispatcher, command: GroupsCommand, to: Option<ResetTo>) -> Outcome {
    match (command, to) {
        (GroupsCommand::List, _) => list(all, &dispatcher.groups().await?),
        (GroupsCommand::Describe { group }, _) => describe(all, &dispatcher.describe_group(&group).await?),
        (GroupsCommand::Delete { group }, _) => {
            dispatcher.delete_group(&group).await?;
            Ok(print_row(all.json, &Deleted { v: 1, group: &group, deleted: true }, || format!("{group}: deleted"))?)
        }
        (GroupsCommand::Reset { group, topic, .. }, Some(to)) => {
            for (partition, committed) in dispatcher.reset_group(&group, &topic, to).await? {
                let row = Reset { v: 1, group: &group, topic: &topic, partition, committed };
                print_row(all.json, &row, || format!("{group} {topic}-{partition}: {committed}"))?;
            }
            Ok(())
        }
        (GroupsCommand::Reset { .. }, None) => Ok(()),
    }
}

fn list(all: &Common, groups: &[GroupInfo]) -> Outcome {
    for found in groups {
        let (group, state, protocol) = (found.group(), found.state(), found.protocol());
        print_row(all.json, &Listed { v: 1, group, state, protocol }, || format!("{group}: {state} ({protocol})"))?;
    }
    Ok(())
}

fn describe(all: &Common, group: &GroupDescription) -> Outcome {
    let row = Described {
        v: 1,
        group: group.group(),
        state: group.state(),
        members: group.members().iter().map(|m| Member::new(m, None)).collect(),
        topics: group
            .topics()
            .iter()
            .map(|t| Topic {
                topic: t.topic(),
                partitions: t.partitions().iter().map(Partition::new).collect(),
                total_lag: t.total_lag(),
            })
            .collect(),
    };
    let text = || {
        let mut out = format!("group {}: {}, {} members", group.group(), group.state(), group.members().len());
        for topic in group.topics() {
            out +=
                &format!("\ntopic {}: total lag {}\n{}", topic.topic(), topic.total_lag(), table(topic.partitions()));
        }
        out
    };
    Ok(print_row(all.json, &row, text)?)
}

/// `oldest`, `newest`, an offset, an RFC 3339 time, or how long ago.
fn target(text: &str) -> Outcome<ResetTo> {
    match text {
        "oldest" => return Ok(ResetTo::Oldest),
        "newest" => return Ok(ResetTo::Newest),
        _ => {}
    }
    if let Ok(offset) = text.parse::<i64>()
        && offset >= 0
    {
        return Ok(ResetTo::Offset(offset));
    }
    if let Ok(ago) = super::units::duration(text) {
        return Ok(ResetTo::Ago(ago));
    }
    match crate::envelope::GoTime::parse(text.as_bytes()).and_then(crate::envelope::GoTime::unix_ms) {
        Some(ms) if ms >= 0 => Ok(ResetTo::TimestampMs(ms)),
        _ => {
            let text = format!("--to {text}: use oldest, newest, an offset, a time like 2026-01-31T08:00:00Z");
            Err(Exit::usage(format!("{text}, or how long ago, like 90m")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_word_an_offset_a_time_or_a_duration() {
        assert!(matches!(target("oldest"), Ok(ResetTo::Oldest)));
        assert!(matches!(target("90m"), Ok(ResetTo::Ago(ago)) if ago.as_secs() == 5_400));
        assert!(matches!(target("42"), Ok(ResetTo::Offset(42))));
        assert!(matches!(target("1970-01-01T00:00:01Z"), Ok(ResetTo::TimestampMs(1000))));
        for bad in ["-1", "yesterday", "2026-01-31", ""] {
            assert_eq!(target(bad).unwrap_err().code, 2, "{bad}");
        }
    }
}
