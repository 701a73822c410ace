//! Promises of the whole fetcher, against scripted brokers with fetch sessions under a virtual clock.

use std::sync::Mutex;
use std::time::Duration;

use super::super::delivery::{FetchError, FetchEvent, FetchIn, Fetched, ReadOptions, channel};
use super::super::testing::{concat, corrupted, data};
use super::*;
use crate::client::cluster::testing::Fake;
use crate::client::types::TopicId;
use crate::env::lock;
use crate::wire::messages::fetch::{FetchPartition, PartitionData, TopicResponse};
use crate::wire::messages::list_offsets::{ResponsePartition, ResponseTopic};
use crate::wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use crate::wire::{ErrorCode, Records};

const ID: TopicId = TopicId([1; 16]);

/// Logs behind the fake cluster, and what its brokers remember of fetch sessions.
#[derive(Clone)]
struct Brokers {
    fake: Fake,
    state: Arc<Mutex<State>>,
}

/// The partitions of a session.
type Known = BTreeMap<(TopicId, i32), FetchPartition>;

#[derive(Default)]
struct State {
    /// Batches by partition: base offset, records, bytes.
    logs: BTreeMap<i32, Vec<(i64, i64, Vec<u8>)>>,
    starts: BTreeMap<i32, i64>,
    sessions: BTreeMap<i32, (i32, Known)>,
    /// Partitions named by each request, and whether it belonged to a session.
    named: Vec<(usize, bool)>,
}

impl State {
    fn end(&self, partition: i32) -> i64 {
        self.logs.get(&partition).and_then(|l| l.last()).map_or(0, |(base, n, _)| base + n)
    }
}

impl Brokers {
    fn new(partitions: &[(i32, i32)]) -> Self {
        let brokers = Self { fake: Fake::new(2), state: Arc::default() };
        brokers.fake.topic("orders", 1, partitions);
        let this = brokers.clone();
        brokers.fake.on::<FetchRequest>(move |broker, request| this.fetch(broker, request));
        let this = brokers.clone();
        brokers.fake.on::<ListOffsetsRequest>(move |_, request| this.list(&request));
        brokers
    }

    fn write(&self, partition: i32, records: usize) {
        let mut state = lock(&self.state);
        let base = state.end(partition);
        state.logs.entry(partition).or_default().push((base, records as i64, data(base, records, -1)));
    }

    #[cfg(feature = "lz4")]
    fn write_compressed(&self, partition: i32, records: usize) {
        let mut state = lock(&self.state);
        let base = state.end(partition);
        let batch = super::super::testing::compressed(base, records);
        state.logs.entry(partition).or_default().push((base, records as i64, batch));
    }

    fn fetch(&self, broker: i32, request: FetchRequest) -> FetchResponse {
        let leaders = self.fake.with(|s| s.topics["orders"].clone());
        let state = &mut *lock(&self.state);
        let named = request.topics.iter().map(|t| t.partitions.len()).sum();
        state.named.push((named, request.session_epoch >= 0));
        let asked = request
            .topics
            .into_iter()
            .flat_map(|t| t.partitions.into_iter().map(move |p| ((t.topic_id, p.partition), p)));
        let (id, mut known) = match request.session_epoch {
            -1 => (0, BTreeMap::new()),
            0 => (100 + state.named.len() as i32, BTreeMap::new()),
            epoch => match state.sessions.remove(&request.session_id) {
                Some((expected, known)) if expected == epoch => (request.session_id, known),
                _ => return FetchResponse { error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND, ..Default::default() },
            },
        };
        known.extend(asked);
        for topic in request.forgotten_topics_data {
            known.retain(|(id, p), _| *id != topic.topic_id || !topic.partitions.contains(p));
        }
        let mut responses = Vec::new();
        let mut left = request.max_bytes as usize;
        for (&(topic_id, partition), wanted) in &known {
            let (leader, _) = leaders.partitions[partition as usize];
            let (from, end) = (wanted.fetch_offset, state.end(partition));
            let start = state.starts.get(&partition).copied().unwrap_or(0);
            let error_code = match () {
                () if topic_id != leaders.id => ErrorCode::UNKNOWN_TOPIC_ID,
                () if leader != broker => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                () if from < start || from > end => ErrorCode::OFFSET_OUT_OF_RANGE,
                () => ErrorCode::NONE,
            };
            let mut records = Vec::new();
            let log = state.logs.get(&partition).map_or(&[][..], Vec::as_slice);
            for (_, _, bytes) in log.iter().filter(|(base, n, _)| base + n > from && error_code == ErrorCode::NONE) {
                if left < bytes.len() && !(responses.is_empty() && records.is_empty()) {
                    break;
                }
                left = left.saturating_sub(bytes.len());
                records.push(bytes.clone());
            }
            if !records.is_empty() || error_code != ErrorCode::NONE {
                let partition = PartitionData {
                    partition_index: partition,
                    error_code,
                    high_watermark: end,
                    last_stable_offset: end,
                    records: Some(Records::from(concat(&records))),
                    ..Default::default()
                };
                responses.push(TopicResponse { topic_id, partitions: vec![partition], ..Default::default() });
            }
        }
        if id != 0 {
            let next = if request.session_epoch == 0 { 1 } else { request.session_epoch + 1 };
            state.sessions.insert(id, (next, known));
        }
        FetchResponse { session_id: id, responses, ..Default::default() }
    }

