//! A backend on a cluster, as scenarios use it: a producer, readers, and administration, through the seam alone; and
//! another client, which writes what the one under test may not be able to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::client::admin::{ClusterAdmin, NativeAdmin, NewTopic};
use crate::client::backend::Backend;
use crate::client::fetch::{Attached, FetchConfig, FetchEvent, FetchFault, FetchIn, ReadOptions, channel};
use crate::client::native::Native;
use crate::client::producer::{Choice, Delivery, Producer, ProducerConfig, RecordParts};
use crate::client::rskafka::{Codecs, Rskafka};
use crate::client::types::{AssignmentEpoch, Position, TopicId, TopicPartition};
use crate::client::{ClientConfig, Cluster};
use crate::env::Env;
use crate::error::Result;
use crate::wire::records::{Compression, Cursor, Packing};

/// No step of a scenario takes longer.
const LIMIT: Duration = Duration::from_secs(40);
/// The timestamp of records that have one of their own, in ms since 1970. Not long ago: brokers delete what is older
/// than its topic's retention.
pub(super) fn t0() -> i64 {
    static T0: LazyLock<i64> = LazyLock::new(|| Env::system().wall_ms() - 100_000);
    *T0
}

/// Names and values.
pub(super) type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];

/// What a backend consists of.
type Parts = (Arc<dyn Backend>, Arc<dyn ClusterAdmin>);

/// Which backend is under test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Native,
    Rskafka,
}

impl Side {
    /// It, and its administration, for a producer with these settings.
    fn over(self, cluster: &Cluster, producer: &ProducerConfig, fetching: FetchConfig) -> Result<Parts> {
        Ok(match self {
            Self::Native => {
                (Arc::new(Native::new(cluster.clone(), fetching)), Arc::new(NativeAdmin::new(cluster.clone())))
            }
            Self::Rskafka => {
                let rskafka = Rskafka::new(cluster.clone(), fetching, Codecs::new(producer)?)?;
                (Arc::new(rskafka.clone()), Arc::new(rskafka.admin()))
            }
        })
    }
}

pub(super) struct World {
    pub(super) env: Env,
    pub(super) cluster: Cluster,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) admin: Arc<dyn ClusterAdmin>,
    pub(super) producer: Producer,
    side: Side,
    native: Arc<dyn Backend>,
    /// Over the native backend, with every codec.
    other: Producer,
    tag: String,
    attached: AtomicU32,
}

impl World {
    pub(super) async fn new(side: Side, bootstrap: &str) -> Self {
        let cluster = connect(bootstrap).await;
        let tag = format!("{}{:08x}", if side == Side::Native { "n" } else { "r" }, fastrand::u32(..));
        let codecs = [
            ("gzip", Compression::Gzip),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
            ("zstd", Compression::Zstd),
        ];
        // A linger, so that what is sent together is in one batch.
        let mut config = ProducerConfig {
            idempotent: side == Side::Native,
            topic_packing: packed(&codecs[..2], &tag),
            linger: Duration::from_millis(50),
            request_timeout: cluster.config().request_timeout,
            delivery_timeout: Duration::from_secs(30),
            ..ProducerConfig::default()
        };
        let (backend, admin) = side.over(&cluster, &config, FetchConfig::default()).unwrap();
        let native = Arc::new(Native::new(cluster.clone(), FetchConfig::default()));
        let other = ProducerConfig { idempotent: true, topic_packing: packed(&codecs, &tag), ..config.clone() };
        if side == Side::Rskafka {
            // It compresses by itself.
            config.topic_packing.clear();
        }
        Self {
            env: cluster.env().clone(),
            producer: Producer::new(cluster.clone(), backend.clone(), config).unwrap(),
            other: Producer::new(cluster.clone(), native.clone(), other).unwrap(),
            cluster,
            backend,
            admin,
            side,
            native,
            tag,
            attached: AtomicU32::new(0),
        }
    }

    /// Whether the backend is content with these settings.
    pub(super) fn takes(&self, client: ClientConfig, producer: &ProducerConfig, fetching: FetchConfig) -> String {
        let client = ClientConfig { brokers: vec!["127.0.0.1:1".into()], ..client };
        let cluster = Cluster::lazy(client, Env::system()).unwrap();
        self.side.over(&cluster, producer, fetching).map_or_else(|e| format!("{:?}", e.kind()), |_| "taken".into())
    }

    /// A name of this run's own.
    pub(super) fn name(&self, name: &str) -> String {
        tagged(name, &self.tag)
    }

