//! A leader's watch over the partition counts of the group's topics. Topics that nobody knows are looked up again and
//! again, for they may appear; known ones follow the cluster's metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::client::Cluster;
use crate::client::topology::Topology;
use crate::client::types::TopicName;
use crate::error::ErrorKind;

/// Between look-ups of topics that are not known.
const AGAIN: Duration = Duration::from_secs(3);

/// Partition counts; `None`: does not exist.
pub(super) type Counts = BTreeMap<TopicName, Option<i32>>;

#[derive(Default)]
pub(super) struct TopicWatch {
    topics: BTreeSet<TopicName>,
    reported: Counts,
    lookup: Option<BoxFuture<'static, Counts>>,
    next: Option<Instant>,
}

impl TopicWatch {
    /// Watches these instead of the earlier ones, and reports all of them anew.
    pub(super) fn set(&mut self, topics: BTreeSet<TopicName>, now: Instant) {
        *self = Self { topics, next: Some(now), ..Self::default() };
    }

    /// What has changed since the last report; starts a look-up if one is due.
    pub(super) fn poll(&mut self, cluster: &Cluster, topology: &Topology, now: Instant) -> Option<Counts> {
        let known = |t: &TopicName| Some((t.clone(), Some(i32::try_from(topology.topic(t)?.partitions.len()).ok()?)));
        let counts = self.topics.iter().filter_map(known).collect();
        let unknown: Vec<_> = self.topics.iter().filter(|t| topology.topic(t).is_none()).cloned().collect();
        if !unknown.is_empty() && self.lookup.is_none() && self.next.is_none_or(|at| now >= at) {
            self.lookup = Some(Box::pin(look_up(cluster.clone(), unknown.clone())));
        }
        if unknown.is_empty() {
            self.next = None;
        }
        self.report(counts)
    }

    /// Waits for the look-up under way; for ever if there is none. Cancel-safe.
    pub(super) async fn looked_up(&mut self) -> Counts {
        match &mut self.lookup {
            Some(lookup) => lookup.await,
            None => std::future::pending().await,
        }
    }

    /// Takes in what [`looked_up`](Self::looked_up) gave.
    pub(super) fn take_in(&mut self, found: Counts, now: Instant) -> Option<Counts> {
        self.lookup = None;
        self.next = Some(now + AGAIN);
        self.report(found)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next.filter(|_| self.lookup.is_none() && !self.topics.is_empty())
    }

    fn report(&mut self, mut counts: Counts) -> Option<Counts> {
        counts.retain(|topic, count| self.topics.contains(topic) && self.reported.get(topic) != Some(count));
        self.reported.extend(counts.clone());
        (!counts.is_empty()).then_some(counts)
    }
}

/// Topics for which no broker answered are left out. One that this member may not see, for lack of DESCRIBE, is to it as
/// one that does not exist: waiting for an answer would hold up the whole group at every rebalance.
async fn look_up(cluster: Cluster, topics: Vec<TopicName>) -> Counts {
    let one = async |topic: TopicName| {
        let found = match cluster.find_topic(&topic).await {
            Err(error) if error.kind() == ErrorKind::Auth => {
                tracing::debug!(target: "dispatcher::group", %topic, %error, "a topic of the group is not to be seen");
                None
            }
            found => found.ok()?,
        };
        let count = found.map(|t| i32::try_from(t.partitions.len()).unwrap_or(i32::MAX));
        Some((topic, count))
    };
    let lookups: FuturesUnordered<_> = topics.into_iter().map(one).collect();
    lookups.filter_map(std::future::ready).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::Fake;

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_must_not_be_seen_is_answered_at_once_as_one_that_is_not_there() {
        let fake = Fake::new(1);
        fake.topic("t", 1, &[(1, 0), (1, 0)]);
        fake.with(|state| state.forbidden.insert("secret".into()));
        let cluster = fake.connect().await;
        let begun = cluster.env().now();
        let counts = look_up(cluster.clone(), ["t", "secret", "none"].map(Into::into).to_vec()).await;
        assert_eq!(counts, Counts::from([("t".into(), Some(2)), ("secret".into(), None), ("none".into(), None)]));
        assert!(cluster.env().now() - begun < Duration::from_secs(1));
        // Who does not answer says nothing.
        fake.with(|state| state.metadata_error = crate::wire::ErrorCode::REQUEST_TIMED_OUT);
        assert_eq!(look_up(cluster, vec!["other".into()]).await, Counts::new());
    }
}