    fn list(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let state = lock(&self.state);
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                let start = state.starts.get(&p.partition_index).copied().unwrap_or(0);
                let offset = if p.timestamp == -2 { start } else { state.end(p.partition_index) };
                ResponsePartition { partition_index: p.partition_index, offset, ..Default::default() }
            });
            ResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }
}

struct Reader {
    brokers: Brokers,
    cluster: Cluster,
    fetcher: Fetcher,
    out: FetchOut,
    events: FetchIn,
}

impl Reader {
    async fn new(partitions: &[(i32, i32)], config: FetchConfig) -> Self {
        let brokers = Brokers::new(partitions);
        let cluster = brokers.fake.connect().await;
        cluster.topic("orders").await.unwrap();
        let fetcher = Fetcher::start(cluster.clone(), config);
        let (out, events) = channel(ReadOptions::default());
        Self { brokers, cluster, fetcher, out, events }
    }

    fn attach(&self, partition: i32, offset: i64) -> Attached {
        let tp = Arc::new(TopicPartition::new("orders", partition));
        let from = Position { offset, leader_epoch: -1, topic_id: ID };
        self.fetcher.attach(tp, from, AssignmentEpoch(1), self.out.clone())
    }

    async fn event(&mut self) -> FetchEvent {
        let env = self.cluster.env().clone();
        env.timeout(Duration::from_secs(60), self.events.recv()).await.expect("no event").unwrap()
    }

    async fn error(&mut self) -> FetchError {
        match self.event().await {
            FetchEvent::Error(error) => error,
            FetchEvent::Fetched(f) => panic!("{f:?}"),
        }
    }

    /// Reads until `records` have come; fails on any other event.
    async fn read(&mut self, records: u32) -> Vec<Fetched> {
        let (mut got, mut left) = (Vec::new(), records);
        while left > 0 {
            match self.event().await {
                FetchEvent::Fetched(f) => {
                    left = left.saturating_sub(f.batches.iter().map(|b| b.count).sum::<u32>());
                    got.push(f);
                }
                FetchEvent::Error(error) => panic!("{error:?}"),
            }
        }
        got
    }

    async fn quiet(&mut self, time: Duration) {
        let env = self.cluster.env().clone();
        if let Some(event) = env.timeout(time, self.events.recv()).await {
            panic!("{event:?}");
        }
    }

    fn requests(&self) -> usize {
        lock(&self.brokers.state).named.len()
    }
}

