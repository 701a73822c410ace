//! ListOffsets and OffsetForLeaderEpoch: offsets by time, by end, by epoch.

use std::collections::BTreeSet;

use super::metadata::topic_ref;
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::{State, TopicRef};
use crate::embedded::topic::Partition;
use crate::wire::messages::list_offsets::{RequestPartition, ResponsePartition, ResponseTopic};
use crate::wire::messages::offset_for_leader_epoch::{self, EpochEndOffset};
use crate::wire::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use crate::wire::{ErrorCode, Uuid};

impl Serve for ListOffsetsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<ListOffsetsResponse> {
        let committed_only = self.isolation_level == 1;
        let named = || self.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (&t.name, p.partition_index)));
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> = named().filter(|place| !seen.insert(*place)).map(|(t, p)| (t.clone(), p)).collect();
        let topics = self.topics.into_iter().map(|topic| {
            let once = |asked: &&RequestPartition| !twice.contains(&(topic.name.clone(), asked.partition_index));
            let again = twice.iter().filter(|(name, _)| *name == topic.name).map(|&(_, partition_index)| {
                let error_code = ErrorCode::INVALID_REQUEST;
                ResponsePartition { partition_index, error_code, ..Default::default() }
            });
            let partitions = topic.partitions.iter().filter(once).map(|asked| {
                let by = topic_ref(&topic.name, Uuid::ZERO);
                let led = state.led(call.broker, by, asked.partition_index, asked.current_leader_epoch);
                let mut answer = ResponsePartition { partition_index: asked.partition_index, ..Default::default() };
                let led =
                    if is_known(asked.timestamp, call.version) { led } else { Err(ErrorCode::UNSUPPORTED_VERSION) };
                match led.and_then(|p| look_up(p, asked, committed_only)) {
                    Ok(Some((offset, timestamp, leader_epoch))) => {
                        (answer.offset, answer.timestamp, answer.leader_epoch) = (offset, timestamp, leader_epoch);
                    }
                    Ok(None) => {}
                    Err(code) => answer.error_code = code,
                }
                if call.version < 4 {
                    answer.leader_epoch = -1;
                }
                answer
            });
            ResponseTopic { partitions: partitions.chain(again).collect(), name: topic.name.clone() }
        });
        Answer::Ready(ListOffsetsResponse { topics: topics.collect(), ..Default::default() })
    }
}

/// Whether this version has such a time.
fn is_known(timestamp: i64, version: i16) -> bool {
    match timestamp {
        -2.. => true,
        -3 => version >= 7,
        -4 => version >= 8,
        -5 => version >= 9,
        -6 => version >= 11,
        _ => false,
    }
}

/// Offset, time (−1 for an end of the log), and the epoch of the record there.
type Found = Option<(i64, i64, i32)>;

fn look_up(p: &Partition, asked: &RequestPartition, committed_only: bool) -> Result<Found, ErrorCode> {
    let log = &p.log;
    let limit = if committed_only { log.last_stable() } else { log.high_watermark() };
    let record = |found: Option<(i64, i64)>| {
        found.filter(|(offset, _)| *offset < limit).map(|(offset, time)| (offset, time, log.epoch_at(offset)))
    };
    Ok(match asked.timestamp {
        -1 => Some((limit, -1, p.leader_epoch)),
        // Nothing is tiered here, so that the local log is all of it.
        -2 | -4 => Some((log.start(), -1, log.epoch_at(log.start()))),
        -3 => record(log.youngest()),
        -5 | -6 => None,
        time @ 0.. => record(log.at_time(time)),
        _ => return Err(ErrorCode::INVALID_REQUEST),
    })
}

impl Serve for OffsetForLeaderEpochRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<OffsetForLeaderEpochResponse> {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let by = TopicRef::Name(&topic.topic);
                let mut answer = EpochEndOffset { partition: asked.partition, ..Default::default() };
                match state.led(call.broker, by, asked.partition, asked.current_leader_epoch) {
                    Ok(p) => (answer.leader_epoch, answer.end_offset) = p.log.epoch_end(asked.leader_epoch),
                    Err(code) => answer.error_code = code,
                }
                answer
            });
            offset_for_leader_epoch::ResponseTopic { partitions: partitions.collect(), topic: topic.topic.clone() }
        });
        Answer::Ready(OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
    }
}
