//! The whole producer against two scripted brokers in virtual time. A seed chooses who leads, what fails and when;
//! whatever happens, the log holds each message once and in order, and each send is told the truth.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;

use super::super::sequencer::Answer;
use super::super::sequencer::tests::Log;
use super::super::*;
use crate::client::config::ClientConfig;
use crate::client::fetch::FetchConfig;
use crate::client::native::Native;
use crate::env::Env;
use crate::net::testing::{Net, Peer, Received};
use crate::wire::messages::metadata::{Broker, Partition, Topic as MetaTopic};
use crate::wire::messages::produce::{LeaderIdAndEpoch, PartitionResponse, TopicResponse};
use crate::wire::messages::*;
use crate::wire::records::{Cursor, Limits, ProducerStamp, batches};
use crate::wire::{ErrorCode, Request, Uuid};

const PORT: u16 = 9092;
const ID: Uuid = Uuid([7; 16]);
/// Records of a batch from which on a broker calls it too large.
const TOO_MANY: usize = 15;

struct World {
    rng: fastrand::Rng,
    /// Leader and epoch of each partition.
    leaders: Vec<(i32, i32)>,
    logs: Vec<Log>,
    calm: bool,
    producer_ids: i64,
    id: Uuid,
}

type Shared = Arc<Mutex<World>>;

/// What a broker does with one Produce request.
enum Act {
    Answer(ProduceResponse, Duration),
    HangUp,
}

impl World {
    fn chance(&mut self, percent: u32) -> bool {
        !self.calm && self.rng.u32(0..100) < percent
    }

    fn metadata(&self) -> MetadataResponse {
        let broker = |id: i32| Broker { node_id: id, host: format!("b{id}").into(), port: i32::from(PORT), rack: None };
        let partition = |(index, &(leader_id, leader_epoch)): (usize, &(i32, i32))| Partition {
            partition_index: index as i32,
            leader_id,
            leader_epoch,
            ..Partition::default()
        };
        let partitions = self.leaders.iter().enumerate().map(partition).collect();
        let topic = MetaTopic { name: Some("t".into()), topic_id: self.id, partitions, ..MetaTopic::default() };
        MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            cluster_id: Some("c".into()),
            controller_id: 1,
            topics: vec![topic],
            ..MetadataResponse::default()
        }
    }

    fn produce(&mut self, me: i32, request: ProduceRequest, version: i16) -> Act {
        if self.chance(4) {
            return Act::HangUp;
        }
        let mut topic = TopicResponse { topic_id: self.id, name: "t".into(), ..TopicResponse::default() };
        for sent in &request.topic_data {
            assert!(if version >= 13 { sent.topic_id == self.id } else { sent.name.as_str() == "t" });
            for partition in &sent.partition_data {
                let bytes = partition.records.clone().unwrap().into_bytes();
                topic.partition_responses.push(self.append(me, partition.index, bytes));
            }
        }
        for leader in 0..self.leaders.len() {
            if self.chance(2) {
                let (old, epoch) = self.leaders[leader];
                self.leaders[leader] = (3 - old, epoch + 1);
            }
        }
        if self.chance(4) {
            return Act::HangUp; // after the append: the answer is lost
        }
        let delay = Duration::from_millis(self.rng.u64(0..20));
        Act::Answer(ProduceResponse { responses: vec![topic], ..ProduceResponse::default() }, delay)
    }

    fn append(&mut self, me: i32, index: i32, bytes: bytes::Bytes) -> PartitionResponse {
        let mut answer = PartitionResponse { index, base_offset: -1, ..PartitionResponse::default() };
        let mut all = batches(bytes);
        let raw = all.next().unwrap().unwrap();
        assert!(all.next().is_none(), "brokers take one batch per partition and request");
        let header = *raw.header();
        let batch = raw.open(&Limits::default()).unwrap();
        let (mut at, mut numbers) = (Cursor::default(), vec![]);
        while let Some(view) = batch.next(&mut at).unwrap() {
            let text = std::str::from_utf8(batch.bytes_of(view.value.unwrap())).unwrap().to_owned();
            numbers.push(text.parse().unwrap());
        }
        let (leader, epoch) = self.leaders[index as usize];
        if leader != me {
            answer.error_code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            if self.rng.bool() {
                answer.current_leader = LeaderIdAndEpoch { leader_id: leader, leader_epoch: epoch };
            }
        } else if self.chance(3) {
            answer.error_code = ErrorCode::NOT_ENOUGH_REPLICAS;
        } else if numbers.len() > TOO_MANY {
            answer.error_code = ErrorCode::MESSAGE_TOO_LARGE;
        } else {
            let late = self.chance(2);
            let log = &mut self.logs[index as usize];
            let stamp = ProducerStamp {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
            };
            match log.append(stamp, &numbers) {
                Answer::Written if late => answer.error_code = ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                Answer::Written => {
                    answer.base_offset = log.records.iter().position(|n| *n == numbers[0]).unwrap() as i64;
                }
                Answer::OutOfOrder => answer.error_code = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                _ => answer.error_code = ErrorCode::INVALID_PRODUCER_EPOCH,
            }
        }
        answer
    }
}

