//! Produce: batches are checked, get their offsets and lie in the log; with `acks=all` the answer waits for replicas.

use std::sync::Arc;
use std::time::Duration;

use super::metadata::{leader_hint, named_or_id, topic_ref};
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::log::{Appended, Rejected};
use crate::embedded::refuse::Refuse;
use crate::embedded::state::State;
use crate::embedded::topic::Waiting;
use crate::wire::messages::produce::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionResponse, RecordError, TopicData, TopicResponse,
};
use crate::wire::messages::{ProduceRequest, ProduceResponse};
use crate::wire::records::{RawBatch, batches};
use crate::wire::{ErrorCode, Records};

impl Serve for ProduceRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<ProduceResponse> {
        let mut response = ProduceResponse::default();
        let mut pending = Vec::new();
        if self.transactional_id.is_none() && has_transactional_records(&self) {
            let code = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
            return Answer::Ready(self.refuse(call.version, code));
        }
        if call.version < FROM_ZSTD && has_zstd(&self) {
            return Answer::Ready(self.refuse(call.version, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
        }
        if ![-1, 0, 1].contains(&self.acks) {
            return Answer::Ready(self.refuse(call.version, ErrorCode::INVALID_REQUIRED_ACKS));
        }
        for topic in &self.topic_data {
            let mut answer =
                TopicResponse { name: topic.name.clone(), topic_id: topic.topic_id, partition_responses: Vec::new() };
            for data in &topic.partition_data {
                let place = (topic, data.index);
                let appended = append(call, state, &self, place, data.records.clone().unwrap_or_default());
                answer.partition_responses.push(match appended {
                    Ok((appended, log_start_offset, end)) => {
                        pending.extend(end.map(|end| (answer_place(&response, &answer), end)));
                        PartitionResponse {
                            index: data.index,
                            base_offset: appended.base_offset,
                            log_append_time_ms: appended.log_append_time_ms,
                            log_start_offset,
                            ..Default::default()
                        }
                    }
                    Err(why) => refused(call.version, state, &mut response, (topic, data.index), why),
                });
            }
            response.responses.push(answer);
        }
        let bytes = |p: &crate::wire::messages::produce::PartitionData| p.records.as_ref().map_or(0, Records::len);
        state.bound_memory(self.topic_data.iter().flat_map(|t| &t.partition_data).map(bytes).sum());
        match self.acks {
            0 => {
                let failed = response.responses.iter().flat_map(|t| &t.partition_responses);
                // Kafka tells a client that wants no answer of an error by hanging up.
                if failed.into_iter().any(|p| p.error_code != ErrorCode::NONE) { Answer::Close } else { Answer::None }
            }
            -1 if !pending.is_empty() => {
                let limit = call.now + Duration::from_millis(self.timeout_ms.max(0).unsigned_abs().into());
                Answer::Later(Box::pin(replicated(call.cluster.clone(), response, pending, limit)))
            }
            _ => Answer::Ready(response),
        }
    }
}

/// From here on producers know Zstandard (KIP-110).
const FROM_ZSTD: i16 = 7;
const ZSTD: u8 = 4;

/// Topic and partition of the answer by their places in it.
type Place = (usize, usize);

fn answer_place(response: &ProduceResponse, topic: &TopicResponse) -> Place {
    (response.responses.len(), topic.partition_responses.len())
}

fn has_transactional_records(request: &ProduceRequest) -> bool {
    has_batch(request, |batch| batch.is_transactional())
}

fn has_zstd(request: &ProduceRequest) -> bool {
    has_batch(request, |batch| batch.header().codec() == ZSTD)
}

fn has_batch(request: &ProduceRequest, is_it: impl Fn(&RawBatch) -> bool) -> bool {
    let mut records = request.topic_data.iter().flat_map(|t| &t.partition_data).filter_map(|p| p.records.as_ref());
    records.any(|r| batches(r.clone().into_bytes()).any(|batch| batch.is_ok_and(|batch| is_it(&batch))))
}

/// Why nothing was appended, and where the log starts if that is known.
type Refusal = (Rejected, i64);

fn at_once(code: ErrorCode) -> Refusal {
    (code.into(), -1)
}

/// What was appended, where the log starts, and, if replicas do not have it yet, the offset they have to reach.
type Done = (Appended, i64, Option<i64>);

fn append(
    call: &Call,
    state: &mut State,
    request: &ProduceRequest,
    (topic, index): (&TopicData, i32),
    records: Records,
) -> Result<Done, Refusal> {
    let by = named_or_id(call.version >= 13, &topic.name, topic.topic_id);
    let (name, found) = state.topic(by).map_err(at_once)?;
    let (name, rules) = (name.clone(), found.rules());
    let min_insync = found.number("min.insync.replicas");
    let records = records.into_bytes();
    // What the partition knows to be in an open transaction is not asked for again.
    let ongoing = state.partition(&name, index).is_some_and(|p| p.log.is_ongoing(&records));
    if let Some(id) = request.transactional_id.as_deref().filter(|_| !ongoing) {
        state.transactions.check_write(id, &records, (&name, index)).map_err(|code| match code {
            // From here on clients know the code that says so of anything that can be mended by an abort.
            ErrorCode::INVALID_TXN_STATE if call.version >= 11 => at_once(ErrorCode::TRANSACTION_ABORTABLE),
            ErrorCode::INVALID_TXN_STATE => (Rejected::NOT_IN_TRANSACTION, -1),
            code => at_once(code),
        })?;
    }
    let running: Vec<i32> = state.running().map(|(id, _)| id).collect();
    let store = state.store.clone();
    let partition = state.led(call.broker, by, index, -1).map_err(at_once)?;
    let start = partition.log.start();
    let in_sync = partition.replicas.iter().filter(|id| running.contains(id)).count() as i64;
    if request.acks == -1 && in_sync < min_insync.min(partition.replicas.len() as i64) {
        return Err((ErrorCode::NOT_ENOUGH_REPLICAS.into(), start));
    }
    let stamp = partition.stamp(call.wall_ms);
    let appended = partition.log.append(records, &rules, stamp);
    let appended = appended.map_err(|why| if why.in_log { (why, start) } else { (why, -1) })?;
    if !appended.duplicate {
        if let (Some(store), Some(batch)) = (store, partition.log.batches().last()) {
            store.append(&name, index, batch);
        }
        partition.appended();
    }
    let end = partition.log.end();
    let behind = request.acks == -1 && partition.log.high_watermark() < end;
    Ok((appended, partition.log.start(), behind.then_some(end)))
}

fn refused(
    version: i16,
    state: &State,
    response: &mut ProduceResponse,
    (topic, index): (&TopicData, i32),
    (why, log_start_offset): Refusal,
) -> PartitionResponse {
    let error_code = why.code;
    let record_error = |batch_index| RecordError { batch_index, batch_index_error_message: None };
    let mut answer = PartitionResponse {
        index,
        error_code,
        base_offset: -1,
        log_start_offset,
        record_errors: why.records.into_iter().map(record_error).collect(),
        error_message: why.text.map(Into::into),
        ..Default::default()
    };
    if version >= 10
        && matches!(error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH)
        && let Some((leader_id, leader_epoch, host, port)) = leader_hint(state, &topic.name, topic.topic_id, index)
    {
        answer.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
        if response.node_endpoints.iter().all(|n| n.node_id != leader_id) {
            let endpoint = NodeEndpoint { node_id: leader_id, host: host.into(), port: port.into(), rack: None };
            response.node_endpoints.push(endpoint);
        }
    }
    answer
}

/// Waits until replicas have everything, a leader changes, or time is up.
async fn replicated(
    cluster: Arc<crate::embedded::shared::Shared>,
    mut response: ProduceResponse,
    mut pending: Vec<(Place, i64)>,
    limit: std::time::Instant,
) -> ProduceResponse {
    let waiter = Waiting::default();
    let epochs: Vec<i32> = {
        let state = cluster.state();
        pending
            .iter()
            .map(|(place, _)| partition_of(&state, &response, *place).map_or(-1, |p| p.leader_epoch))
            .collect()
    };
    let mut pending: Vec<_> = pending.drain(..).zip(epochs).collect();
    loop {
        {
            let mut state = cluster.state();
            pending.retain(|&((place, end), epoch)| {
                let code = match partition_of(&state, &response, place) {
                    Some(p) if p.leader_epoch != epoch || p.leader < 0 => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                    Some(p) if p.log.high_watermark() >= end => return false,
                    Some(_) => return true,
                    None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                };
                fail(&mut response, place, code);
                false
            });
            for ((place, _), _) in &pending {
                if let Some((name, index)) = name_of(&state, &response, *place)
                    && let Some(partition) = state.partition_mut(&name, index)
                {
                    partition.wait(&waiter);
                }
            }
        }
        if pending.is_empty() {
            return response;
        }
        tokio::select! {
            biased;
            () = waiter.changed() => {}
            () = cluster.env.sleep_until(limit) => {
                pending.iter().for_each(|((place, _), _)| fail(&mut response, *place, ErrorCode::REQUEST_TIMED_OUT));
                return response;
            }
        }
    }
}

fn fail(response: &mut ProduceResponse, (topic, partition): Place, error_code: ErrorCode) {
    let answer = &mut response.responses[topic].partition_responses[partition];
    *answer = PartitionResponse { index: answer.index, error_code, base_offset: -1, ..Default::default() };
}

fn name_of(state: &State, response: &ProduceResponse, (topic, partition): Place) -> Option<(String, i32)> {
    let answer = &response.responses[topic];
    let (name, _) = state.topic(topic_ref(&answer.name, answer.topic_id)).ok()?;
    Some((name.clone(), answer.partition_responses[partition].index))
}

fn partition_of<'a>(
    state: &'a State,
    response: &ProduceResponse,
    place: Place,
) -> Option<&'a crate::embedded::topic::Partition> {
    let (name, index) = name_of(state, response, place)?;
    state.partition(&name, index)
}
