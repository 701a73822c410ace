//! Producer ids and transactions.

use std::time::Duration;

use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::refuse::Refuse;
use crate::embedded::state::State;
use crate::wire::ErrorCode;
use crate::wire::messages::add_partitions_to_txn::{PartitionResult, TopicResult};
use crate::wire::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
};

/// Before KIP-588 (these versions) a fenced producer was told so by another code.
fn by_version(code: ErrorCode, version: i16, from: i16) -> ErrorCode {
    if code == ErrorCode::PRODUCER_FENCED && version < from { ErrorCode::INVALID_PRODUCER_EPOCH } else { code }
}

impl Serve for InitProducerIdRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<InitProducerIdResponse> {
        let Some(id) = self.transactional_id.clone() else {
            let producer_id = state.transactions.producer_id();
            state.topics_changed();
            return Answer::Ready(InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() });
        };
        if (self.producer_id < 0) != (self.producer_epoch < 0) {
            return Answer::Ready(self.refuse(call.version, ErrorCode::INVALID_REQUEST));
        }
        let timeout = Duration::from_millis(self.transaction_timeout_ms.max(0).unsigned_abs().into());
        let known = (self.producer_id >= 0).then_some((self.producer_id, self.producer_epoch));
        let begun = state.coordinates(call.broker, &id);
        match begun.and_then(|()| state.transactions.init(&id, timeout, known)) {
            Ok(((producer_id, producer_epoch), ending)) => {
                ending.into_iter().for_each(|ending| state.end_transaction(ending, call.wall_ms));
                state.topics_changed();
                Answer::Ready(InitProducerIdResponse { producer_id, producer_epoch, ..Default::default() })
            }
            Err(code) => Answer::Ready(self.refuse(call.version, by_version(code, call.version, 4))),
        }
    }
}

impl Serve for AddPartitionsToTxnRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<AddPartitionsToTxnResponse> {
        if call.version >= 4 {
            // Spoken between brokers, of which there is one process here.
            return Answer::Ready(self.refuse(call.version, ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
        }
        let id = &self.v3_and_below_transactional_id;
        let topics = &self.v3_and_below_topics;
        let all = || topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.to_string(), *p)));
        let unknown = all().any(|(topic, partition)| state.partition(&topic, partition).is_none());
        let producer = (self.v3_and_below_producer_id, self.v3_and_below_producer_epoch);
        let outcome = state.coordinates(call.broker, id).and_then(|()| {
            if unknown {
                return Err(ErrorCode::OPERATION_NOT_ATTEMPTED);
            }
            state.transactions.add_partitions(call.now, id, producer, all())
        });
        call.cluster.timing_changed();
        let code = outcome.err().map(|code| by_version(code, call.version, 2)).unwrap_or_default();
        let results = topics.iter().map(|topic| TopicResult {
            name: topic.name.clone(),
            results_by_partition: topic
                .partitions
                .iter()
                .map(|&partition_index| {
                    let missing = state.partition(&topic.name, partition_index).is_none();
                    let partition_error_code = if missing { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { code };
                    PartitionResult { partition_index, partition_error_code }
                })
                .collect(),
        });
        let results_by_topic_v3_and_below = results.collect();
        Answer::Ready(AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() })
    }
}

impl Serve for AddOffsetsToTxnRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<AddOffsetsToTxnResponse> {
        let producer = (self.producer_id, self.producer_epoch);
        let id = &self.transactional_id;
        let outcome = state
            .coordinates(call.broker, id)
            .and_then(|()| state.transactions.add_group(call.now, id, producer, &self.group_id));
        call.cluster.timing_changed();
        let error_code = outcome.err().map(|code| by_version(code, call.version, 2)).unwrap_or_default();
        Answer::Ready(AddOffsetsToTxnResponse { error_code, ..Default::default() })
    }
}

impl Serve for EndTxnRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<EndTxnResponse> {
        let producer = (self.producer_id, self.producer_epoch);
        let id = &self.transactional_id;
        let outcome =
            state.coordinates(call.broker, id).and_then(|()| state.transactions.end(id, producer, self.committed));
        let error_code = match outcome {
            Ok(ending) => {
                ending.into_iter().for_each(|ending| state.end_transaction(ending, call.wall_ms));
                ErrorCode::NONE
            }
            Err(code) => by_version(code, call.version, 2),
        };
        let (producer_id, producer_epoch) = if error_code == ErrorCode::NONE { producer } else { (-1, -1) };
        Answer::Ready(EndTxnResponse { error_code, producer_id, producer_epoch, ..Default::default() })
    }
}
