//! A consumer over the real rooms: a group membership and the fetcher.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::aftercare::Seams;
use super::config::ConsumerConfig;
use super::consumer;
use super::failure::HandlerError;
use super::handle::ConsumerHandle;
use super::metadata::LogId;
use super::record::Record;
use super::seam::{Guard, Log};
use crate::client::Cluster;
use crate::client::admin::ClusterAdmin;
use crate::client::backend::Backend;
use crate::client::fetch::{FetchOut, FetchedBatch, ReadOptions, channel};
use crate::client::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicId, TopicPartition};
use crate::group::{GroupEvents, GroupHandle};
use crate::{Error, ErrorKind, Result};

/// What a consumer reads through; shared by all consumers of a client.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) cluster: Cluster,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) admin: Arc<dyn ClusterAdmin>,
}

/// Starts a consumer for a membership.
pub(crate) fn start<H, Fut>(
    source: Source,
    (handle, events): (GroupHandle, GroupEvents),
    config: ConsumerConfig,
    seams: Seams,
    reading: ReadOptions,
    handler: H,
) -> ConsumerHandle
where
    H: Fn(Record<FetchedBatch>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let env = source.cluster.env().clone();
    let (out, feed) = channel(reading);
    let log = Arc::new(Live { source, out });
    consumer::start(env, (Arc::new(handle), events), (log, feed), config, seams, handler)
}

struct Live {
    source: Source,
    out: FetchOut,
}

#[async_trait]
impl Log for Live {
    fn attach(&self, tp: &TopicPartition, from: Position, epoch: AssignmentEpoch, delayed: bool) -> Guard {
        let out = if delayed { self.out.sparing() } else { self.out.clone() };
        Box::new(self.source.backend.partition(tp).attach(from, epoch, out))
    }

    fn topic_id(&self, topic: &str) -> TopicId {
        self.source.cluster.topology().topic(topic).map(|t| t.id).unwrap_or_default()
    }

    fn cluster_tag(&self) -> u32 {
        LogId::new(self.source.cluster.topology().cluster_id.as_deref(), TopicId::default()).cluster
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
        patience: Duration,
    ) -> Result<Vec<(TopicPartition, Result<Option<i64>>)>> {
        let found = self.source.admin.list_offsets_once(partitions, at, isolation, patience).await?;
        let offset = |(tp, position): (TopicPartition, Result<Option<Position>>)| {
            let offset = match (position, at) {
                (Ok(None), OffsetAt::Earliest | OffsetAt::Latest) => {
                    Err(Error::new(ErrorKind::Protocol, format!("the broker knows no offset of {tp}: try again")))
                }
                (position, _) => position.map(|position| position.map(|p| p.offset)),
            };
            (tp, offset)
        };
        Ok(found.into_iter().map(offset).collect())
    }

    async fn epoch_end(&self, tp: &TopicPartition, leader_epoch: i32, patience: Duration) -> Result<Option<i64>> {
        let found = self.source.admin.epoch_ends_once(&[(tp.clone(), leader_epoch)], patience).await?;
        match found.into_iter().next() {
            Some((_, Ok(end))) => Ok((end.leader_epoch == leader_epoch).then_some(end.end_offset)),
            Some((_, Err(error))) if error.kind() == ErrorKind::UnsupportedVersion => Ok(None),
            Some((_, Err(error))) => Err(error),
            None => Ok(None),
        }
    }
}
