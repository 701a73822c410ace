//! Questions to a partition's leader about its log, when a reader has lost its place. Never on the way of records.

use std::slice::from_ref;

use super::reading::LogFacts;
use crate::client::Cluster;
use crate::client::admin::{ClusterAdmin, Each, NativeAdmin};
use crate::client::types::{Isolation, OffsetAt, Position, TopicPartition};
use crate::error::{Error, ErrorKind, Result};

/// The offset at a place in the log; `None` if no record is that young. Cancel-safe.
async fn list_offset(
    cluster: &Cluster,
    tp: &TopicPartition,
    at: OffsetAt,
    isolation: Isolation,
) -> Result<Option<Position>> {
    only(NativeAdmin::new(cluster.clone()).list_offsets(from_ref(tp), at, isolation).await?)
}

/// All that decides where a reader goes on whose offset was out of range.
pub(super) async fn log_facts(cluster: &Cluster, tp: &TopicPartition, position: Position) -> Result<LogFacts> {
    let at = |at| list_offset(cluster, tp, at, Isolation::ReadUncommitted);
    let start = at(OffsetAt::Earliest).await?.map_or(0, |p| p.offset);
    let end = at(OffsetAt::Latest).await?.map_or(start, |p| p.offset);
    let epoch_end = match position.leader_epoch {
        ..0 => None,
        epoch => {
            let found = only(NativeAdmin::new(cluster.clone()).epoch_ends(&[(tp.clone(), epoch)]).await?)?;
            (found.leader_epoch >= 0 && found.end_offset >= 0).then_some((found.leader_epoch, found.end_offset))
        }
    };
    Ok(LogFacts { start, end, epoch_end })
}

fn only<T>(answers: Each<TopicPartition, T>) -> Result<T> {
    let missing = || Error::new(ErrorKind::Protocol, "the broker's answer does not mention the partition asked for");
    answers.into_iter().next().ok_or_else(missing)?.1
}
