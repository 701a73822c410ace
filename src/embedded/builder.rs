//! Settings of an embedded cluster, and its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::apis;
use super::cluster::EmbeddedCluster;
use super::faults::Faults;
use super::groups::{self, Groups};
use super::listen::{self, Memory};
use super::session::Sessions;
use super::shared::Shared;
use super::state::{Broker, Settings, State};
use super::store::Store;
use super::transactions::Coordinator;
use super::versions::KafkaVersion;
use crate::env::watch;
use crate::env::{Env, Listener, Network};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::Uuid;

/// Collects what an [`EmbeddedCluster`] is to be; [`start`](Self::start) starts it.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before start()"]
pub struct EmbeddedBuilder {
    brokers: usize,
    topics: Vec<NewTopic>,
    settings: Settings,
    listen: Option<String>,
    in_memory: bool,
    seed: Option<u64>,
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct NewTopic {
    name: String,
    partitions: i32,
    replicas: i16,
    configs: Vec<(String, String)>,
}

impl Default for EmbeddedBuilder {
    fn default() -> Self {
        let settings = Settings {
            version: KafkaVersion::default(),
            auto_create_topics: false,
            default_partitions: 1,
            initial_rebalance_delay: Duration::ZERO,
            max_memory: 1 << 30,
        };
        Self { brokers: 1, topics: Vec::new(), settings, listen: None, in_memory: false, seed: None, data_dir: None }
    }
}

impl EmbeddedBuilder {
    /// How many brokers, with node ids from 1 on. Default 1.
    pub fn brokers(mut self, n: usize) -> Self {
        self.brokers = n;
        self
    }

    /// A topic to begin with, its replicas on 3 brokers or as many as there are.
    pub fn topic(self, name: impl Into<String>, partitions: i32) -> Self {
        self.topic_with(name, partitions, -1, &[])
    }

    /// A topic to begin with, its replicas (−1: as [`topic`](Self::topic)) and settings under Kafka's names.
    pub fn topic_with(
        mut self,
        name: impl Into<String>,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> Self {
        let configs = configs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.topics.push(NewTopic { name: name.into(), partitions, replicas, configs });
        self
    }

    /// Which release's API versions the brokers offer, to see what a client does with an older cluster. Default: the
    /// newest.
    pub fn kafka_version(mut self, version: KafkaVersion) -> Self {
        self.settings.version = version;
        self
    }

    /// Where the first broker listens, `host:port`; the others on the ports behind it. Default: ports of 127.0.0.1 that
    /// the system chooses.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// No sockets: clients come through [`EmbeddedCluster::network`], by streams in memory.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Every random choice of the cluster, and of the dispatchers on its [`network`](EmbeddedCluster::network), follows
    /// from this number, and the wall clock moves with tokio's: under `tokio::time::pause()` on one thread a run with
    /// the same seed is the same run. Implies [`in_memory`](Self::in_memory).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.in_memory()
    }

    /// Topics, records and committed offsets are kept in this directory, and found there by the next cluster that is
    /// started on it. It is made if it does not exist. Default: all is gone with the cluster.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Whether a client that asks about a topic makes it (Kafka's `auto.create.topics.enable`). Default false.
    pub fn auto_create_topics(mut self, yes: bool) -> Self {
        self.settings.auto_create_topics = yes;
        self
    }

    /// Partitions of topics that are made without a number (Kafka's `num.partitions`). Default 1.
    pub fn default_partitions(mut self, n: i32) -> Self {
        self.settings.default_partitions = n;
        self
    }

    /// How long a group's first rebalance waits for more members (Kafka's `group.initial.rebalance.delay.ms`). Default
    /// 0; Kafka's is 3 s.
    pub fn initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.settings.initial_rebalance_delay = delay;
        self
    }

