//! Refusals of what reads and writes partitions, transactions included.

use super::{Refuse, refuse};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, Records};

refuse!(ProduceRequest, |request, _, error_code| {
    use produce::{PartitionResponse, TopicResponse};
    let partition = |index| PartitionResponse { index, error_code, base_offset: -1, ..Default::default() };
    let topic = |topic: &produce::TopicData| TopicResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic.partition_data.iter().map(|p| partition(p.index)).collect(),
    };
    ProduceResponse { responses: request.topic_data.iter().map(topic).collect(), ..Default::default() }
};
    fn wants_answer(&self) -> bool {
        self.acks != 0
    }
);

/// What is wrong with a session is wrong with no partition of it.
fn concerns_session(code: ErrorCode) -> bool {
    [
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
    ]
    .contains(&code)
}

fn refused_fetch(partition_index: i32, error_code: ErrorCode) -> fetch::PartitionData {
    let records = Some(Records::default());
    fetch::PartitionData { partition_index, error_code, high_watermark: -1, records, ..Default::default() }
}

refuse!(FetchRequest, |request, version, code| {
    let topic = |topic: &fetch::FetchTopic| fetch::TopicResponse {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|p| refused_fetch(p.partition, code)).collect(),
    };
    let named = request.topics.iter().any(|topic| !topic.partitions.is_empty());
    if version >= 7 && (!named || concerns_session(code)) {
        FetchResponse { error_code: code, ..Default::default() }
    } else {
        FetchResponse { responses: request.topics.iter().map(topic).collect(), ..Default::default() }
    }
};
    // A session's answer may hold partitions that the request did not name.
    fn overrule(&self, version: i16, code: ErrorCode, response: &mut FetchResponse) {
        let mut partitions = response.responses.iter_mut().flat_map(|topic| &mut topic.partitions).peekable();
        if partitions.peek().is_none() || concerns_session(code) {
            *response = self.refuse(version, code);
        } else {
            partitions.for_each(|partition| *partition = refused_fetch(partition.partition_index, code));
        }
    }
);

refuse!(ListOffsetsRequest, |request, _, error_code| {
    use list_offsets::{RequestTopic, ResponsePartition, ResponseTopic};
    let partition = |partition_index| ResponsePartition { partition_index, error_code, ..Default::default() };
    let topic = |topic: &RequestTopic| ResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|p| partition(p.partition_index)).collect(),
    };
    ListOffsetsResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
});

refuse!(OffsetForLeaderEpochRequest, |request, _, error_code| {
    use offset_for_leader_epoch::{EpochEndOffset, RequestTopic, ResponseTopic};
    let end = |partition| EpochEndOffset { partition, error_code, ..Default::default() };
    let topic = |topic: &RequestTopic| ResponseTopic {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|p| end(p.partition)).collect(),
    };
    OffsetForLeaderEpochResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
});

refuse!(DeleteRecordsRequest, |request, _, error_code| {
    use delete_records::{RequestTopic, ResponsePartition, ResponseTopic};
    let partition = |partition_index| ResponsePartition { partition_index, low_watermark: -1, error_code };
    let topic = |topic: &RequestTopic| ResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|p| partition(p.partition_index)).collect(),
    };
    DeleteRecordsResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
});

refuse!(DescribeProducersRequest, |request, _, error_code| {
    use describe_producers::{RequestTopic, ResponsePartition, ResponseTopic};
    let partition = |&partition_index: &i32| ResponsePartition { partition_index, error_code, ..Default::default() };
    let topic = |topic: &RequestTopic| ResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    };
    DescribeProducersResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
});

refuse!(MetadataRequest, |request, version, error_code| {
    let topic = |topic: &metadata::RequestTopic| metadata::Topic {
        error_code,
        name: topic.name.clone().or_else(|| (version < 12).then(Default::default)),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    let topics: Vec<_> = request.topics.iter().flatten().map(topic).collect();
    for_all_or_each(MetadataResponse { topics, ..Default::default() }, version, error_code)
};
    // The brokers stay: a client is never told that there are none.
    fn overrule(&self, version: i16, code: ErrorCode, response: &mut MetadataResponse) {
        for topic in &mut response.topics {
            topic.error_code = code;
            topic.partitions.clear();
        }
        *response = for_all_or_each(std::mem::take(response), version, code);
    }
);

/// Puts the code where it stands for all, if no topic has it or it concerns none.
fn for_all_or_each(response: MetadataResponse, version: i16, code: ErrorCode) -> MetadataResponse {
    let rebootstrap = code == ErrorCode::REBOOTSTRAP_REQUIRED;
    if version >= 13 && (response.topics.is_empty() || rebootstrap) {
        MetadataResponse { error_code: code, topics: Vec::new(), ..response }
    } else {
        response
    }
}

refuse!(AddPartitionsToTxnRequest, |request, version, code| {
    use add_partitions_to_txn::{PartitionResult, Topic, TopicResult};
    let partition = |&partition_index: &i32| PartitionResult { partition_index, partition_error_code: code };
    let topic = |topic: &Topic| TopicResult {
        name: topic.name.clone(),
        results_by_partition: topic.partitions.iter().map(partition).collect(),
    };
    AddPartitionsToTxnResponse {
        error_code: if version >= 4 { code } else { ErrorCode::NONE },
        results_by_topic_v3_and_below: request.v3_and_below_topics.iter().map(topic).collect(),
        ..Default::default()
    }
});

refuse!(TxnOffsetCommitRequest, |request, _, error_code| {
    use txn_offset_commit::{RequestTopic, ResponsePartition, ResponseTopic};
    let partition = |partition_index| ResponsePartition { partition_index, error_code };
    let topic = |topic: &RequestTopic| ResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|p| partition(p.partition_index)).collect(),
    };
    TxnOffsetCommitResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
});
