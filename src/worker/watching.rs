//! What the driver looks after for those who watch: partitions that have caught up, handlers that stand still, and
//! whether the subscription is paused.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::consumer::{Driver, Owned};
use super::events::SubscriptionEvent;
use super::seam::{Feed, Log, Membership};
use crate::client::fetch::FetchEvent;
use crate::client::types::{AssignmentEpoch, OffsetAt, TopicPartition};
use crate::group::GroupEvent;
use crate::{Error, ErrorKind, Result};

/// Between two attempts to find out where logs end.
const RETRY: Duration = Duration::from_secs(1);
/// So long one leader may hold up what is known of the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// A partition whose next record is due later than this is read no further until then.
const SHUT_FROM: Duration = Duration::from_secs(1);

/// A partition whose next record is due later than this says so beside its committed offset, or it would look stuck.
const WORTH_TELLING: Duration = Duration::from_secs(10);

/// Where the logs of these partitions end.
pub(super) type Ends = Pin<Box<dyn Future<Output = (Vec<(TopicPartition, AssignmentEpoch)>, Found)> + Send>>;
type Found = Result<Vec<(TopicPartition, Result<Option<i64>>)>>;

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    /// Does what `pause`, `resume` and the first call of `events` ask for.
    pub(super) fn obey(&mut self) {
        let paused = self.shared.is_paused();
        let resumed = self.paused && !paused;
        if paused != self.paused {
            self.paused = paused;
            let guards = self.owned.values_mut().filter_map(|owned| match owned {
                Owned::Running(running) => {
                    running.shut = false;
                    running.guard.as_ref()
                }
                Owned::Starting(_) => None,
            });
            guards.for_each(|guard| if paused { guard.pause() } else { guard.resume() });
        }
        let begun = !self.watching && self.shared.events.is_watched();
        self.watching |= begun;
        if begun || (resumed && self.watching) {
            let all = self.owned.iter().filter_map(|(tp, owned)| match owned {
                Owned::Running(running) => Some((tp.clone(), running.assignment.epoch)),
                Owned::Starting(_) => None,
            });
            self.seek_ends(all.collect(), None);
        }
    }

    /// Lets retry topics hand out what is due now, and reads no further where nothing is for long. Returns when to look
    /// again.
    pub(super) fn look_at_delays(&mut self) -> Option<Instant> {
        if self.config.retries.is_empty() {
            return None;
        }
        let now_ms = self.env.wall_ms();
        let next = self.shared.with(|s| {
            s.set_now(now_ms);
            s.next_due()
        });
        let wait = |due: i64| Duration::from_millis(due.saturating_sub(now_ms).max(1).unsigned_abs());
        for owned in self.owned.values_mut() {
            let Owned::Running(running) = owned else { continue };
            if running.assignment.delayed.is_none() || self.paused {
                continue;
            }
            let due = self.shared.with(|s| s.due(running.id));
            let waits = due.filter(|due| running.waits == Some(*due) || wait(*due) > WORTH_TELLING);
            if waits != running.waits {
                running.waits = waits;
                // Said at the next look.
                if waits.is_some() {
                    self.policy.touch(self.env.now());
                }
            }
            let shut = due.is_some_and(|due| wait(due) > SHUT_FROM);
            if shut != running.shut
                && let Some(guard) = &running.guard
            {
                running.shut = shut;
                if shut { guard.pause() } else { guard.resume() }
            }
        }
        next.map(|due| self.env.now() + wait(due))
    }

    /// Asks where these logs end now.
    pub(super) fn seek_ends(&mut self, of: Vec<(TopicPartition, AssignmentEpoch)>, wait: Option<Duration>) {
        if of.is_empty() {
            return;
        }
        let (env, log, isolation) = (self.env.clone(), self.log.clone(), self.config.isolation);
        self.ends.push(Box::pin(async move {
            if let Some(wait) = wait {
                env.sleep(wait).await;
            }
            let tps: Vec<_> = of.iter().map(|(tp, _)| tp.clone()).collect();
            let found = log.offsets(&tps, OffsetAt::Latest, isolation, PATIENCE).await;
            (of, found)
        }));
    }

    pub(super) fn ends_found(&mut self, mut of: Vec<(TopicPartition, AssignmentEpoch)>, found: Found) {
        let found = found.unwrap_or_else(|error| of.iter().map(|(tp, _)| (tp.clone(), Err(error.clone()))).collect());
        let mut failed = BTreeSet::new();
        let asked: BTreeMap<_, _> = of.iter().map(|(tp, epoch)| (tp, *epoch)).collect();
        for (tp, end) in found {
            let epoch = asked.get(&tp).copied();
            let running = epoch.and_then(|epoch| self.running(&tp, epoch)).map(|running| running.id);
            match (end, running) {
                (Ok(Some(end)), Some(id)) => self.shared.with(|s| s.set_goal(id, end)),
                (Err(error), Some(_)) => {
                    tracing::debug!(target: "dispatcher::worker", %tp, %error, "where its log ends was not found out");
                    failed.insert(tp);
                }
                _ => {}
            }
        }
        of.retain(|(tp, _)| failed.contains(tp));
        self.seek_ends(of, Some(RETRY));
        self.look_who_caught_up();
    }

    pub(super) fn look_who_caught_up(&mut self) {
        for (tp, owned) in &self.owned {
            if let Owned::Running(running) = owned
                && !running.assignment.is_closed()
                && let Some(offset) = self.shared.with(|s| s.take_reached_goal(running.id))
            {
                let (topic, partition) = (tp.topic.clone(), tp.partition);
                self.shared.events.push(SubscriptionEvent::CaughtUp { topic, partition, offset });
            }
        }
    }

    /// Tells once about each record whose handler has held back its partition for `stall_after`.
    pub(super) fn look_for_stalls(&mut self) {
        let (now, limit) = (self.env.now(), self.config.stall_after);
        // Paused, the lowest one may be one that was taken and did not start.
        if self.paused {
            self.owned.values_mut().for_each(|owned| {
                if let Owned::Running(running) = owned {
                    running.stands = None;
                }
            });
            return;
        }
        let mut stalls = Vec::new();
        for (tp, owned) in &mut self.owned {
            let Owned::Running(running) = owned else { continue };
            let id = running.id;
            // What failed and is held runs no more; what runs above it is waited for all the same.
            let lowest = self.shared.with(|s| s.lowest_running(id));
            match (lowest, &mut running.stands) {
                (None, stands) => *stands = None,
                (Some(lowest), Some((offset, since))) if *offset == lowest => {
                    if let Some(began) = *since
                        && now.saturating_duration_since(began) >= limit
                    {
                        let passing = running.assignment.is_passing(lowest);
                        stalls.push((tp.clone(), lowest, passing, now - began));
                        // Not again for the same record.
                        *since = None;
                    }
                }
                (Some(lowest), stands) => *stands = Some((lowest, Some(now))),
            }
        }
        for (TopicPartition { topic, partition }, offset, passing, running_for) in stalls {
            let text = if passing {
                let failed =
                    format!("{topic}-{partition} offset {offset} failed and is not in the topic it is to go to");
                format!("{failed} {running_for:?} after it was taken")
            } else {
                format!("the handler of {topic}-{partition} offset {offset} has not ended for {running_for:?}")
            };
            let text = format!("{text} (stall_after): it holds back the commits of its partition");
            self.warn(Error::new(ErrorKind::Timeout, text));
            self.shared.events.push(SubscriptionEvent::Stalled { topic, partition, offset, running_for });
        }
    }
}
