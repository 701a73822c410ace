//! What a cluster is to be like. [`Builder::start`] makes one for a single test, [`Builder::shared`] finds or makes one for
//! everybody.

use std::collections::BTreeMap;

use crate::cluster::Kafka;
use crate::jars::Jars;
use crate::security::Listener;
use crate::shared::{self, SharedKafka};
use crate::{DEFAULT_VERSION, Unavailable, docker, or_skip};

/// Describes a cluster of Apache Kafka brokers, each also a KRaft controller.
#[derive(Debug, Clone)]
#[must_use = "nothing starts before start() or shared()"]
pub struct Builder {
    pub(crate) brokers: usize,
    pub(crate) version: String,
    pub(crate) heap: String,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) listeners: Vec<(String, String)>,
    pub(crate) behind: BTreeMap<String, Vec<u16>>,
    pub(crate) secured: Vec<Listener>,
    pub(crate) users: Vec<(String, String)>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            brokers: 1,
            version: DEFAULT_VERSION.to_owned(),
            heap: "512m".to_owned(),
            properties: BTreeMap::new(),
            listeners: Vec::new(),
            behind: BTreeMap::new(),
            secured: Vec::new(),
            users: Vec::new(),
        }
    }

    /// How many brokers (1). Replication factors of the internal topics follow, up to 3.
    pub fn brokers(mut self, count: usize) -> Self {
        assert!(count > 0, "a cluster has at least one broker");
        self.brokers = count;
        self
    }

    /// Kafka's version (`4.2.0`), as Maven Central and Docker Hub name it.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// A broker property, over the defaults of this crate.
    pub fn property(mut self, key: &str, value: impl ToString) -> Self {
        self.properties.insert(key.to_owned(), value.to_string());
        self
    }

    /// Each broker's largest heap, as `-Xmx` takes it (`512m`).
    pub fn heap(mut self, heap: &str) -> Self {
        heap.clone_into(&mut self.heap);
        self
    }

    /// One more listener per broker on a free port, such as `("TLS", "SSL")`; its settings are properties. The address
    /// is `broker.listener(name)`.
    pub fn listener(mut self, name: &str, protocol: &str) -> Self {
        self.listeners.push((name.to_owned(), protocol.to_owned()));
        self
    }

    /// A [`listener`](Self::listener) that clients are told to reach at these ports of 127.0.0.1, one per broker: those
    /// of proxies. `broker.listener(name)` is the broker itself.
    pub fn listener_behind(mut self, name: &str, protocol: &str, ports: &[u16]) -> Self {
        self.behind.insert(name.to_owned(), ports.to_vec());
        self.listener(name, protocol)
    }

    /// One more listener per broker, with TLS, authentication or both. Its address is `broker.listener(name)`.
    pub fn secured(mut self, listener: Listener) -> Self {
        let (name, protocol) = (listener.name.clone(), listener.protocol);
        self.secured.push(listener);
        self.listener(&name, protocol)
    }

    /// A user of all SASL listeners: of PLAIN, and of SCRAM with both hashes.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// The properties given and those of secured listeners.
    pub(crate) fn all_properties(&self) -> BTreeMap<String, String> {
        let secured = self.secured.iter().flat_map(|listener| listener.broker_properties(&self.users));
        secured.chain(self.properties.clone()).collect()
    }

    /// The port of listener `name` that clients of broker `id` are told, unless it is the broker's own.
    pub(crate) fn told(&self, name: &str, id: i32) -> Option<u16> {
        self.behind.get(name)?.get(usize::try_from(id - 1).ok()?).copied()
    }

    /// Starts a cluster that belongs to the caller; ready when it returns.
    ///
    /// # Errors
    /// [`Unavailable::Missing`] without Docker, Java or Maven; [`Unavailable::Failed`] when the brokers do not come up.
    pub fn start(self) -> Result<Kafka, Unavailable> {
        let from = std::env::var("DISPATCHER_KAFKA_FROM").unwrap_or_default();
        if from == "docker" {
            return docker::start(&self);
        }
        if from != "jars" && docker::running() {
            // A daemon without the image and without a way to it is as good as none.
            if let Ok(kafka) = docker::start(&self) {
                return Ok(kafka);
            }
        }
        let jars = Jars::obtain(&self.version)?;
        Kafka::start(&self, jars)
    }

    /// The cluster of this description that other tests and test binaries use at the same time, started if there is none;
    /// or the one named by `KAFKA_BROKERS`. Use topic and group names of your own.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn shared(self) -> Result<SharedKafka, Unavailable> {
        shared::find_or_start(&self)
    }

    /// [`Builder::start`] by way of [`or_skip`].
    pub fn start_or_skip(self) -> Option<Kafka> {
        or_skip(self.start())
    }

    /// [`Builder::shared`] by way of [`or_skip`].
    pub fn shared_or_skip(self) -> Option<SharedKafka> {
        or_skip(self.shared())
    }
}
