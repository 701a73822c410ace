//! Fetch: what is there, or, if that is too little, what comes within `max_wait_ms`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metadata::{leader_hint, named_or_id};
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::refuse::Refuse;
use crate::embedded::session::{Entry, Plan, Sessions};
use crate::embedded::shared::Shared;
use crate::embedded::state::State;
use crate::embedded::topic::{Partition, Waiting};
use crate::wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, NodeEndpoint, PartitionData, TopicResponse,
};
use crate::wire::messages::{FetchRequest, FetchResponse};
use crate::wire::{ErrorCode, Records};

const UNKNOWN: [ErrorCode; 2] = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID];
/// From here on consumers may read from followers (KIP-392).
const FROM_FOLLOWERS: i16 = 11;

/// A fetch that is being served.
struct Fetching {
    broker: i32,
    version: i16,
    plan: Plan,
    committed_only: bool,
    max_bytes: usize,
    min_bytes: usize,
    /// By partition of the plan: it did not exist when the request came. That is no error to hurry for, unlike one that
    /// arises while the request waits.
    absent: Vec<bool>,
}

impl Serve for FetchRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<FetchResponse> {
        let Some(broker) = state.brokers.get_mut(&call.broker) else { return Answer::Close };
        if ![0, 1].contains(&self.isolation_level) {
            return Answer::Ready(self.refuse(call.version, ErrorCode::UNKNOWN_SERVER_ERROR));
        }
        let plan = match broker.sessions.plan(&self, call.version, call.now) {
            Ok(plan) => plan,
            Err(error_code) => return Answer::Ready(FetchResponse { error_code, ..Default::default() }),
        };
        let mut fetching = Fetching {
            broker: call.broker,
            version: call.version,
            plan,
            committed_only: self.isolation_level == 1,
            max_bytes: usize::try_from(self.max_bytes).unwrap_or_default(),
            min_bytes: usize::try_from(self.min_bytes).unwrap_or_default(),
            absent: Vec::new(),
        };
        let absent = |entry| fetching.partition(state, entry).is_err_and(|code| UNKNOWN.contains(&code));
        fetching.absent = fetching.plan.partitions.iter().map(absent).collect();
        if fetching.is_enough(state) || self.max_wait_ms <= 0 {
            return Answer::Ready(fetching.read(state));
        }
        let limit = call.now + Duration::from_millis(self.max_wait_ms.unsigned_abs().into());
        Answer::Later(Box::pin(wait(call.cluster.clone(), fetching, limit)))
    }
}

async fn wait(cluster: Arc<Shared>, fetching: Fetching, limit: Instant) -> FetchResponse {
    let waiter = Waiting::default();
    loop {
        {
            let mut state = cluster.state();
            if fetching.is_enough(&mut state) {
                return fetching.read(&mut state);
            }
            for entry in &fetching.plan.partitions {
                if let Ok(partition) = fetching.partition(&mut state, entry) {
                    partition.wait(&waiter);
                }
            }
        }
        tokio::select! {
            biased;
            () = waiter.changed() => {}
            () = cluster.env.sleep_until(limit) => return fetching.read(&mut cluster.state()),
        }
    }
}

