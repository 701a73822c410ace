//! One Produce request with batches of many partitions, and the way back from its answer to each batch.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answers;
use crate::client::cluster::Cluster;
use crate::client::producer::queue::{Outcome, Retry, Taken};
use crate::client::producer::sequencer::Answer;
use crate::client::topology::{BrokerMeta, NewLeader, Topology};
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;
use crate::wire::messages::produce::{PartitionData, ProduceRequest, ProduceResponse, TopicData};
use crate::wire::{ErrorCode, Records, Uuid};

/// From this version on topics are named by id.
const BY_ID: i16 = 13;

/// Gathers batches, at most one per partition.
pub(super) struct RequestBuilder {
    topology: Arc<Topology>,
    /// From how many bytes on it is full.
    room: usize,
    bytes: usize,
    batches: Vec<Taken>,
    topics: Vec<TopicData>,
    /// Which topic and partition of the request each batch is.
    places: Vec<(usize, usize)>,
    ids_known: bool,
}

impl RequestBuilder {
    pub(super) fn new(topology: Arc<Topology>, room: usize) -> Self {
        Self { topology, room, bytes: 0, batches: vec![], topics: vec![], places: vec![], ids_known: true }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.room
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long it may take; `None` if it is empty.
    pub(super) fn limit(&self) -> Option<Duration> {
        Some(self.batches.first()?.queue.shared().config.request_timeout)
    }

    pub(super) fn push(&mut self, batch: Taken) {
        let tp = batch.queue.tp();
        let at = match self.topics.iter().rposition(|t| t.name.as_str() == &*tp.topic) {
            Some(at) => at,
            None => {
                let topic_id = self.topology.topic(&tp.topic).map_or(Uuid::ZERO, |t| t.id);
                self.ids_known &= !topic_id.is_zero();
                self.topics.push(TopicData { name: tp.topic.clone().into(), topic_id, ..TopicData::default() });
                self.topics.len() - 1
            }
        };
        let partitions = &mut self.topics[at].partition_data;
        self.places.push((at, partitions.len()));
        partitions.push(PartitionData { index: tp.partition, records: Some(Records(batch.parcel.chunks())) });
        self.bytes += batch.parcel.size();
        self.batches.push(batch);
    }

    /// Sends the request. What cannot be sent has come to its end at once. The broker is to give up waiting for replicas
    /// before its answer is given up here, and all that is under way with it.
    pub(super) fn start(
        self,
        connection: &Connection,
        broker: i32,
        limit: Duration,
    ) -> Result<(UnderWay, impl Future<Output = Answered> + Send + use<>), Landed> {
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: i32::try_from((limit - limit / 10).as_millis()).unwrap_or(i32::MAX),
            topic_data: self.topics,
        };
        let version = connection.version::<ProduceRequest>((!self.ids_known).then_some(BY_ID - 1));
        let started = version.and_then(|v| Ok((v, connection.start(&request, v, limit)?)));
        // Records are referred to by the batches and the connection; here only names and places are needed.
        let topics: Vec<_> = request
            .topic_data
            .into_iter()
            .map(|t| (t.name, t.topic_id, t.partition_data.into_iter().map(|p| p.index).collect::<Vec<_>>()))
            .collect();
        let under_way = UnderWay::new(self.batches, self.places);
        let batches = under_way.batches.len();
        tracing::trace!(target: "dispatcher::client", broker, batches, bytes = self.bytes, "produce");
        let (version, mut pending) = match started {
            Ok(started) => started,
            Err(error) => return Err(under_way.landed(Err(Lost { error, maybe_sent: false }))),
        };
        let connection = connection.clone();
        let answer = async move {
            match (&mut pending).await {
                Ok(response) => {
                    connection.throttle::<ProduceRequest>(version, response.throttle_time_ms);
                    Ok(sort(response, version, &topics))
                }
                Err(error) => Err(Lost { error, maybe_sent: pending.maybe_sent() && !mutant!(LostAnswerIsNotWritten) }),
            }
        };
        Ok((under_way, answer))
    }
}

/// The batches of a request that was sent.
pub(super) struct UnderWay {
    batches: Vec<Taken>,
    places: Vec<(usize, usize)>,
    /// When the next of them runs out of time.
    deadline: Option<Instant>,
}

