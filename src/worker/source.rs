//! The real log behind a consumer: fetcher, metadata and administration of one cluster.

use std::sync::Arc;

use async_trait::async_trait;

use super::config::ConsumerConfig;
use super::consumer;
use super::failure::HandlerError;
use super::handle::ConsumerHandle;
use super::record::Record;
use super::seam::{Guard, Log};
use crate::client::Cluster;
use crate::client::admin::{ClusterAdmin, Each};
use crate::client::fetch::{FetchOut, FetchedBatch, Fetcher, ReadOptions, channel};
use crate::client::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicId, TopicPartition};
use crate::group::{GroupEvents, GroupHandle};
use crate::{Error, ErrorKind, Result};

/// What consumers of one cluster share.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) cluster: Cluster,
    pub(crate) fetcher: Fetcher,
    pub(crate) admin: Arc<dyn ClusterAdmin>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// Starts handling what the group assigns to this member, in the background. The handler gets each record once per
/// assignment; what became of it is committed as `config` says. It ends by itself after `count` records, at the ends
/// under `until_end`, or when it cannot go on.
pub(crate) fn start<H, Fut>(
    source: Source,
    (group, events): (GroupHandle, GroupEvents),
    config: ConsumerConfig,
    reading: ReadOptions,
    handler: H,
) -> ConsumerHandle
where
    H: Fn(Record<FetchedBatch>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let env = source.cluster.env().clone();
    let (out, feed) = channel(reading);
    let log = Arc::new(Reading { source, out });
    consumer::start(env, (Arc::new(group), events), (log, feed), config, handler)
}

/// One consumer's view of the log.
struct Reading {
    source: Source,
    out: FetchOut,
}

#[async_trait]
impl Log for Reading {
    fn attach(&self, tp: &TopicPartition, from: Position, epoch: AssignmentEpoch) -> Guard {
        Box::new(self.source.fetcher.attach(Arc::new(tp.clone()), from, epoch, self.out.clone()))
    }

    fn topic_id(&self, topic: &str) -> TopicId {
        self.source.cluster.topology().topic(topic).map(|t| t.id).unwrap_or_default()
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<Vec<(TopicPartition, i64)>> {
        let found: Each<_, _> = self.source.admin.list_offsets(partitions, at, isolation).await?;
        let offset = |(tp, found): (TopicPartition, Result<Option<Position>>)| match found? {
            Some(position) => Ok((tp, position.offset)),
            None => {
                Err(Error::new(ErrorKind::Protocol, format!("the broker knows no {at:?} offset of {tp}: try again")))
            }
        };
        found.into_iter().map(offset).collect()
    }

    async fn epoch_end(&self, tp: &TopicPartition, leader_epoch: i32) -> Result<Option<i64>> {
        for (_, end) in self.source.admin.epoch_ends(&[(tp.clone(), leader_epoch)]).await? {
            let end = end?;
            // A broker without this epoch answers with the one before it.
            return Ok((end.leader_epoch == leader_epoch && end.end_offset >= 0).then_some(end.end_offset));
        }
        Ok(None)
    }
}
