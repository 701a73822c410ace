//! DeleteRecords, DescribeProducers, ListPartitionReassignments: looking after partitions.

use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::{State, TopicRef};
use crate::wire::ErrorCode;
use crate::wire::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeProducersRequest, DescribeProducersResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, delete_records, describe_producers,
};

impl Serve for DeleteRecordsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<DeleteRecordsResponse> {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                let led = state.led(call.broker, TopicRef::Name(&topic.name), p.partition_index, -1);
                let deleted = led.and_then(|led| match p.offset {
                    -1 => Ok((led.log.high_watermark(), led)),
                    offset if offset < 0 || offset > led.log.high_watermark() => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
                    offset => Ok((offset, led)),
                });
                let (low_watermark, error_code) = match deleted {
                    Ok((offset, led)) => {
                        led.log.delete_before(offset);
                        led.wake();
                        (led.log.start(), ErrorCode::NONE)
                    }
                    Err(code) => (-1, code),
                };
                delete_records::ResponsePartition { partition_index: p.partition_index, low_watermark, error_code }
            });
            delete_records::ResponseTopic { partitions: partitions.collect(), name: topic.name.clone() }
        });
        let topics = topics.collect();
        state.starts_changed();
        Answer::Ready(DeleteRecordsResponse { topics, ..Default::default() })
    }
}

impl Serve for DescribeProducersRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<DescribeProducersResponse> {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|&partition_index| {
                let mut answer = describe_producers::ResponsePartition { partition_index, ..Default::default() };
                match state.led(call.broker, TopicRef::Name(&topic.name), partition_index, -1) {
                    Ok(led) => {
                        let producers = led.log.active_producers().map(|p| describe_producers::ProducerState {
                            producer_id: p.producer_id,
                            producer_epoch: p.epoch.into(),
                            last_sequence: p.last_sequence,
                            last_timestamp: p.last_ms,
                            coordinator_epoch: 0,
                            current_txn_start_offset: p.open_from,
                        });
                        answer.active_producers = producers.collect();
                    }
                    Err(code) => answer.error_code = code,
                }
                answer
            });
            describe_producers::ResponseTopic { partitions: partitions.collect(), name: topic.name.clone() }
        });
        Answer::Ready(DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
    }
}

impl Serve for ListPartitionReassignmentsRequest {
    fn serve(self, _: &Call, _: &mut State) -> Answer<ListPartitionReassignmentsResponse> {
        // Replicas never move here.
        Answer::Ready(ListPartitionReassignmentsResponse { error_message: None, ..Default::default() })
    }
}
