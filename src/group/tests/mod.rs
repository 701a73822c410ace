//! Members against real Kafka: joining, leaving, dying, commits, growth, static members, refusals. The broker is a
//! shared one; each test has topics and groups of its own.
#![allow(clippy::disallowed_methods)]

mod faults;
mod membership;
mod mixed;
mod offsets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use dispatcher_testcontainers::{Kafka, SharedKafka};
use tokio::task::JoinHandle;

use super::*;
use crate::client::types::TopicPartition;
use crate::client::{ClientConfig, Cluster};
use crate::env::{Env, lock};
use crate::error::{Error, ErrorKind};
use crate::wire::ErrorCode;
use crate::wire::messages::{CreateTopicsRequest, create_topics};

/// A broker, or `None` after saying why there is none.
fn kafka() -> Option<&'static SharedKafka> {
    static SHARED: OnceLock<Option<SharedKafka>> = OnceLock::new();
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _again = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    SHARED.get_or_init(|| Kafka::builder().shared_or_skip()).as_ref()
}

async fn cluster(kafka: &SharedKafka) -> Cluster {
    let config = ClientConfig {
        brokers: kafka.bootstrap().split(',').map(Into::into).collect(),
        metadata_max_age: Duration::from_secs(1),
        ..ClientConfig::default()
    };
    Cluster::connect(config, Env::system()).await.unwrap()
}

fn unique(name: &str) -> String {
    format!("{name}-{:016x}", fastrand::u64(..))
}

async fn create_topic(cluster: &Cluster, name: &str, partitions: i32) {
    let topic = create_topics::CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let connection = cluster.any_connection().await.unwrap();
    let response = connection.ask(&request, Duration::from_secs(30)).await.unwrap();
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE, "{:?}", response.topics);
    cluster.wait_for_topic(name, Duration::from_secs(10)).await.unwrap();
}

/// Short times, so that deaths are noticed soon: 6 s is the broker's least session time-out.
fn config(group: &str, topics: &[&str]) -> GroupConfig {
    GroupConfig {
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(300),
        ..GroupConfig::new(group, topics.iter().map(|t| Arc::from(*t)))
    }
}

/// Who owns what, of all members of one test; two owners at once fail it.
#[derive(Default)]
struct Owners(Mutex<Ledger>);

#[derive(Default)]
struct Ledger {
    owners: BTreeMap<TopicPartition, usize>,
    generations: BTreeMap<usize, i32>,
    failures: Vec<Error>,
    clashes: Vec<String>,
}

impl Owners {
    fn counts(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        lock(&self.0).owners.values().for_each(|m| *counts.entry(*m).or_default() += 1);
        counts
    }

    fn generation(&self, member: usize) -> Option<i32> {
        lock(&self.0).generations.get(&member).copied()
    }

    /// Waits until members own so many partitions.
    async fn settle(&self, expected: &[(usize, usize)]) -> Duration {
        let (begun, expected) = (Instant::now(), BTreeMap::from_iter(expected.iter().copied()));
        while self.counts() != expected {
            let counts = self.counts();
            assert!(begun.elapsed() < Duration::from_secs(40), "{counts:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(lock(&self.0).clashes, Vec::<String>::new());
        begun.elapsed()
    }

    async fn failure(&self) -> Error {
        let begun = Instant::now();
        loop {
            if let Some(error) = lock(&self.0).failures.first() {
                return error.clone();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no failure");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// For members that died without a word.
    fn bury(&self, member: usize) {
        lock(&self.0).owners.retain(|_, owner| *owner != member);
    }
}

/// A member with a worker that answers at once and writes the ledger.
struct Member {
    handle: GroupHandle,
    worker: JoinHandle<()>,
}

impl Member {
    fn start(cluster: &Cluster, config: GroupConfig, number: usize, owners: &Arc<Owners>) -> Self {
        let (handle, mut events) = Group::start(cluster.clone(), config);
        let owners = owners.clone();
        let worker = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let mut ledger = lock(&owners.0);
                match event {
                    GroupEvent::Assigned { partitions, generation } => {
                        ledger.generations.insert(number, generation.id);
                        for tp in partitions {
                            if let Some(other) = ledger.owners.insert(tp.clone(), number) {
                                ledger.clashes.push(format!("{tp}: {other} and {number}"));
                            }
                        }
                    }
                    GroupEvent::Revoke { done, .. } => {
                        ledger.owners.retain(|_, owner| *owner != number);
                        done.finish();
                    }
                    GroupEvent::Lost { .. } => ledger.owners.retain(|_, owner| *owner != number),
                    GroupEvent::Failed(error) => ledger.failures.push(error),
                    GroupEvent::Warning(_) => {}
                }
            }
        });
        Self { handle, worker }
    }

    async fn leave(self) {
        self.handle.leave().await;
        self.worker.await.unwrap();
    }
}