    /// A topic with one partition and these settings, all of whose brokers know of it.
    pub(super) async fn topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
        let name = self.name(name);
        let configs = configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let new = NewTopic { name: name.clone(), partitions: Some(partitions), replicas: Some(1), configs };
        for (_, made) in self.admin.create_topics(&[new]).await.unwrap() {
            made.unwrap();
        }
        self.cluster.topic(&name).await.unwrap();
        name
    }

    /// Appends; the order of calls is the order in the batch.
    pub(super) async fn append(&self, topic: &str, partition: i32, parts: RecordParts<'_>) -> Delivery {
        let topic = self.producer.topic(topic).await.unwrap();
        topic.append(Choice::Partition(partition), &parts).await.unwrap()
    }

    /// Writes one record to partition 0 and says what came of it.
    pub(super) async fn send(&self, topic: &str, parts: RecordParts<'_>) -> String {
        let delivery = self.append(topic, 0, parts).await;
        self.sent(delivery).await
    }

    pub(super) async fn sent(&self, delivery: Delivery) -> String {
        match self.within("an acknowledgement", delivery).await {
            Ok(ack) => format!("at {:?}", ack.offset),
            Err(error) => format!("{:?}", error.kind()),
        }
    }

    /// Plain records `v0`, `v1` … into partition 0.
    pub(super) async fn fill(&self, topic: &str, count: usize) {
        let mut sent = Vec::new();
        for n in 0..count {
            sent.push(self.append(topic, 0, value(format!("v{n}").as_bytes())).await);
        }
        for delivery in sent {
            self.within("an acknowledgement", delivery).await.unwrap();
        }
    }

    /// The other client writes a record, in the codec that the topic is named by.
    pub(super) async fn other_sends(&self, topic: &str, value: &[u8], headers: Headers<'_>) {
        let topic = self.other.topic(topic).await.unwrap();
        let parts = RecordParts { value: Some(value), headers, ..RecordParts::default() };
        let delivery = topic.append(Choice::Partition(0), &parts).await.unwrap();
        self.within("an acknowledgement", delivery).await.unwrap();
    }

    pub(super) fn reader(&self, topic: &str, from: i64, options: ReadOptions) -> Reader<'_> {
        self.reader_over(&self.backend, topic, from, options)
    }

    fn reader_over(&self, backend: &Arc<dyn Backend>, topic: &str, from: i64, options: ReadOptions) -> Reader<'_> {
        let (out, feed) = channel(options);
        let epoch = AssignmentEpoch(u64::from(self.attached.fetch_add(1, Ordering::Relaxed)));
        let topic_id = self.cluster.topology().topic(topic).map_or(TopicId::default(), |t| t.id);
        let from = Position { offset: from, leader_epoch: -1, topic_id };
        let attached = backend.partition(&TopicPartition::new(topic, 0)).attach(from, epoch, out);
        Reader { world: self, feed, attached, epoch }
    }

    /// The records of partition 0 from `from` on, until `count` have come.
    pub(super) async fn read(&self, topic: &str, from: i64, count: usize) -> String {
        self.reader(topic, from, ReadOptions::default()).records(count).await
    }

    /// The codec of a topic's first batch, by its number, as the log has it.
    pub(super) async fn codec(&self, topic: &str) -> u8 {
        let mut reader = self.reader_over(&self.native, topic, 0, ReadOptions::default());
        loop {
            if let FetchEvent::Fetched(fetched) = reader.event().await
                && let Some(first) = fetched.batches.first()
            {
                return first.batch.header().codec();
            }
        }
    }

    pub(super) async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        self.env.timeout(LIMIT, future).await.unwrap_or_else(|| panic!("{what}: not within {LIMIT:?}"))
    }
}

fn tagged(name: &str, tag: &str) -> String {
    format!("seam-{name}-{tag}")
}

/// The codec of each topic that is named by one.
pub(super) fn packed(codecs: &[(&str, Compression)], tag: &str) -> BTreeMap<String, Packing> {
    codecs.iter().map(|&(name, codec)| (tagged(name, tag), codec.into())).collect()
}

async fn connect(bootstrap: &str) -> Cluster {
    let config = ClientConfig {
        brokers: bootstrap.split(',').map(str::to_owned).collect(),
        // Less than a scenario's step.
        request_timeout: Duration::from_secs(5),
        ..ClientConfig::default()
    };
    Cluster::connect(config, Env::system()).await.unwrap()
}

/// A record of no more than a value.
pub(super) fn value(value: &[u8]) -> RecordParts<'_> {
    RecordParts { timestamp: Some(t0()), value: Some(value), ..RecordParts::default() }
}

pub(super) struct Reader<'a> {
    world: &'a World,
    pub(super) feed: FetchIn,
    pub(super) attached: Attached,
    epoch: AssignmentEpoch,
}

impl Reader<'_> {
    pub(super) async fn event(&mut self) -> FetchEvent {
        self.world.within("an event of a partition", self.feed.recv()).await.unwrap()
    }

    /// Reads until `count` records have come, or the partition has stopped.
    pub(super) async fn records(&mut self, count: usize) -> String {
        let mut text = String::new();
        let mut seen = 0;
        while seen < count {
            match self.event().await {
                FetchEvent::Fetched(fetched) => {
                    assert_eq!(fetched.epoch, self.epoch);
                    for batch in &fetched.batches {
                        let mut at = batch.start;
                        seen += batch.count as usize;
                        while let Some(record) = told(&batch.batch, &mut at).unwrap() {
                            write!(text, "{record}; ").unwrap();
                        }
                    }
                }
                FetchEvent::Error(error) => match error.fault {
                    FetchFault::Notice => text.push_str("notice; "),
                    fault => {
                        write!(text, "{fault:?}").unwrap();
                        return text;
                    }
                },
            }
        }
        text
    }
}

/// The next record: offset, key, value, headers, and its timestamp if it is one of the scenario's.
fn told(batch: &crate::wire::records::Batch, at: &mut Cursor) -> Result<Option<String>> {
    let Some(view) = batch.next(at)? else { return Ok(None) };
    let bytes = |range: Option<std::ops::Range<u32>>| {
        range.map_or("-".to_owned(), |r| {
            let text = String::from_utf8_lossy(batch.bytes_of(r)).into_owned();
            if text.len() > 20 { format!("{} bytes", text.len()) } else { text }
        })
    };
    let mut text = format!("{} {}={}", view.offset, bytes(view.key.clone()), bytes(view.value.clone()));
    for (name, value) in batch.headers(&view) {
        let value = value.map_or("null".into(), String::from_utf8_lossy);
        write!(text, " {}:{value}", String::from_utf8_lossy(name)).unwrap();
    }
    if (t0()..t0() + 1_000).contains(&view.timestamp) {
        write!(text, " T0+{}", view.timestamp - t0()).unwrap();
    }
    Ok(Some(text))
}