impl UnderWay {
    fn new(batches: Vec<Taken>, places: Vec<(usize, usize)>) -> Self {
        let deadline = batches.iter().map(Taken::deadline).min();
        Self { batches, places, deadline }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Reports what has run out of time. The request still has its own: ending the connection for one batch would take
    /// the answers from all others, again and again where a broker is slow and a partition of it cannot be written.
    pub(super) fn expire(&mut self, now: Instant) {
        self.batches.iter_mut().filter(|batch| batch.deadline() <= now).for_each(Taken::give_up);
        self.deadline = self.batches.iter().map(Taken::deadline).filter(|&deadline| deadline > now).min();
    }

    pub(super) fn landed(self, answer: Answered) -> Landed {
        Landed { batches: self.batches, places: self.places, answer }
    }
}

/// What became of a request.
pub(super) type Answered = Result<Sorted, Lost>;

/// A request that got no answer.
pub(super) struct Lost {
    error: Error,
    maybe_sent: bool,
}

/// The answer, each partition where the request has it; `None` where the broker left one out.
pub(super) struct Sorted {
    partitions: Vec<Vec<Option<crate::wire::messages::produce::PartitionResponse>>>,
    endpoints: Vec<BrokerMeta>,
}

fn sort(response: ProduceResponse, version: i16, topics: &[(crate::wire::StrBytes, Uuid, Vec<i32>)]) -> Sorted {
    let mut partitions: Vec<Vec<_>> = topics.iter().map(|(_, _, p)| p.iter().map(|_| None).collect()).collect();
    for topic in response.responses {
        let same =
            |(name, id, _): &&(_, _, _)| if version >= BY_ID { *id == topic.topic_id } else { *name == topic.name };
        let Some(at) = topics.iter().position(|t| same(&t)) else { continue };
        let asked = &topics[at].2;
        for (nth, partition) in topic.partition_responses.into_iter().enumerate() {
            // Brokers keep the request's order; it is not promised.
            let here = asked.get(nth).filter(|&&index| index == partition.index).map(|_| nth);
            if let Some(place) = here.or_else(|| asked.iter().position(|&index| index == partition.index)) {
                partitions[at][place] = Some(partition);
            }
        }
    }
    let endpoints = response.node_endpoints.into_iter().filter_map(|node| {
        let port = u16::try_from(node.port).ok()?;
        Some(BrokerMeta { id: node.node_id, host: node.host.as_str().into(), port, rack: None })
    });
    Sorted { partitions, endpoints: endpoints.collect() }
}

/// A request that has come to its end.
pub(super) struct Landed {
    batches: Vec<Taken>,
    places: Vec<(usize, usize)>,
    answer: Answered,
}

impl Landed {
    pub(super) fn is_lost(&self) -> bool {
        self.answer.is_err()
    }

    /// What became of each batch. Leaders named in the answer are passed on to the cluster; `trouble` gets an error
    /// if new metadata should be asked for.
    pub(super) fn judge(self, cluster: &Cluster, broker: i32, trouble: &mut Option<Error>) -> Vec<(Taken, Outcome)> {
        let mut sorted = match self.answer {
            Ok(sorted) => sorted,
            Err(Lost { error, maybe_sent }) => {
                // What cannot be sent at all (no common version, not encodable) will not get better by a retry.
                let hopeless = !maybe_sent && !error.is_retriable() && error.kind() != ErrorKind::Closed;
                let answer = match hopeless {
                    true => Answer::Failed { maybe_written: false },
                    false => Answer::Retry { maybe_written: maybe_sent },
                };
                *trouble = Some(error.clone());
                let outcome = |_: &Taken| Outcome::Refused { answer, error: error.clone(), retry: Retry::AfterBackoff };
                return self.batches.into_iter().map(|b| (outcome(&b), b)).map(|(o, b)| (b, o)).collect();
            }
        };
        let leaders = self.batches.iter().zip(&self.places).filter_map(|(batch, &(topic, place))| {
            let partition = sorted.partitions[topic][place].as_ref().filter(|p| p.error_code != ErrorCode::NONE)?;
            let (leader, leader_epoch) = (partition.current_leader.leader_id, partition.current_leader.leader_epoch);
            (leader >= 0).then(|| NewLeader { tp: batch.queue.tp().clone(), leader, leader_epoch })
        });
        let leaders: Vec<_> = leaders.collect();
        if !leaders.is_empty() {
            cluster.learn_leaders(&leaders, &sorted.endpoints);
        }
        let mut judged = Vec::with_capacity(self.batches.len());
        for (batch, (topic, place)) in self.batches.into_iter().zip(self.places) {
            let tp = batch.queue.tp();
            let Some(partition) = sorted.partitions[topic][place].take() else {
                let error = Error::new(ErrorKind::Protocol, format!("broker {broker} left {tp} out of its answer"));
                *trouble = Some(error.clone());
                let answer = Answer::Retry { maybe_written: true };
                judged.push((batch, Outcome::Refused { answer, error, retry: Retry::AfterBackoff }));
                continue;
            };
            if partition.error_code == ErrorCode::NONE {
                let base_offset = Some(partition.base_offset).filter(|&o| o >= 0);
                let log_append_time = Some(partition.log_append_time_ms).filter(|&ms| ms >= 0);
                judged.push((batch, Outcome::Written { base_offset, log_append_time }));
                continue;
            }
            let moved = cluster.topology().partition(tp).is_some_and(|p| p.leader >= 0 && p.leader != broker);
            let mut error = Error::from_code(partition.error_code, format_args!("Produce to {tp}"));
            if let Some(text) = partition.error_message.filter(|text| !text.as_str().is_empty()) {
                let kind = error.kind();
                error = error.wrap(kind, text.as_str().to_owned());
            }
            if answers::is_stale_metadata(partition.error_code) && !moved {
                *trouble = Some(error.clone());
            }
            judged.push((batch, answers::outcome(partition.error_code, error, moved)));
        }
        judged
    }
}
