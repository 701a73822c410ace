//! `status`: how far a consumer group has got with a topic.

use serde::Serialize;

use super::args::{Common, StatusArgs};
use super::connect;
use super::exit::Outcome;
use super::output::print_row;
use crate::{ConsumeStatus, GroupMember, PartitionStatus};

#[derive(Serialize)]
struct Status<'a> {
    v: u8,
    topic: &'a str,
    group: Option<&'a str>,
    state: Option<&'a str>,
    members: Option<Vec<Member<'a>>>,
    partitions: Vec<Partition<'a>>,
    total_lag: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct Member<'a> {
    member_id: &'a str,
    client_id: &'a str,
    host: &'a str,
    instance_id: Option<&'a str>,
    partitions: Vec<i32>,
}

impl<'a> Member<'a> {
    /// `topic`: only partitions of it; None: of all topics.
    pub(super) fn new(member: &'a GroupMember, topic: Option<&str>) -> Self {
        let of_topic = |assigned: &&(String, i32)| topic.is_none_or(|t| t == assigned.0);
        Self {
            member_id: member.member_id(),
            client_id: member.client_id(),
            host: member.host(),
            instance_id: member.instance_id(),
            partitions: member.partitions().iter().filter(of_topic).map(|(_, partition)| *partition).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Partition<'a> {
    partition: i32,
    log_start: i64,
    log_end: i64,
    last_stable: i64,
    committed: Option<i64>,
    lag: Option<i64>,
    member_id: Option<&'a str>,
}

impl<'a> Partition<'a> {
    pub(super) fn new(p: &'a PartitionStatus) -> Self {
        Self {
            partition: p.partition(),
            log_start: p.log_start(),
            log_end: p.log_end(),
            last_stable: p.last_stable(),
            committed: p.committed(),
            lag: p.lag(),
            member_id: p.member_id(),
        }
    }
}

pub(super) async fn run(all: &Common, args: StatusArgs) -> Outcome {
    let dispatcher = connect::connect_admin(all).await?;
    let status = match (&args.group, &args.group_exact) {
        (Some(group), _) => dispatcher.consume_status(&args.topic, group).await,
        (None, Some(group)) => dispatcher.consume_status_exact(&args.topic, group).await,
        (None, None) => dispatcher.topic_status(&args.topic).await,
    };
    connect::close(dispatcher).await;
    let status = status?;
    let row = Status {
        v: 1,
        topic: status.topic(),
        group: status.group(),
        state: status.state(),
        members: status
            .group()
            .map(|_| status.members().iter().map(|m| Member::new(m, Some(status.topic()))).collect()),
        partitions: status.partitions().iter().map(Partition::new).collect(),
        total_lag: status.group().map(|_| status.total_lag()),
    };
    Ok(print_row(all.json, &row, || text(&status))?)
}

fn text(status: &ConsumeStatus) -> String {
    let mut out = format!("topic {}", status.topic());
    if let Some(group) = status.group() {
        let (state, members) = (status.state().unwrap_or("?"), status.members().len());
        out += &format!("\ngroup {group}: {state}, {members} members, total lag {}", status.total_lag());
    }
    out + "\n" + &table(status.partitions())
}

/// Partitions as a table, without a newline at its end.
pub(super) fn table(partitions: &[PartitionStatus]) -> String {
    let heads = ["PARTITION", "LOG-START", "LOG-END", "LAST-STABLE", "COMMITTED", "LAG", "MEMBER"];
    let mut rows = vec![heads.map(str::to_owned)];
    let or_dash = |n: Option<i64>| n.map_or("-".to_owned(), |n| n.to_string());
    rows.extend(partitions.iter().map(|p| {
        [
            p.partition().to_string(),
            p.log_start().to_string(),
            p.log_end().to_string(),
            p.last_stable().to_string(),
            or_dash(p.committed()),
            or_dash(p.lag()),
            p.member_id().unwrap_or("-").to_owned(),
        ]
    }));
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().map(|cell| format!("{cell:<11}")).collect();
        cells.join(" ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