#[tokio::test(start_paused = true)]
async fn every_record_of_every_partition_comes_once_and_lag_reaches_zero() {
    let mut reader = Reader::new(&[(1, 0), (2, 0), (1, 0)], FetchConfig::default()).await;
    let guards: Vec<_> = (0..3).map(|p| reader.attach(p, 0)).collect();
    let mut next = BTreeMap::new();
    for round in 0..5 {
        (0..3).for_each(|p| reader.brokers.write(p, 10 + round));
        for block in reader.read(3 * (10 + round as u32)).await {
            let at = next.entry(block.tp.partition).or_insert(0);
            assert_eq!(block.batches[0].batch.header().base_offset, *at);
            assert_eq!(block.next_offset, block.high_watermark);
            *at = block.next_offset;
        }
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [60, 60, 60]);
    drop(guards);
}

#[tokio::test(start_paused = true)]
async fn idle_partitions_cost_two_small_requests_a_second_per_broker() {
    let reader = Reader::new(&vec![(1, 0); 1000], FetchConfig::default()).await;
    let _guards: Vec<_> = (0..1000).map(|p| reader.attach(p, 0)).collect();
    reader.cluster.env().sleep(Duration::from_secs(10)).await;
    let before = reader.requests();
    reader.cluster.env().sleep(Duration::from_secs(10)).await;
    assert!((18..=21).contains(&(reader.requests() - before)));
    let state = lock(&reader.brokers.state);
    assert_eq!(state.named.iter().map(|(n, _)| n).sum::<usize>(), 1000, "each partition is named once");
}

