//! Taking partitions up: where they start is found out, as often as it takes, and then they are read.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::commit::Point;
use super::consumer::{Driver, Owned, Reason, Running};
use super::metadata::LogId;
use super::record::{Assignment, Delayed};
use super::seam::{Feed, Log, Membership};
use super::start::{Start, Starting, positions};
use crate::Result;
use crate::client::fetch::FetchEvent;
use crate::client::types::{AssignmentEpoch, TopicId, TopicPartition};
use crate::group::GroupEvent;

/// Between two attempts to find out where partitions start.
const START_RETRY: Duration = Duration::from_millis(500);
/// What may pass is told when it has lasted for so long, such as a partition without a leader.
const TELL_AFTER: Duration = Duration::from_secs(10);
/// Between two times that it is told.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Where these partitions start.
pub(super) type Starts = Pin<Box<dyn Future<Output = Found> + Send>>;
type Found = (Vec<Starting>, Result<Vec<(Starting, Result<Start>)>>);

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    /// Finds out where newly owned partitions start.
    pub(super) fn begin(&mut self, partitions: Vec<TopicPartition>, recreated: bool) {
        let mut starting = Vec::with_capacity(partitions.len());
        let tell_at = self.env.now() + TELL_AFTER;
        for tp in partitions {
            self.epochs += 1;
            let epoch = AssignmentEpoch(self.epochs);
            if let Some(Owned::Running(old)) = self.owned.insert(tp.clone(), Owned::Starting(epoch)) {
                self.discard(old);
            }
            starting.push(Starting { tp, epoch, recreated, tries: 0, tell_at });
        }
        self.search(starting, None);
    }

    fn search(&mut self, starting: Vec<Starting>, wait: Option<Duration>) {
        if starting.is_empty() {
            return;
        }
        let (membership, log, env) = (self.membership.clone(), self.log.clone(), self.env.clone());
        let (config, failures) = (self.config.clone(), self.shared.failures.clone());
        self.starting.push(Box::pin(async move {
            if let Some(wait) = wait {
                env.sleep(wait).await;
            }
            let found = positions(membership, log, config, failures, starting.clone()).await;
            (starting, found)
        }));
    }

    fn is_awaited(&self, starting: &Starting) -> bool {
        matches!(self.owned.get(&starting.tp), Some(Owned::Starting(epoch)) if *epoch == starting.epoch)
    }

    pub(super) fn found(&mut self, (starting, found): Found) -> Option<Reason> {
        let found = match found {
            Ok(found) => found,
            Err(error) if error.is_fatal() => return Some(Reason::Failed(error)),
            Err(error) => starting.into_iter().map(|starting| (starting, Err(error.clone()))).collect(),
        };
        let (mut begun, mut rest, mut why) = (Vec::new(), Vec::new(), None);
        let now = self.env.now();
        for (mut starting, start) in found {
            match start {
                _ if !self.is_awaited(&starting) => {}
                Ok(start) => {
                    self.attach(&starting, start);
                    begun.push((starting.tp, starting.epoch));
                }
                Err(error) if error.is_fatal() => return Some(Reason::Failed(error)),
                Err(error) => {
                    let Starting { tp, tries, tell_at, .. } = &mut starting;
                    tracing::debug!(target: "dispatcher::worker", %tp, tries, %error, "where it starts was not found out");
                    if now >= *tell_at || (*tries == 0 && !error.is_retriable()) {
                        *tell_at = now + TELL_AGAIN;
                        why.get_or_insert(error);
                    }
                    *tries += 1;
                    rest.push(starting);
                }
            }
        }
        if self.watching {
            self.seek_ends(begun, None);
        }
        why.into_iter().for_each(|error| self.warn(error));
        self.search(rest, Some(START_RETRY));
        None
    }

    fn attach(&mut self, starting: &Starting, start: Start) {
        let Starting { tp, epoch, .. } = starting;
        let assignment = self.assignment(tp, *epoch);
        let Start { position, inherited, until, committed, pinned } = start;
        tracing::debug!(target: "dispatcher::worker", %tp, offset = position.offset, committed, "starting");
        let point = Point { offset: position.offset, metadata: None };
        let until = until.map(|end| self.goal(tp, position.topic_id, end));
        let id = self
            .shared
            .with(|s| s.attach(assignment.clone(), position.offset, position.leader_epoch, inherited, until));
        let log = LogId { cluster: self.log.cluster_tag(), topic: position.topic_id };
        let guard = self.log.attach(tp, position, *epoch, assignment.delayed.is_some());
        if self.paused {
            guard.pause();
        }
        if pinned {
            self.pinned.push(id);
            // Should that commit fail, the next look makes it again.
            self.policy.touch(self.env.now());
        }
        let running = Running {
            id,
            assignment,
            log,
            guard: Some(guard),
            committed: (!pinned).then_some(point),
            stands: None,
            shut: false,
            waits: None,
            ended: false,
            meter: self.meter.partition(&tp.topic, tp.partition),
        };
        self.owned.insert(tp.clone(), Owned::Running(running));
    }

    /// Where `until_end` ends for a log that ends at `end` now.
    fn goal(&mut self, tp: &TopicPartition, topic: TopicId, end: i64) -> i64 {
        let known = self.goals.get(tp).filter(|(of, _)| *of == topic).map(|(_, goal)| *goal);
        // A log that was cut off below its goal will not reach it.
        let goal = known.map_or(end, |goal| goal.min(end));
        self.goals.insert(tp.clone(), (topic, goal));
        goal
    }

    fn assignment(&self, tp: &TopicPartition, epoch: AssignmentEpoch) -> Arc<Assignment> {
        let (route, delayed) = match self.config.retry_of(&tp.topic) {
            Some(retry) => (retry.route, Some(Delayed { stage: retry.stage, by: retry.delay })),
            None => (self.config.topics.iter().position(|topic| *topic == tp.topic).unwrap_or(0), None),
        };
        Assignment::of(tp.clone(), epoch, route, delayed)
    }
}
