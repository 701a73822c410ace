//! Questions to a partition's leader about its log: ends, times, and the ends of leader epochs. Asked when a reader starts
//! or has lost its place, never on the way of records.

use crate::client::types::{Isolation, OffsetAt, Position, TopicPartition};
use crate::client::{Cluster, Use};
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;
use crate::wire::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest, list_offsets, offset_for_leader_epoch};

use super::reading::LogFacts;

/// A partition's leader, and a connection to it for short questions.
struct Leader {
    connection: Connection,
    epoch: i32,
    topic_id: crate::client::TopicId,
}

async fn leader(cluster: &Cluster, tp: &TopicPartition) -> Result<Leader> {
    let topic = cluster.topic(&tp.topic).await?;
    let partition = topic.partition(tp.partition).ok_or_else(|| {
        let (name, count) = (&tp.topic, topic.partitions.len());
        Error::new(ErrorKind::UnknownTopic, format!("{tp} does not exist: {name} has {count} partitions"))
    })?;
    if partition.leader < 0 {
        cluster.refresh();
        return Err(Error::new(ErrorKind::Connection, format!("{tp} has no leader at present")));
    }
    let connection = cluster.connection(partition.leader, Use::Control).await?;
    Ok(Leader { connection, epoch: partition.leader_epoch, topic_id: topic.id })
}

/// The offset at a place in the log; `None` if no record is that young. Retries within the request timeout. Cancel-safe.
pub(crate) async fn list_offset(
    cluster: &Cluster,
    tp: &TopicPartition,
    at: OffsetAt,
    isolation: Isolation,
) -> Result<Option<Position>> {
    let limit = cluster.config().request_timeout;
    cluster.retrying(&format!("looking up an offset of {tp}"), limit, || list_once(cluster, tp, at, isolation)).await
}

async fn list_once(
    cluster: &Cluster,
    tp: &TopicPartition,
    at: OffsetAt,
    isolation: Isolation,
) -> Result<Option<Position>> {
    let leader = leader(cluster, tp).await?;
    let timestamp = match at {
        OffsetAt::Latest => -1,
        OffsetAt::Earliest => -2,
        OffsetAt::Timestamp(ms) => ms.max(0),
    };
    let partition = list_offsets::RequestPartition {
        partition_index: tp.partition,
        current_leader_epoch: leader.epoch,
        timestamp,
        ..Default::default()
    };
    let topic =
        list_offsets::RequestTopic { name: tp.topic.clone().into(), partitions: vec![partition], ..Default::default() };
    let timeout = cluster.config().request_timeout;
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(isolation == Isolation::ReadCommitted),
        topics: vec![topic],
        timeout_ms: timeout.as_millis() as i32,
        ..Default::default()
    };
    let response = leader.connection.ask(&request, timeout).await?;
    let partitions = response.topics.into_iter().flat_map(|t| t.partitions);
    let answer = partitions.into_iter().find(|p| p.partition_index == tp.partition).ok_or_else(|| missing(tp))?;
    answer.error_code.ok().map_err(|code| Error::from_code(code, format_args!("ListOffsets of {tp}")))?;
    let (offset, leader_epoch) = (answer.offset, answer.leader_epoch);
    Ok((offset >= 0).then_some(Position { offset, leader_epoch, topic_id: leader.topic_id }))
}

/// Where the largest epoch up to the position's ends in the leader's log; `None` if the log knows none so old.
async fn epoch_end(cluster: &Cluster, tp: &TopicPartition, leader_epoch: i32) -> Result<Option<(i32, i64)>> {
    let leader = leader(cluster, tp).await?;
    let partition = offset_for_leader_epoch::RequestPartition {
        partition: tp.partition,
        current_leader_epoch: leader.epoch,
        leader_epoch,
        ..Default::default()
    };
    let topic = offset_for_leader_epoch::RequestTopic {
        topic: tp.topic.clone().into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = leader.connection.ask(&request, cluster.config().request_timeout).await?;
    let partitions = response.topics.into_iter().flat_map(|t| t.partitions);
    let answer = partitions.into_iter().find(|p| p.partition == tp.partition).ok_or_else(|| missing(tp))?;
    answer.error_code.ok().map_err(|code| Error::from_code(code, format_args!("OffsetForLeaderEpoch of {tp}")))?;
    Ok((answer.end_offset >= 0 && answer.leader_epoch >= 0).then_some((answer.leader_epoch, answer.end_offset)))
}

/// All that decides where a reader goes on whose offset was out of range.
pub(super) async fn log_facts(cluster: &Cluster, tp: &TopicPartition, position: Position) -> Result<LogFacts> {
    let limit = cluster.config().request_timeout;
    let ask = || async {
        let at = |at| list_once(cluster, tp, at, Isolation::ReadUncommitted);
        let start = at(OffsetAt::Earliest).await?.map_or(0, |p| p.offset);
        let end = at(OffsetAt::Latest).await?.map_or(start, |p| p.offset);
        let epoch_end = match position.leader_epoch {
            ..0 => None,
            epoch => epoch_end(cluster, tp, epoch).await?,
        };
        Ok(LogFacts { start, end, epoch_end })
    };
    cluster.retrying(&format!("finding where to go on in {tp}"), limit, ask).await
}

fn missing(tp: &TopicPartition) -> Error {
    Error::new(ErrorKind::Protocol, format!("the broker's answer does not mention {tp}"))
}