async fn broker(me: i32, world: Shared, mut peer: Peer) {
    peer.negotiate().await;
    while let Some(request) = peer.request().await {
        if request.header.api_key == <MetadataRequest as Request>::KEY {
            let response = lock(&world).metadata();
            peer.answer::<MetadataRequest>(&request, &response).await;
        } else if request.header.api_key == <InitProducerIdRequest as Request>::KEY {
            let producer_id = {
                let mut world = lock(&world);
                world.producer_ids += 1;
                world.producer_ids
            };
            let response = InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() };
            peer.answer::<InitProducerIdRequest>(&request, &response).await;
        } else if !produce(me, &world, &mut peer, &request).await {
            return;
        }
    }
}

async fn produce(me: i32, world: &Shared, peer: &mut Peer, request: &Received) -> bool {
    let act = lock(world).produce(me, request.decode::<ProduceRequest>(), request.header.api_version);
    match act {
        Act::HangUp => false,
        Act::Answer(response, delay) => {
            tokio::time::sleep(delay).await;
            peer.answer::<ProduceRequest>(request, &response).await;
            true
        }
    }
}

fn world(seed: u64, partitions: usize, calm: bool) -> (Shared, Net) {
    let world = World {
        rng: fastrand::Rng::with_seed(seed),
        leaders: (0..partitions).map(|p| (1 + p as i32 % 2, 0)).collect(),
        logs: (0..partitions).map(|_| Log::default()).collect(),
        calm,
        producer_ids: 0,
        id: ID,
    };
    let (world, net) = (Arc::new(Mutex::new(world)), Net::default());
    for id in [1, 2] {
        let world = world.clone();
        net.listen(&format!("b{id}"), PORT, move |peer| broker(id, world.clone(), peer));
    }
    (world, net)
}

async fn start(seed: u64, net: Net, config: ProducerConfig) -> Producer {
    let client = ClientConfig { brokers: vec!["b1:9092".into(), "b2:9092".into()], ..ClientConfig::default() };
    let cluster = Cluster::connect(client, Env::simulated(seed, net)).await.unwrap();
    Producer::new(cluster.clone(), Arc::new(Native::new(cluster, FetchConfig::default())), config).unwrap()
}

fn virtual_time<F: Future>(run: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run)
}