impl Fetching {
    fn partition<'a>(&self, state: &'a mut State, entry: &Entry) -> Result<&'a mut Partition, ErrorCode> {
        let topic = named_or_id(self.version >= 13, &entry.topic, entry.topic_id);
        let (partition, epoch) = (entry.asked.partition, entry.asked.current_leader_epoch);
        if self.version < FROM_FOLLOWERS {
            return state.led(self.broker, topic, partition, epoch);
        }
        state.replicated(self.broker, topic, partition, epoch)
    }

    /// Where the log ends for this broker: a follower has what all have.
    fn end(&self, partition: &Partition) -> i64 {
        if partition.leader == self.broker { partition.log.end() } else { partition.log.high_watermark() }
    }

    fn out_of_range(&self, partition: &Partition, offset: i64) -> bool {
        offset < partition.log.start() || offset > self.end(partition)
    }

    /// Up to where this consumer may read.
    fn limit(&self, partition: &Partition) -> i64 {
        if self.committed_only { partition.log.last_stable() } else { partition.log.high_watermark() }
    }

    /// Whether the answer need not wait: enough bytes, an error, or nothing to wait for.
    fn is_enough(&self, state: &mut State) -> bool {
        let mut bytes = 0;
        for (entry, _) in self.plan.partitions.iter().zip(&self.absent).filter(|(_, absent)| !**absent) {
            let Ok(partition) = self.partition(state, entry) else { return true };
            let offset = entry.asked.fetch_offset;
            if self.out_of_range(partition, offset) || diverging(partition, entry).is_some() {
                return true;
            }
            let enough = self.min_bytes.saturating_sub(bytes).max(1);
            let most = usize::try_from(entry.asked.partition_max_bytes).unwrap_or_default().max(1);
            bytes += partition.log.readable(offset, self.limit(partition), enough).min(most);
            if bytes >= self.min_bytes.max(1) {
                return true;
            }
        }
        self.absent.iter().all(|absent| *absent) || self.min_bytes == 0
    }

    fn read(&self, state: &mut State) -> FetchResponse {
        let mut response = FetchResponse { session_id: self.plan.session_id, ..Default::default() };
        let mut left = self.max_bytes;
        let mut any = false;
        let mut answered = Vec::new();
        for entry in &self.plan.partitions {
            let data = match self.partition(state, entry).and_then(|p| self.slice(p, entry, left, !any)) {
                Ok(data) => data,
                Err(code) => refused(self.version, state, &mut response, entry, code),
            };
            let bytes = data.records.as_ref().map_or(0, Records::len);
            any |= bytes > 0;
            left = left.saturating_sub(bytes);
            if !self.plan.incremental || Sessions::is_news(entry, &data) {
                answered.push((entry.clone(), data));
            }
        }
        if let Some(broker) = state.brokers.get_mut(&self.broker) {
            broker.sessions.answered(self.plan.session_id, &answered);
        }
        for (entry, data) in answered {
            let is_it = |t: &TopicResponse| t.topic == *entry.topic && t.topic_id == entry.topic_id;
            match response.responses.iter_mut().find(|t| is_it(t)) {
                Some(topic) => topic.partitions.push(data),
                None => response.responses.push(TopicResponse {
                    topic: entry.topic.as_ref().into(),
                    topic_id: entry.topic_id,
                    partitions: vec![data],
                }),
            }
        }
        response
    }

    fn slice(&self, p: &mut Partition, entry: &Entry, left: usize, first: bool) -> Result<PartitionData, ErrorCode> {
        let (log, offset) = (&p.log, entry.asked.fetch_offset);
        let mut data = PartitionData {
            partition_index: entry.asked.partition,
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable(),
            log_start_offset: log.start(),
            aborted_transactions: None,
            records: Some(Records::default()),
            ..Default::default()
        };
        if entry.asked.partition_max_bytes < 0 {
            return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
        }
        let diverging = diverging(p, entry);
        if let Some(diverging_epoch) = diverging.clone().filter(|at| at.epoch >= 0) {
            return Ok(PartitionData { diverging_epoch, ..data });
        }
        if diverging.is_some() || self.out_of_range(p, offset) {
            data.error_code = ErrorCode::OFFSET_OUT_OF_RANGE;
            return Ok(PartitionData { high_watermark: -1, last_stable_offset: -1, log_start_offset: -1, ..data });
        }
        let to = self.limit(p);
        let most = usize::try_from(entry.asked.partition_max_bytes).unwrap_or_default().min(left);
        let chunks = log.read(offset, to, most, first);
        if self.committed_only {
            let aborted = log
                .aborted_in(offset, to)
                .map(|a| AbortedTransaction { producer_id: a.producer_id, first_offset: a.first_offset });
            data.aborted_transactions = Some(if chunks.is_empty() { Vec::new() } else { aborted.collect() });
        }
        data.records = Some(Records(chunks));
        Ok(data)
    }
}

/// Where the log parts from what a fetcher says that it read last (KIP-595); epoch −1 if no such epoch is known.
fn diverging(partition: &Partition, entry: &Entry) -> Option<EpochEndOffset> {
    let last = entry.asked.last_fetched_epoch;
    if last < 0 {
        return None;
    }
    let (epoch, end_offset) = partition.log.epoch_end(last);
    (epoch < last || end_offset < entry.asked.fetch_offset).then_some(EpochEndOffset { epoch, end_offset })
}

fn refused(
    version: i16,
    state: &State,
    response: &mut FetchResponse,
    entry: &Entry,
    error_code: ErrorCode,
) -> PartitionData {
    let mut data =
        PartitionData { partition_index: entry.asked.partition, error_code, high_watermark: -1, ..Default::default() };
    if !UNKNOWN.contains(&error_code) {
        data.aborted_transactions = None;
    }
    if version >= 16
        && matches!(error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH)
        && let Some((leader_id, leader_epoch, host, port)) =
            leader_hint(state, &entry.topic, entry.topic_id, entry.asked.partition)
    {
        data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
        if response.node_endpoints.iter().all(|n| n.node_id != leader_id) {
            let endpoint = NodeEndpoint { node_id: leader_id, host: host.into(), port: port.into(), rack: None };
            response.node_endpoints.push(endpoint);
        }
    }
    data
}
