//! What most scenarios need: topics that are ready, batches good and bad, one partition's answer, coordinators.

use bytes::{Bytes, BytesMut};

use super::client::World;
use crate::wire::messages::*;
use crate::wire::records::{BatchBuilder, BatchHeader, CRC_FROM, Compression, HEADER_LEN, NO_PRODUCER, ProducerStamp};
use crate::wire::{ErrorCode, Request, StrBytes, Uuid};

/// A topic of this run.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) name: StrBytes,
    pub(super) id: Uuid,
    /// By partition.
    pub(super) leaders: Vec<i32>,
    pub(super) epochs: Vec<i32>,
}

impl Topic {
    /// A broker that does not lead the partition.
    pub(super) fn other(&self, partition: usize) -> i32 {
        self.leaders[partition] % 3 + 1
    }
}

impl Topic {
    /// Two partitions of one leader; there are some if partitions outnumber brokers.
    pub(super) fn pair(&self) -> [i32; 2] {
        let at = |p: &i32| self.leaders[*p as usize];
        let all = 0..self.leaders.len() as i32;
        let mut pairs = all.clone().flat_map(|a| all.clone().map(move |b| [a, b]));
        pairs.find(|[a, b]| a < b && at(a) == at(b)).expect("more partitions than brokers")
    }
}

impl World {
    /// Any broker.
    pub(super) fn any(&self) -> i32 {
        1
    }

    /// Makes a topic, ready on all brokers.
    pub(super) async fn topic(&self, name: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) -> Topic {
        let name = self.name(name);
        let config = |&(name, value): &(&str, &str)| create_topics::CreatableTopicConfig {
            name: name.into(),
            value: Some(value.into()),
        };
        let topic = create_topics::CreatableTopic {
            name: name.as_str().into(),
            num_partitions: partitions,
            replication_factor: replicas,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let created = self.ask(self.any(), &request, 7).await;
        assert_eq!(created.topics[0].error_code, ErrorCode::NONE, "{:?}", created.topics);
        self.ready(&name, partitions).await
    }

    /// Waits until every broker knows the topic and its leaders serve it.
    pub(super) async fn ready(&self, name: &str, partitions: i32) -> Topic {
        let mut found = None;
        for &broker in self.brokers.keys() {
            let topic = self.until("topic", async || self.look_up(broker, name, partitions).await).await;
            found = Some(topic);
        }
        let topic = found.unwrap();
        for partition in 0..partitions {
            let latest = || self.offset(&topic, partition, -1, false);
            self.until("leader", async || (latest().await.error_code == ErrorCode::NONE).then_some(())).await;
        }
        topic
    }

    /// The topic as a broker's Metadata has it, once it has so many partitions and all of them a leader.
    pub(super) async fn look_up(&self, broker: i32, name: &str, partitions: i32) -> Option<Topic> {
        let topics = vec![metadata::RequestTopic { name: Some(name.into()), ..Default::default() }];
        let request = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false, ..Default::default() };
        let answer = self.ask(broker, &request, 12).await;
        let topic = answer.topics.into_iter().next()?;
        let mut all = topic.partitions;
        all.sort_by_key(|p| p.partition_index);
        let complete = all.len() == partitions as usize && all.iter().all(|p| p.leader_id > 0);
        complete.then(|| Topic {
            name: name.into(),
            id: topic.topic_id,
            leaders: all.iter().map(|p| p.leader_id).collect(),
            epochs: all.iter().map(|p| p.leader_epoch).collect(),
        })
    }

    /// ListOffsets of one partition, at its leader.
    pub(super) async fn offset(
        &self,
        topic: &Topic,
        partition: i32,
        timestamp: i64,
        committed: bool,
    ) -> list_offsets::ResponsePartition {
        let asked = list_offsets::RequestPartition { partition_index: partition, timestamp, ..Default::default() };
        let leader = topic.leaders[partition as usize];
        self.list_offsets(leader, topic, asked, committed, self.newest::<ListOffsetsRequest>(9)).await
    }