    /// Bytes of all records together; beyond it the oldest are deleted, with a warning. Default 1 GiB. Topics' own
    /// `retention.bytes` and `retention.ms` hold besides.
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.settings.max_memory = bytes;
        self
    }

    /// Starts the brokers; they take connections when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for settings that cannot be, and for a data directory that another cluster uses or
    /// that cannot be read or written; [`ErrorKind::Connection`] if an address cannot be listened on.
    ///
    /// Cancel-safe: dropped, nothing is left behind.
    pub async fn start(self) -> Result<EmbeddedCluster> {
        let invalid = |text: String| Err(Error::new(ErrorKind::InvalidConfig, text));
        if !(1..=100).contains(&self.brokers) {
            return invalid(format!("an embedded cluster of {} brokers: use 1 to 100", self.brokers));
        }
        let env = match self.seed {
            Some(seed) => Env::simulated(!seed, Nowhere),
            None => Env::system(),
        };
        let (brokers, listeners) = self.open(&env).await?;
        let mut state = State {
            cluster_id: Uuid(env.random(|r| r.u128(..)).to_be_bytes()).to_string(),
            brokers,
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            groups: Groups::new(groups::Settings {
                initial_rebalance_delay: self.settings.initial_rebalance_delay,
                ..Default::default()
            }),
            coordinators: BTreeMap::new(),
            transactions: Coordinator::default(),
            faults: Faults::default(),
            next_connection: 0,
            appended: 0,
            next_token: 0,
            waiting: BTreeMap::new(),
            store: None,
            settings: self.settings,
        };
        if let Some(dir) = &self.data_dir {
            let opened = Store::open(dir, &mut state, env.now(), env.wall_ms());
            state.store = Some(opened.map_err(|e| {
                let text = format!(
                    "the data directory {} of the embedded cluster cannot be used: name another",
                    dir.display()
                );
                Error::new(ErrorKind::InvalidConfig, text).with_source(e)
            })?);
            state.elect();
        }
        for topic in &self.topics {
            if state.topics.contains_key(&topic.name) && self.data_dir.is_some() {
                continue;
            }
            let configs: Vec<_> = topic.configs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let made = apis::new_topic(&env, &mut state, &topic.name, topic.partitions, topic.replicas, &configs);
            if let Err(refused) = made {
                return invalid(format!("topic {}: {}", topic.name, refused.text));
            }
        }
        let shared = Shared::new(state, env);
        let network = Network::new(Memory(Arc::downgrade(&shared)), self.seed, shared.env.now());
        for (id, listener) in listeners {
            listen::start_accepting(&shared, id, listener);
        }
        Ok(EmbeddedCluster::new(shared, network, !self.in_memory))
    }

    async fn open(&self, env: &Env) -> Result<(BTreeMap<i32, Broker>, Vec<(i32, Listener)>)> {
        let (host, first_port) = match &self.listen {
            None if self.in_memory => ("embedded".to_owned(), 9092),
            None => ("127.0.0.1".to_owned(), 0),
            Some(address) => parse(address)?,
        };
        let (mut brokers, mut listeners) = (BTreeMap::new(), Vec::new());
        for n in 0..self.brokers {
            // In memory no system chooses a port.
            let first = if first_port == 0 && self.in_memory { 9092 } else { first_port };
            let mut port = if first == 0 { 0 } else { first.saturating_add(n as u16) };
            let id = n as i32 + 1;
            if !self.in_memory {
                let listener = bind(env, &host, port).await?;
                port = listener.port().unwrap_or(port);
                listeners.push((id, listener));
            }
            let (cut, _) = watch::channel(0);
            let host = host.clone();
            brokers
                .insert(id, Broker { host, port, running: true, sessions: Sessions::default(), cut, accepting: None });
        }
        Ok((brokers, listeners))
    }
}

/// How long a port may be taken by a cluster that has just been dropped: its tasks must run once more.
const PORT_FREED: Duration = Duration::from_millis(200);

/// A socket that listens there. Cancel-safe.
pub(super) async fn bind(env: &Env, host: &str, port: u16) -> Result<Listener> {
    let until = env.now() + PORT_FREED;
    let mut bound = Listener::bind(host, port).await;
    while bound.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse) && env.now() < until {
        env.sleep(Duration::from_millis(5)).await;
        bound = Listener::bind(host, port).await;
    }
    bound.map_err(|e| {
        let text = format!("the embedded cluster cannot listen on {host}:{port}: choose another address");
        Error::new(ErrorKind::Connection, text).with_source(e)
    })
}

fn parse(address: &str) -> Result<(String, u16)> {
    let parsed = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() => Ok((host.trim_matches(['[', ']']).to_owned(), port)),
        _ => {
            let text = format!("{address:?} is not an address to listen on: use host:port, such as 127.0.0.1:9092");
            Err(Error::new(ErrorKind::InvalidConfig, text))
        }
    }
}

/// The cluster itself never dials.
struct Nowhere;

#[async_trait::async_trait]
impl crate::env::Dial for Nowhere {
    async fn dial(&self, _: &str, _: u16) -> std::io::Result<crate::env::Transport> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