#[test]
fn whatever_fails_each_send_is_told_the_truth_and_the_log_holds_it_once_and_in_order() {
    for seed in 0..60 {
        virtual_time(async {
            let (world, net) = world(seed, 3, false);
            let mut rng = fastrand::Rng::with_seed(seed ^ 0xff);
            let linger = Duration::from_millis(rng.u64(0..3));
            let producer =
                start(seed, net, ProducerConfig { linger, batch_size: 400, ..ProducerConfig::default() }).await;
            let topic = producer.topic("t").await.unwrap();
            let mut sent = Vec::new();
            for number in 0..600usize {
                let partition = rng.i32(0..3);
                let value = number.to_string();
                let parts = RecordParts { value: Some(value.as_bytes()), ..RecordParts::default() };
                sent.push((number, topic.append(Choice::Partition(partition), &parts).await.unwrap()));
                if rng.u32(0..8) == 0 {
                    tokio::time::sleep(Duration::from_millis(rng.u64(0..30))).await;
                }
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            lock(&world).calm = true;
            let mut ends = Vec::new();
            for (number, delivery) in sent {
                let partition = delivery.partition().partition as usize;
                ends.push((number, partition, delivery.await));
            }
            assert_eq!(producer.buffered(), 0, "seed {seed}: memory is lost");
            let world = lock(&world);
            for log in &world.logs {
                let records = &log.records;
                assert!(records.is_sorted_by(|a, b| a < b), "seed {seed}: twice or out of order: {records:?}");
            }
            let mut unknown = 0;
            for (number, partition, end) in ends {
                let at = world.logs[partition].records.iter().position(|n| *n == number);
                match end {
                    Ok(ack) => assert_eq!(ack.offset.map(|o| o as usize), at, "seed {seed}: {number}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::MaybeWritten, "seed {seed}: {number}: {error}");
                        unknown += 1;
                    }
                }
            }
            assert_eq!(unknown, 0, "seed {seed}: the brokers kept what they had, so nothing need end as unknown");
        });
    }
}

#[test]
fn records_without_a_key_spread_one_by_one_when_slow_and_batch_by_batch_when_fast() {
    virtual_time(async {
        let (world, net) = world(1, 4, true);
        let producer = start(1, net, ProducerConfig::default()).await;
        let topic = producer.topic("t").await.unwrap();
        let send = async |number: usize| {
            let value = number.to_string();
            let parts = RecordParts { value: Some(value.as_bytes()), ..RecordParts::default() };
            topic.append(Choice::Auto, &parts).await.unwrap()
        };
        for number in 0..200 {
            send(number).await.await.unwrap();
        }
        let counts: Vec<usize> = lock(&world).logs.iter().map(|l| l.records.len()).collect();
        assert!(counts.iter().all(|&n| n > 20), "{counts:?}");
        let mut burst = Vec::new();
        for number in 200..400 {
            burst.push(send(number).await);
        }
        let first = burst[0].partition().partition;
        assert!(burst.iter().all(|d| d.partition().partition == first), "a burst was scattered");
        for delivery in burst {
            delivery.await.unwrap();
        }
    });
}

#[test]
fn a_topic_handle_follows_the_topic_when_it_grows() {
    virtual_time(async {
        let (world, net) = world(1, 1, true);
        let producer = start(1, net, ProducerConfig::default()).await;
        let topic = producer.topic("t").await.unwrap();
        let parts = RecordParts { value: Some(b"1"), ..RecordParts::default() };
        let error = topic.append(Choice::Partition(1), &parts).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(producer.buffered(), 0);
        {
            let mut world = lock(&world);
            world.leaders.push((2, 0));
            world.logs.push(Log::default());
        }
        producer.core.cluster.refresh_now().await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(topic.partitions(), 2);
        let delivery = topic.append(Choice::Partition(1), &parts).await.unwrap();
        assert_eq!(delivery.await.unwrap().partition, 1);
    });
}

#[test]
fn a_topic_made_again_with_fewer_partitions_fails_what_waits_for_the_others_and_the_rest_goes_on() {
    virtual_time(async {
        let (world, net) = world(1, 3, true);
        let producer = start(1, net, ProducerConfig::default()).await;
        let topic = producer.topic("t").await.unwrap();
        let parts = RecordParts { value: Some(b"1"), key: Some(b"k"), ..RecordParts::default() };
        topic.append(Choice::Partition(2), &parts).await.unwrap().await.unwrap();
        let remake = async |id: u8, leaders: &[i32]| {
            {
                let mut world = lock(&world);
                world.id = Uuid([id; 16]);
                world.leaders = leaders.iter().map(|&leader| (leader, 0)).collect();
                world.logs = leaders.iter().map(|_| Log::default()).collect();
            }
            producer.core.cluster.refresh_now().await.unwrap();
            tokio::task::yield_now().await;
        };
        // Nobody leads the last one.
        remake(8, &[1, 2, -1]).await;
        let waits = topic.append(Choice::Partition(2), &parts).await.unwrap();
        remake(9, &[1]).await;
        let error = waits.now_or_never().expect("it is told at once").unwrap_err();
        assert!(error.kind() == ErrorKind::NotWritten && error.to_string().contains("made again"), "{error}");
        assert_eq!((topic.partitions(), producer.buffered()), (1, 0));
        assert_eq!(topic.append(Choice::Auto, &parts).await.unwrap().await.unwrap().partition, 0);
        let error = topic.append(Choice::Partition(2), &parts).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        // And they may come back.
        remake(10, &[1, 2, 1]).await;
        for partition in 0..3 {
            let delivery = topic.append(Choice::Partition(partition), &parts).await.unwrap();
            assert_eq!(delivery.await.unwrap().partition, partition);
        }
    });
}

#[test]
fn dropping_the_last_handle_fails_what_is_queued_and_close_sends_it() {
    virtual_time(async {
        let (_world, net) = world(1, 1, true);
        let linger = Duration::from_secs(5);
        let producer = start(1, net, ProducerConfig { linger, ..ProducerConfig::default() }).await;
        let topic = producer.topic("t").await.unwrap();
        let parts = RecordParts { value: Some(b"1"), ..RecordParts::default() };
        let closed = topic.append(Choice::Auto, &parts).await.unwrap();
        producer.flush().await;
        assert!(closed.is_settled());
        closed.await.unwrap();
        let parts = RecordParts { value: Some(b"2"), ..RecordParts::default() };
        let queued = topic.append(Choice::Auto, &parts).await.unwrap();
        drop(producer);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!queued.is_settled(), "the topic handle keeps the producer open");
        drop(topic);
        assert_eq!(queued.await.unwrap_err().kind(), ErrorKind::NotWritten);
    });
}

#[test]
fn appending_waits_for_buffer_memory_and_then_says_what_to_do() {
    virtual_time(async {
        let (_world, net) = world(1, 1, true);
        net.refuse("b1", PORT);
        let config = ProducerConfig {
            buffer_memory: 1000,
            max_message_size: 900,
            max_block: Duration::from_secs(3),
            ..ProducerConfig::default()
        };
        let producer = start(1, net, config).await;
        let topic = producer.topic("t").await.unwrap();
        let parts = RecordParts { value: Some(&[0; 600]), ..RecordParts::default() };
        let _queued = topic.append(Choice::Auto, &parts).await.unwrap();
        let at_once = topic.append(Choice::Auto, &parts).now_or_never();
        assert!(at_once.is_none(), "there was no memory for it");
        let error = topic.append(Choice::Auto, &parts).await.unwrap_err();
        assert!(error.kind() == ErrorKind::NotWritten && error.to_string().contains("buffer_memory"), "{error}");
        let parts = RecordParts { value: Some(&[0; 901]), ..RecordParts::default() };
        assert_eq!(topic.append(Choice::Auto, &parts).await.unwrap_err().kind(), ErrorKind::MessageTooLarge);
    });
}