    pub(super) async fn list_offsets(
        &self,
        broker: i32,
        topic: &Topic,
        asked: list_offsets::RequestPartition,
        committed: bool,
        version: i16,
    ) -> list_offsets::ResponsePartition {
        let topics = vec![list_offsets::RequestTopic { name: topic.name.clone(), partitions: vec![asked] }];
        let isolation_level = i8::from(committed && version >= 2);
        let request = ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..Default::default() };
        let mut answer = self.ask(broker, &request, version).await;
        answer.topics.remove(0).partitions.remove(0)
    }

    /// Waits until consumers see this end.
    pub(super) async fn ends_at(&self, topic: &Topic, partition: i32, end: i64, committed: bool) {
        let at = async || self.offset(topic, partition, -1, committed).await.offset;
        self.until(&format!("end {end}"), async || (at().await == end).then_some(())).await;
    }

    /// Produce of one partition, at its leader with acks=all, at the newest version that names topics.
    pub(super) async fn produce(&self, topic: &Topic, partition: i32, batch: &Bytes) -> produce::PartitionResponse {
        let request = produce_request(topic, partition, batch, None, -1);
        let version = self.newest::<ProduceRequest>(11);
        let mut answer = self.ask(topic.leaders[partition as usize], &request, version).await;
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// The broker that coordinates a group (type 0) or transactional id (type 1), ready to do so.
    pub(super) async fn coordinator(&self, key: &str, key_type: i8) -> i32 {
        let request = FindCoordinatorRequest { key: key.into(), key_type, ..Default::default() };
        let find = async || {
            let found = self.ask(self.any(), &request, 3).await;
            if found.error_code != ErrorCode::NONE {
                return None;
            }
            let node = found.node_id;
            let code = if key_type == 0 { self.probe_group(node, key).await } else { self.probe_txn(node, key).await };
            (!is_loading(code)).then_some(node)
        };
        self.until("coordinator", find).await
    }

    async fn probe_group(&self, node: i32, group: &str) -> ErrorCode {
        let request = HeartbeatRequest { group_id: group.into(), member_id: "nobody".into(), ..Default::default() };
        match self.ask(node, &request, 4).await.error_code {
            // What 3.9 says to every heartbeat while it is loading.
            ErrorCode::NONE => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            code => code,
        }
    }

    async fn probe_txn(&self, node: i32, id: &str) -> ErrorCode {
        let request = EndTxnRequest { transactional_id: id.into(), producer_id: 0, ..Default::default() };
        self.ask(node, &request, 3).await.error_code
    }
}

/// The coordinator is not ready yet.
pub(super) fn is_loading(code: ErrorCode) -> bool {
    let codes =
        [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::NOT_COORDINATOR];
    codes.contains(&code)
}

/// Of one batch for one partition.
pub(super) fn produce_request(
    topic: &Topic,
    partition: i32,
    batch: &Bytes,
    transactional_id: Option<&str>,
    acks: i16,
) -> ProduceRequest {
    let data = produce::PartitionData { index: partition, records: Some(batch.clone().into()) };
    let data = produce::TopicData { name: topic.name.clone(), topic_id: topic.id, partition_data: vec![data] };
    ProduceRequest {
        transactional_id: transactional_id.map(StrBytes::from),
        acks,
        timeout_ms: 10_000,
        topic_data: vec![data],
    }
}

/// A Produce answer in words.
pub(super) fn produced(world: &World, r: &produce::PartitionResponse) -> String {
    let stamped = match r.log_append_time_ms {
        -1 => String::new(),
        at if (world.env.wall_ms() - at).abs() < 60_000 => " stamped now".into(),
        at => format!(" stamped {:+}", at - world.t0),
    };
    let bad: Vec<i32> = r.record_errors.iter().map(|e| e.batch_index).collect();
    let text = if r.error_message.is_some() { " with a text" } else { "" };
    format!("{} at {} start {}{stamped} bad {bad:?}{text}", r.error_code, r.base_offset, r.log_start_offset)
}

/// `n` records with keys `k0`…, values `v0`… and times from `t0` on, by that producer.
pub(super) fn batch(stamp: ProducerStamp, t0: i64, n: usize) -> Bytes {
    let values: Vec<String> = (0..n).map(|i| format!("v{i}")).collect();
    let records: Vec<_> = values.iter().enumerate().map(|(i, v)| (Some(format!("k{i}")), v.as_str())).collect();
    let records: Vec<_> = records.iter().map(|(k, v)| (k.as_deref(), *v)).collect();
    batch_of(stamp, t0, &records)
}

/// The same with these keys and values.
pub(super) fn batch_of(stamp: ProducerStamp, t0: i64, records: &[(Option<&str>, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
    for (i, (key, value)) in records.iter().enumerate() {
        builder.try_append(t0 + i as i64, key.map(str::as_bytes), Some(value.as_bytes()), &[]).unwrap();
    }
    let body = builder.finish(Compression::None).unwrap();
    [&body.stamp(stamp)[..], body.body()].concat().into()
}

/// A batch of nobody in particular.
pub(super) fn plain(t0: i64, n: usize) -> Bytes {
    batch(NO_PRODUCER, t0, n)
}

/// The batch with another header, its checksum right again.
pub(super) fn edit(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).unwrap();
    change(&mut header);
    let mut bytes = [&header.write()[..], &batch[HEADER_LEN..]].concat();
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// The batch as part of a transaction.
pub(super) fn transactional(batch: &Bytes) -> Bytes {
    edit(batch, |header| header.attributes |= 1 << 4)
}

pub(super) fn by(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> ProducerStamp {
    ProducerStamp { producer_id, producer_epoch, base_sequence }
}

/// An API and a version, as transcripts name them.
pub(super) fn at<R: Request>(version: i16) -> String {
    format!("{} v{version}", R::NAME)
}
