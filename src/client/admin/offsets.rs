//! Offsets: of logs, asked of each partition's leader; of groups, asked of the coordinator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{CommittedOffset, Each, EpochEnd, NativeAdmin};
use crate::client::Use;
use crate::client::retry::Backoff;
use crate::client::types::{Isolation, OffsetAt, Position, TopicId, TopicName, TopicPartition};
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;
use crate::wire::ErrorCode;
use crate::wire::messages::{
    ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, list_offsets,
    offset_commit, offset_fetch, offset_for_leader_epoch,
};

/// From version 10 on these two name topics by id only.
const LAST_BY_NAME: i16 = 9;
/// From this version on OffsetFetch names several groups.
const BATCHED: i16 = 8;

/// A partition to ask its leader about.
#[derive(Clone)]
struct Asked {
    tp: TopicPartition,
    leader_epoch: i32,
    topic_id: TopicId,
}

impl NativeAdmin {
    pub(super) async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
        once: Option<Duration>,
    ) -> Result<Each<TopicPartition, Option<Position>>> {
        let timestamp = match at {
            OffsetAt::Earliest => -2,
            OffsetAt::Latest => -1,
            OffsetAt::Timestamp(ms) => ms.max(0),
        };
        let isolation_level = i8::from(isolation == Isolation::ReadCommitted);
        self.by_leader("ListOffsets", partitions, once, |connection, asked| async move {
            let mut topics: BTreeMap<TopicName, Vec<list_offsets::RequestPartition>> = BTreeMap::new();
            for Asked { tp, leader_epoch, .. } in &asked {
                topics.entry(tp.topic.clone()).or_default().push(list_offsets::RequestPartition {
                    partition_index: tp.partition,
                    current_leader_epoch: *leader_epoch,
                    timestamp,
                });
            }
            let topics = topics.into_iter();
            let topics = topics.map(|(name, partitions)| list_offsets::RequestTopic { name: name.into(), partitions });
            let (replica_id, timeout_ms) = (-1, self.limit.as_millis() as i32);
            let request = ListOffsetsRequest { replica_id, isolation_level, topics: topics.collect(), timeout_ms };
            let response = connection.ask(&request, self.limit).await?;
            let mut found: BTreeMap<TopicPartition, list_offsets::ResponsePartition> = BTreeMap::new();
            for topic in response.topics {
                let name: Arc<str> = Arc::from(&*topic.name);
                found.extend(
                    topic.partitions.into_iter().map(|p| (TopicPartition::new(name.clone(), p.partition_index), p)),
                );
            }
            let outcome = |asked: Asked| {
                let outcome = match found.remove(&asked.tp) {
                    None => Err(missing("ListOffsets", &asked.tp)),
                    Some(p) if p.error_code != ErrorCode::NONE => {
                        Err(Error::from_code(p.error_code, format_args!("ListOffsets of {}", asked.tp)))
                    }
                    Some(p) => Ok((p.offset >= 0).then_some(Position {
                        offset: p.offset,
                        leader_epoch: p.leader_epoch,
                        topic_id: asked.topic_id,
                    })),
                };
                (asked.tp, outcome)
            };
            Ok(asked.into_iter().map(outcome).collect())
        })
        .await
    }

    pub(super) async fn ends_of_epochs(
        &self,
        asked: &[(TopicPartition, i32)],
        once: Option<Duration>,
    ) -> Result<Each<TopicPartition, EpochEnd>> {
        let epochs: &BTreeMap<TopicPartition, i32> = &asked.iter().cloned().collect();
        let partitions: Vec<_> = asked.iter().map(|(tp, _)| tp.clone()).collect();
        self.by_leader("OffsetForLeaderEpoch", &partitions, once, |connection, asked| async move {
            let mut topics: BTreeMap<TopicName, Vec<offset_for_leader_epoch::RequestPartition>> = BTreeMap::new();
            for Asked { tp, leader_epoch, .. } in &asked {
                topics.entry(tp.topic.clone()).or_default().push(offset_for_leader_epoch::RequestPartition {
                    partition: tp.partition,
                    current_leader_epoch: *leader_epoch,
                    leader_epoch: epochs.get(tp).copied().unwrap_or(-1),
                });
            }
            let topics = topics.into_iter();
            let topics = topics
                .map(|(topic, partitions)| offset_for_leader_epoch::RequestTopic { topic: topic.into(), partitions });
            let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: topics.collect() };
            let response = connection.ask(&request, self.limit).await?;
            let mut found = BTreeMap::new();
            for topic in response.topics {
                let name: Arc<str> = Arc::from(&*topic.topic);
                found.extend(topic.partitions.into_iter().map(|p| (TopicPartition::new(name.clone(), p.partition), p)));
            }
            let outcome = |Asked { tp, .. }: Asked| {
                let outcome = match found.remove(&tp) {
                    None => Err(missing("OffsetForLeaderEpoch", &tp)),
                    Some(p) if p.error_code != ErrorCode::NONE => {
                        Err(Error::from_code(p.error_code, format_args!("OffsetForLeaderEpoch of {tp}")))
                    }
                    Some(p) => Ok(EpochEnd { leader_epoch: p.leader_epoch, end_offset: p.end_offset }),
                };
                (tp, outcome)
            };
            Ok(asked.into_iter().map(outcome).collect())
        })
        .await
    }

    /// Asks each partition's leader, all at once, and again for what failed in a way that may pass, until the limit. With
    /// `once` not again, and no leader is waited for longer than that.
    async fn by_leader<T, F>(
        &self,
        api: &str,
        partitions: &[TopicPartition],
        once: Option<Duration>,
        call: impl Fn(Connection, Vec<Asked>) -> F,
    ) -> Result<Each<TopicPartition, T>>
    where
        F: Future<Output = Result<Each<TopicPartition, T>>>,
    {
        let (env, call) = (self.cluster.env(), &call);
        let deadline = env.now() + self.limit;
        let mut backoff = Backoff::new(self.cluster.config().retry_backoff);
        let mut left: Vec<TopicPartition> = partitions.to_vec();
        let mut settled: BTreeMap<TopicPartition, Result<T>> = BTreeMap::new();
        loop {
            let mut failed: Vec<(TopicPartition, Error)> = Vec::new();
            let mut leaders: BTreeMap<i32, Vec<Asked>> = BTreeMap::new();
            for tp in std::mem::take(&mut left) {
                match self.leader_of(&tp, once.is_some()).await {
                    Ok((leader, asked)) => leaders.entry(leader).or_default().push(asked),
                    Err(error) => failed.push((tp, error)),
                }
            }
            let calls = leaders.into_iter().map(|(leader, asked)| async move {
                let of = asked.iter().map(|a| a.tp.clone()).collect::<Vec<_>>();
                let answer = async {
                    match self.cluster.connection(leader, Use::Control).await {
                        Ok(connection) => call(connection, asked).await,
                        Err(error) => Err(error),
                    }
                };
                let answered = match once {
                    None => answer.await,
                    Some(patience) => env.timeout(patience, answer).await.unwrap_or_else(|| {
                        let text = format!("{api}: broker {leader} did not answer within {patience:?}");
                        Err(Error::new(ErrorKind::Timeout, text))
                    }),
                };
                answered.unwrap_or_else(|error| of.into_iter().map(|tp| (tp, Err(error.clone()))).collect())
            });
            for (tp, outcome) in futures_util::future::join_all(calls).await.into_iter().flatten() {
                match outcome {
                    Err(error) if error.is_retriable() => failed.push((tp, error)),
                    outcome => drop(settled.insert(tp, outcome)),
                }
            }
            let pause = env.random(|rng| backoff.next(rng));
            let last = once.is_some() || env.now() + pause >= deadline;
            let may_pass = failed.iter().any(|(_, error)| error.is_retriable());
            for (tp, error) in failed {
                if last || !error.is_retriable() {
                    settled.insert(tp, Err(error));
                } else {
                    tracing::debug!(target: "dispatcher::client", api, %tp, %error, "asking again");
                    left.push(tp);
                }
            }
            if may_pass {
                self.cluster.refresh();
            }
            if left.is_empty() {
                break;
            }
            env.sleep(pause).await;
        }
        let outcome = |tp: &TopicPartition| settled.remove(tp).map(|outcome| (tp.clone(), outcome));
        Ok(partitions.iter().filter_map(outcome).collect())
    }

    async fn leader_of(&self, tp: &TopicPartition, now: bool) -> Result<(i32, Asked)> {
        let limit = if now { Duration::ZERO } else { self.cluster.config().unknown_topic_wait };
        let topic = self.cluster.wait_for_topic(&tp.topic, limit).await?;
        match topic.partition(tp.partition) {
            None => {
                let (name, count) = (&tp.topic, topic.partitions.len());
                let message = format!("partition {tp} does not exist: topic {name} has {count}");
                Err(Error::new(ErrorKind::UnknownTopic, message))
            }
            Some(p) if p.leader < 0 => {
                Err(Error::from_code(ErrorCode::LEADER_NOT_AVAILABLE, format_args!("leader of {tp}")))
            }
            Some(p) => Ok((p.leader, Asked { tp: tp.clone(), leader_epoch: p.leader_epoch, topic_id: topic.id })),
        }
    }

    pub(super) async fn committed(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        stable: bool,
    ) -> Result<Each<TopicPartition, Option<CommittedOffset>>> {
        let by_topic = partitions.map(|partitions| {
            let mut topics: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
            partitions.iter().for_each(|tp| topics.entry(tp.topic.clone()).or_default().push(tp.partition));
            topics
        });
        let by_topic = &by_topic;
        self.cluster
            .on_coordinator("OffsetFetch", group, self.limit, |connection| async move {
                fetch(&connection, group, by_topic.as_ref(), stable, self.limit).await
            })
            .await
    }

    pub(super) async fn commit(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Each<TopicPartition, ()>> {
        let mut topics: BTreeMap<TopicName, Vec<offset_commit::RequestPartition>> = BTreeMap::new();
        for (tp, committed) in offsets {
            topics.entry(tp.topic.clone()).or_default().push(offset_commit::RequestPartition {
                partition_index: tp.partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch,
                committed_metadata: Some(committed.metadata.as_str().into()),
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| offset_commit::RequestTopic {
            name: name.into(),
            partitions,
            ..Default::default()
        });
        let request = &OffsetCommitRequest { group_id: group.into(), topics: topics.collect(), ..Default::default() };
        self.cluster
            .on_coordinator("OffsetCommit", group, self.limit, |connection| async move {
                let version = connection.version::<OffsetCommitRequest>(Some(LAST_BY_NAME))?;
                let response = connection.call(request, version, self.limit).await?;
                let mut outcomes = Vec::new();
                for topic in response.topics {
                    let name: Arc<str> = Arc::from(&*topic.name);
                    for p in topic.partitions {
                        let tp = TopicPartition::new(name.clone(), p.partition_index);
                        outcomes.push(outcome("OffsetCommit", tp, p.error_code, ())?);
                    }
                }
                Ok(outcomes)
            })
            .await
    }
}

async fn fetch(
    connection: &Connection,
    group: &str,
    topics: Option<&BTreeMap<TopicName, Vec<i32>>>,
    stable: bool,
    limit: std::time::Duration,
) -> Result<Each<TopicPartition, Option<CommittedOffset>>> {
    let version = connection.version::<OffsetFetchRequest>(Some(LAST_BY_NAME))?;
    let mut request = OffsetFetchRequest { require_stable: stable, ..Default::default() };
    if version >= BATCHED {
        let topics = topics.map(|topics| {
            let topics = topics.iter().map(|(name, partitions)| offset_fetch::RequestGroupTopic {
                name: name.clone().into(),
                partition_indexes: partitions.clone(),
                ..Default::default()
            });
            topics.collect()
        });
        request.groups = vec![offset_fetch::RequestGroup { group_id: group.into(), topics, ..Default::default() }];
    } else {
        request.group_id = group.into();
        request.require_stable &= version >= 7;
        request.topics = topics.map(|topics| {
            let topics = topics.iter().map(|(name, partitions)| offset_fetch::RequestTopic {
                name: name.clone().into(),
                partition_indexes: partitions.clone(),
            });
            topics.collect()
        });
    }
    let mut response = connection.call(&request, version, limit).await?;
    let mut found = Vec::new();
    let mut take =
        |topic: &str, partition: i32, code, offset: i64, leader_epoch, metadata: Option<crate::wire::StrBytes>| {
            let committed =
                CommittedOffset { offset, leader_epoch, metadata: metadata.unwrap_or_default().to_string() };
            let tp = TopicPartition::new(topic, partition);
            found.push(outcome("OffsetFetch", tp, code, (offset >= 0).then_some(committed))?);
            Ok::<_, Error>(())
        };
    let code = if version >= BATCHED {
        let nothing =
            || Error::new(ErrorKind::Protocol, format!("{} answered OffsetFetch for no group", connection.peer()));
        let group = response.groups.pop().ok_or_else(nothing)?;
        for topic in group.topics {
            for p in topic.partitions {
                take(
                    &topic.name,
                    p.partition_index,
                    p.error_code,
                    p.committed_offset,
                    p.committed_leader_epoch,
                    p.metadata,
                )?;
            }
        }
        group.error_code
    } else {
        for topic in response.topics {
            for p in topic.partitions {
                take(
                    &topic.name,
                    p.partition_index,
                    p.error_code,
                    p.committed_offset,
                    p.committed_leader_epoch,
                    p.metadata,
                )?;
            }
        }
        response.error_code
    };
    match code {
        ErrorCode::NONE => Ok(found),
        // Brokers with KIP-848 say so of a group that never was; others answer −1 for each partition.
        ErrorCode::GROUP_ID_NOT_FOUND => {
            let asked = topics.into_iter().flatten();
            Ok(asked.flat_map(|(t, ps)| ps.iter().map(|&p| (TopicPartition::new(t.clone(), p), Ok(None)))).collect())
        }
        code => Err(Error::from_code(code, format_args!("OffsetFetch of group {group:?}"))),
    }
}

/// One partition's outcome; an error that may pass (UNSTABLE_OFFSET_COMMIT, a moved coordinator) fails the whole call,
/// which is then tried again.
fn outcome<T>(api: &str, tp: TopicPartition, code: ErrorCode, value: T) -> Result<(TopicPartition, Result<T>)> {
    if code == ErrorCode::NONE {
        return Ok((tp, Ok(value)));
    }
    let error = Error::from_code(code, format_args!("{api} of {tp}"));
    let passes = code.is_retriable() && code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    if passes { Err(error) } else { Ok((tp, Err(error))) }
}

fn missing(api: &str, tp: &TopicPartition) -> Error {
    Error::new(ErrorKind::Protocol, format!("{api}: the answer leaves out {tp}"))
}