#[tokio::test(start_paused = true)]
async fn a_partition_attached_during_a_long_poll_does_not_wait_behind_it() {
    let mut reader = Reader::new(&[(1, 0), (1, 0)], FetchConfig::default()).await;
    let _idle = reader.attach(0, 0);
    reader.brokers.write(1, 10);
    reader.cluster.env().sleep(Duration::from_millis(10_250)).await;
    let begun = reader.cluster.env().now();
    let _new = reader.attach(1, 0);
    reader.read(10).await;
    let took = reader.cluster.env().now() - begun;
    assert!(took < Duration::from_millis(50), "{took:?}");
    reader.quiet(Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_follows_its_leader_without_loss_or_repetition() {
    let mut reader = Reader::new(&[(1, 0)], FetchConfig::default()).await;
    let _guard = reader.attach(0, 0);
    reader.brokers.write(0, 5);
    reader.read(5).await;
    for epoch in 1..6 {
        reader.brokers.fake.topic("orders", 1, &[(1 + epoch % 2, epoch)]);
        reader.brokers.write(0, 5);
        let blocks = reader.read(5).await;
        assert_eq!(blocks[0].batches[0].batch.header().base_offset, 5 * i64::from(epoch));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_and_an_evicted_session_are_mended_quietly() {
    let mut reader = Reader::new(&[(1, 0)], FetchConfig::default()).await;
    let _guard = reader.attach(0, 0);
    reader.brokers.write(0, 5);
    reader.read(5).await;
    lock(&reader.brokers.state).sessions.clear();
    reader.brokers.write(0, 5);
    reader.read(5).await;
    reader.brokers.fake.kill(9001);
    reader.quiet(Duration::from_secs(2)).await;
    reader.brokers.fake.start(1, 9001);
    reader.brokers.write(0, 5);
    reader.read(5).await;
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_was_deleted_goes_on_at_the_start_and_one_beyond_the_end_at_the_end() {
    let mut reader = Reader::new(&[(1, 0), (1, 0)], FetchConfig::default()).await;
    (0..2).for_each(|p| [10, 10].into_iter().for_each(|n| reader.brokers.write(p, n)));
    lock(&reader.brokers.state).starts.insert(0, 10);
    let _low = reader.attach(0, 3);
    let said = reader.error().await.error.to_string();
    assert!(said.contains("orders-0: offset 3 was deleted") && said.contains("7 offsets"), "{said}");
    let blocks = reader.read(10).await;
    assert_eq!(blocks[0].batches[0].batch.header().base_offset, 10);
    let _high = reader.attach(1, 500);
    let said = reader.error().await.error.to_string();
    assert!(said.contains("orders-1: offset 500 is beyond the log's end 20"), "{said}");
    reader.brokers.write(1, 4);
    assert_eq!(reader.read(4).await[0].next_offset, 24);
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_again_ends_its_partitions_and_nothing_of_the_new_one_is_read() {
    let mut reader = Reader::new(&[(1, 0)], FetchConfig::default()).await;
    let _guard = reader.attach(0, 0);
    reader.brokers.write(0, 5);
    reader.read(5).await;
    reader.brokers.fake.topic("orders", 9, &[(1, 0)]);
    reader.brokers.write(0, 5);
    let error = reader.error().await;
    assert_eq!(error.fault, FetchFault::Recreated);
    reader.quiet(Duration::from_secs(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_batch_ends_its_partition_behind_what_was_good_and_spares_the_others() {
    let mut reader = Reader::new(&[(1, 0), (1, 0)], FetchConfig::default()).await;
    reader.brokers.write(0, 5);
    lock(&reader.brokers.state).logs.entry(0).or_default().push((5, 3, corrupted(data(5, 3, -1))));
    reader.brokers.write(0, 5);
    let _guards = [reader.attach(0, 0), reader.attach(1, 0)];
    assert_eq!(reader.read(5).await[0].next_offset, 5);
    let error = reader.error().await;
    assert_eq!(error.fault, FetchFault::BadBatch { offset: 5 });
    assert_eq!(error.error.kind(), ErrorKind::CorruptBatch);
    reader.brokers.write(1, 5);
    assert_eq!(reader.read(5).await[0].tp.partition, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_holds_on_bounds_memory_and_goes_on_when_it_lets_go() {
    let config = FetchConfig { budget: 64 << 10, ..FetchConfig::default() };
    let mut reader = Reader::new(&[(1, 0), (1, 0)], config).await;
    (0..100).for_each(|_| reader.brokers.write(0, 50));
    (0..10).for_each(|_| reader.brokers.write(1, 50));
    let _guards = [reader.attach(0, 0), reader.attach(1, 0)];
    reader.cluster.env().sleep(Duration::from_secs(5)).await;
    assert!(reader.fetcher.free_bytes() >= -(16 << 10), "budget and one batch");
    let mut left = 110 * 50_u32;
    while left > 0 {
        let blocks = reader.read(1).await;
        left -= blocks.iter().flat_map(|b| &b.batches).map(|b| b.count).sum::<u32>();
        assert!(reader.fetcher.free_bytes() >= -(16 << 10));
    }
}

/// Found by the simulation: the source waited for room behind batches that it had not delivered yet.
#[cfg(feature = "lz4")]
#[tokio::test(start_paused = true)]
async fn compressed_batches_that_swell_beyond_the_budget_come_one_after_another() {
    let config = FetchConfig { budget: 4 << 10, ..FetchConfig::default() };
    let mut reader = Reader::new(&[(1, 0)], config).await;
    (0..40).for_each(|_| reader.brokers.write_compressed(0, 25));
    let _guard = reader.attach(0, 0);
    let (mut left, mut next) = (1000, 0);
    while left > 0 {
        for block in reader.read(1).await {
            left -= block.batches.iter().map(|b| b.count).sum::<u32>();
            next = block.next_offset;
        }
    }
    assert_eq!((left, next), (0, 1000));
}

#[tokio::test(start_paused = true)]
async fn a_slow_partition_does_not_stop_the_others() {
    let config = FetchConfig { budget: 256 << 10, ..FetchConfig::default() };
    let mut reader = Reader::new(&[(1, 0), (1, 0)], config).await;
    (0..200).for_each(|_| reader.brokers.write(0, 50));
    let _slow = reader.attach(0, 0);
    let mut kept = Vec::new();
    reader.cluster.env().sleep(Duration::from_secs(5)).await;
    while let Some(event) = reader.events.try_recv() {
        kept.push(event);
    }
    reader.cluster.env().sleep(Duration::from_secs(5)).await;
    while let Some(event) = reader.events.try_recv() {
        kept.push(event);
    }
    let _fast = reader.attach(1, 0);
    for _ in 0..100 {
        reader.brokers.write(1, 50);
        assert!(reader.read(50).await.iter().all(|b| b.tp.partition == 1));
    }
    drop(kept);
    assert_eq!(reader.read(50).await[0].tp.partition, 0);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_lags_with_little_data_does_not_keep_the_frames_it_came_in() {
    let config = FetchConfig { budget: 256 << 10, ..FetchConfig::default() };
    let mut reader = Reader::new(&[(1, 0), (1, 0)], config).await;
    let _guards = [reader.attach(0, 0), reader.attach(1, 0)];
    let mut kept = Vec::new();
    for _ in 0..200 {
        reader.brokers.write(0, 1);
        reader.brokers.write(1, 50);
        let blocks = reader.read(51).await;
        kept.extend(blocks.into_iter().filter(|b| b.tp.partition == 0));
    }
    assert!(reader.fetcher.free_bytes() > 0);
}

/// As when a record of each of many retry topics waits for its time.
#[tokio::test(start_paused = true)]
async fn many_partitions_that_keep_one_record_each_do_not_keep_the_frames_they_came_in() {
    const WAITING: i32 = 60;
    let config = FetchConfig { budget: 64 << 10, ..FetchConfig::default() };
    let mut reader = Reader::new(&[(1, 0); WAITING as usize + 1], config).await;
    let _guards: Vec<_> = (0..=WAITING).map(|partition| reader.attach(partition, 0)).collect();
    let mut kept = Vec::new();
    for partition in 0..WAITING {
        reader.brokers.write(partition, 1);
        reader.brokers.write(WAITING, 50);
        let blocks = reader.read(51).await;
        kept.extend(blocks.into_iter().filter(|block| block.tp.partition != WAITING));
    }
    assert!(reader.fetcher.free_bytes() > 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_while_paused_and_nothing_is_lost() {
    let mut reader = Reader::new(&[(1, 0)], FetchConfig::default()).await;
    let guard = reader.attach(0, 0);
    reader.brokers.write(0, 5);
    reader.read(5).await;
    guard.pause();
    reader.brokers.write(0, 5);
    reader.quiet(Duration::from_secs(5)).await;
    let before = reader.requests();
    reader.cluster.env().sleep(Duration::from_secs(5)).await;
    assert_eq!(reader.requests(), before, "nothing to ask for");
    guard.resume();
    assert_eq!(reader.read(5).await[0].next_offset, 10);
}

#[tokio::test(start_paused = true)]
async fn two_subscriptions_to_one_partition_read_independently() {
    let mut reader = Reader::new(&[(1, 0)], FetchConfig::default()).await;
    reader.brokers.write(0, 5);
    reader.brokers.write(0, 5);
    let (_first, _second) = (reader.attach(0, 0), reader.attach(0, 5));
    let blocks = reader.read(15).await;
    assert!(blocks.iter().all(|b| b.next_offset == 10));
}

/// In many groups, as when each subscription of a process has one of its own.
#[tokio::test(start_paused = true)]
async fn hundreds_of_subscriptions_to_one_partition_each_get_all_of_it() {
    let mut reader = Reader::new(&[(1, 0)], FetchConfig::default()).await;
    let guards: Vec<_> = (0..300).map(|_| reader.attach(0, 0)).collect();
    for round in 0..2 {
        reader.brokers.write(0, 2);
        let blocks = reader.read(2 * 300).await;
        let records: u32 = blocks.iter().flat_map(|b| &b.batches).map(|b| b.count).sum();
        assert_eq!(records, 600, "round {round}");
        reader.quiet(Duration::from_secs(2)).await;
    }
    drop(guards);
}

#[tokio::test(start_paused = true)]
async fn with_the_last_handle_and_attachment_the_fetching_ends() {
    let reader = Reader::new(&[(1, 0)], FetchConfig::default()).await;
    let guard = reader.attach(0, 0);
    let env = reader.cluster.env().clone();
    let brokers = reader.brokers.clone();
    drop(reader);
    env.sleep(Duration::from_secs(2)).await;
    drop(guard);
    env.sleep(Duration::from_secs(1)).await;
    let before = lock(&brokers.state).named.len();
    env.sleep(Duration::from_secs(5)).await;
    assert_eq!(lock(&brokers.state).named.len(), before);
}
