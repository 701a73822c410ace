//! Reads partitions without a group, from their present end on: nothing is committed, and no other reader is concerned.
//! For what comes back to a sender.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::message::Message;
use crate::client::fetch::{
    Attached, FetchError, FetchEvent, FetchFault, FetchIn, FetchOut, OnBadBatch, ReadOptions, channel,
};
use crate::client::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicPartition};
use crate::error::Result;
use crate::worker::{Record, Source};

/// Between two attempts to find a topic that was made again.
const AGAIN: Duration = Duration::from_secs(1);

/// See the file's head. Dropped, it reads no more.
pub(super) struct Tail {
    source: Source,
    feed: FetchIn,
    out: FetchOut,
    attached: BTreeMap<TopicPartition, (AssignmentEpoch, Attached)>,
    epochs: u64,
}

impl Tail {
    /// When this returns, whatever is written from now on will be read.
    pub(super) async fn start(source: Source, partitions: Vec<TopicPartition>) -> Result<Self> {
        let (out, feed) = channel(ReadOptions { on_bad_batch: OnBadBatch::Skip, ..ReadOptions::default() });
        let mut tail = Self { source, feed, out, attached: BTreeMap::new(), epochs: 0 };
        tail.attach(&partitions, OffsetAt::Latest).await?;
        Ok(tail)
    }

    async fn attach(&mut self, partitions: &[TopicPartition], at: OffsetAt) -> Result<()> {
        let found = self.source.admin.list_offsets(partitions, at, Isolation::ReadUncommitted).await?;
        for (tp, position) in found {
            let topic_id = self.source.cluster.topology().topic(&tp.topic).map(|t| t.id).unwrap_or_default();
            let start = Position { offset: 0, leader_epoch: -1, topic_id };
            let position = position?.map_or(start, |found| Position { leader_epoch: -1, topic_id, ..found });
            self.epochs += 1;
            let epoch = AssignmentEpoch(self.epochs);
            let attached = self.source.backend.partition(&tp).attach(position, epoch, self.out.clone());
            self.attached.insert(tp, (epoch, attached));
        }
        Ok(())
    }

    /// The next messages of one partition, in order; never none. Cancel-safe, but for a topic that was made again: then
    /// messages at its beginning may be missed.
    pub(super) async fn next(&mut self) -> Vec<Message> {
        loop {
            match self.feed.recv().await {
                Some(FetchEvent::Fetched(fetched)) => {
                    let messages: Vec<_> = fetched.batches.iter().flat_map(Record::all_of).map(Message::new).collect();
                    if !messages.is_empty() {
                        return messages;
                    }
                }
                Some(FetchEvent::Error(error)) => self.trouble(error).await,
                // Never: `out` is held here.
                None => std::future::pending().await,
            }
        }
    }

    async fn trouble(&mut self, FetchError { tp, epoch, fault, error }: FetchError) {
        tracing::warn!(target: "dispatcher", %tp, %error, "reading what comes back");
        let tp = (*tp).clone();
        if fault != FetchFault::Recreated || self.attached.get(&tp).is_none_or(|(at, _)| *at != epoch) {
            return;
        }
        while let Err(error) = self.attach(std::slice::from_ref(&tp), OffsetAt::Earliest).await {
            tracing::debug!(target: "dispatcher", %tp, %error, "not readable yet");
            self.source.cluster.env().sleep(AGAIN).await;
        }
    }
}

/// All partitions of a topic.
pub(super) fn partitions(topic: &Arc<str>, count: usize) -> Vec<TopicPartition> {
    (0..count as i32).map(|p| TopicPartition::new(topic.clone(), p)).collect()
}
