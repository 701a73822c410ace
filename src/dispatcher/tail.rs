//! Reads a topic without a group, from its present end on: nothing is committed, and no other reader is concerned. For
//! what comes back to a sender. The topic is followed through what happens to it: partitions that are added, and all of
//! one that is made again, are read from their beginning, so that nothing is missed; those that are gone are let go. That
//! is seen in the cluster's metadata as they come; the fetcher asks for them where a topic is missing. Without topic ids
//! (brokers before 2.8) a topic made again looks like one that was cut off, and is read from its end on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::message::Message;
use crate::client::fetch::{
    Attached, FetchError, FetchEvent, FetchFault, FetchIn, FetchOut, OnBadBatch, ReadOptions, channel,
};
use crate::client::topology::Topology;
use crate::client::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicId, TopicName, TopicPartition};
use crate::env::watch;
use crate::error::Result;
use crate::worker::{Record, Source};

/// See the file's head. Dropped, it reads no more.
pub(super) struct Tail {
    source: Source,
    topic: TopicName,
    /// Only this partition, as long as there is one of that number; else all, for what would go there then goes anywhere.
    only: Option<i32>,
    /// The topic had no partition `only`. Holds until it is made again: until then something may lie elsewhere.
    scattered: bool,
    feed: FetchIn,
    out: FetchOut,
    changes: watch::Receiver<Arc<Topology>>,
    reading: BTreeMap<i32, Reading>,
    epochs: u64,
}

/// A partition that is read.
struct Reading {
    epoch: AssignmentEpoch,
    /// Zero: not known.
    topic_id: TopicId,
    _attached: Attached,
}

impl Tail {
    /// When this returns, whatever is written from now on will be read: to partition `only`, or to all `count` of them and
    /// any that is added. Cancel-safe.
    ///
    /// # Errors
    /// Where a partition ends at present cannot be found out.
    pub(super) async fn start(source: Source, topic: &TopicName, count: usize, only: Option<i32>) -> Result<Self> {
        let (out, feed) = channel(ReadOptions { on_bad_batch: OnBadBatch::Skip, ..ReadOptions::default() });
        let (changes, topic) = (source.cluster.changes(), topic.clone());
        let reading = BTreeMap::new();
        let mut tail = Self { source, topic, only, scattered: false, feed, out, changes, reading, epochs: 0 };
        let numbers = (0..count as i32).filter(|n| only.is_none_or(|only| *n == only));
        let partitions: Vec<_> = numbers.map(|n| TopicPartition::new(tail.topic.clone(), n)).collect();
        let found = tail.source.admin.list_offsets(&partitions, OffsetAt::Latest, Isolation::ReadUncommitted).await?;
        for (tp, position) in found {
            if let Some(position) = position? {
                tail.attach(tp.partition, Position { leader_epoch: -1, ..position });
            }
        }
        // Where a log's end was not told it is read from its beginning.
        tail.follow();
        Ok(tail)
    }

    fn attach(&mut self, number: i32, from: Position) {
        self.epochs += 1;
        let (epoch, tp) = (AssignmentEpoch(self.epochs), TopicPartition::new(self.topic.clone(), number));
        let attached = self.source.backend.partition(&tp).attach(from, epoch, self.out.clone());
        self.reading.insert(number, Reading { epoch, topic_id: from.topic_id, _attached: attached });
    }

    /// Compares what is read with what there is now.
    fn follow(&mut self) {
        let topology = self.changes.borrow_and_update().clone();
        // Deleted, or only forgotten: if it comes again with the same id, reading goes on where it was.
        let Some(topic) = topology.topic(&self.topic) else { return };
        let (before, id) = (self.reading.len(), topic.id);
        self.reading.retain(|_, reading| {
            if reading.topic_id.is_zero() {
                reading.topic_id = id;
            }
            id.is_zero() || reading.topic_id == id
        });
        if self.reading.len() < before {
            tracing::info!(target: "dispatcher", topic = &*self.topic, "made again: read from its beginning");
            self.scattered = false;
        }
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        self.scattered |= self.only.is_some_and(|only| only >= count);
        let only = self.only.filter(|_| !self.scattered);
        self.reading.retain(|number, _| *number < count);
        for number in (0..count).filter(|n| only.is_none_or(|only| *n == only)) {
            if !self.reading.contains_key(&number) {
                self.attach(number, Position { offset: 0, leader_epoch: -1, topic_id: id });
            }
        }
    }

    /// The next messages of one partition, in order; never none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<Message> {
        loop {
            tokio::select! { biased;
                // First what has arrived, for what is let go takes its messages with it.
                event = self.feed.recv() => match event {
                    Some(FetchEvent::Fetched(fetched)) => {
                        let messages: Vec<_> =
                            fetched.batches.iter().flat_map(Record::all_of).map(Message::new).collect();
                        if !messages.is_empty() {
                            return messages;
                        }
                    }
                    Some(FetchEvent::Error(error)) => self.trouble(error),
                    // Never: `out` is held here.
                    None => std::future::pending().await,
                },
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.follow(),
                    // Never: the cluster is held here.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    fn trouble(&mut self, FetchError { tp, epoch, fault, error }: FetchError) {
        tracing::warn!(target: "dispatcher", %tp, %error, "reading what comes back");
        if fault == FetchFault::Recreated && self.reading.get(&tp.partition).is_some_and(|r| r.epoch == epoch) {
            self.reading.remove(&tp.partition);
            self.scattered = false;
            self.follow();
        }
    }
}
