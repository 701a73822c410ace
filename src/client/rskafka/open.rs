//! Opens rskafka's clients for partitions, each a TCP connection of its own, and counts them. rskafka has no time limits
//! and keeps a connection that does not answer for good: here every step has a limit, and whoever ran into one drops
//! its client, so that the next one is made anew. Used by writers, readers and administration.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::rskafka::BackoffConfig;
use ::rskafka::client::partition::{PartitionClient, UnknownTopicHandling};
use ::rskafka::client::{Client, ClientBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::judge::{self, Meaning};
use super::waiting::Waiting;
use crate::client::Cluster;
use crate::client::types::TopicPartition;
use crate::env::{Env, lock};
use crate::error::{Error, ErrorKind, Result};

/// Most connections to partitions at one time. Beyond them partitions take turns.
pub(super) const MAX_CONNECTIONS: usize = 512;
/// A client that cannot reach a partition is doubted only when it is older than this: brokers that are down take a while
/// to be replaced, and making it asks for the metadata of all topics.
const SETTLED: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Opener {
    env: Env,
    seeds: Vec<String>,
    client_id: Arc<str>,
    max_frame: usize,
    connect_timeout: Duration,
    /// What partitions' clients are made from; made anew when it did not answer in time.
    client: Mutex<Option<Made>>,
    making: tokio::sync::Mutex<()>,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The cluster's client, and since when.
#[derive(Clone)]
struct Made {
    client: Arc<Client>,
    at: Instant,
}

/// A connected client of one partition.
pub(super) struct Opened {
    pub(super) client: PartitionClient,
    _slot: OwnedSemaphorePermit,
}

impl Opener {
    pub(super) fn new(cluster: &Cluster) -> Result<Self> {
        let config = cluster.config();
        let seeds = config.seeds()?.into_iter().map(|(host, port)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
        Ok(Self {
            env: cluster.env().clone(),
            seeds: seeds.collect(),
            client_id: config.client_id.as_str().into(),
            max_frame: config.max_frame,
            connect_timeout: config.connect_timeout,
            client: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// A client of the partition within `limit`, or the connect timeout if that is shorter. Cancel-safe.
    pub(super) async fn open(&self, tp: &TopicPartition, limit: Duration) -> Result<Opened> {
        let limit = limit.min(self.connect_timeout);
        let deadline = self.env.now() + limit;
        let left = || deadline.saturating_duration_since(self.env.now());
        let slot = self.slot(tp, limit).await?;
        let client = self.client(left()).await?;
        let opening = client.partition_client(&*tp.topic, tp.partition, UnknownTopicHandling::Error);
        let given = left();
        match self.env.timeout(given, opening).await {
            Some(Ok(partition)) => Ok(Opened { client: partition, _slot: slot }),
            Some(Err(error)) => {
                // Brokers that have moved, or metadata that rskafka keeps though they are out of date.
                self.doubt(&client);
                let context = format!("connecting to the leader of {tp}");
                if judge::judge(&error) == Meaning::Unreadable {
                    let text = format!("{context}: rskafka does not know the partition yet");
                    return Err(Error::new(ErrorKind::Connection, text).with_source(error));
                }
                Err(judge::error(&error, context))
            }
            None => {
                if given >= limit / 2 {
                    self.forget(&client)
                } else {
                    self.doubt(&client)
                }
                let text =
                    format!("the leader of {tp} was not reached within {limit:?}: check that the brokers are up");
                Err(Error::new(ErrorKind::Timeout, text))
            }
        }
    }

    /// Whether somebody waits for a connection because all are in use.
    pub(super) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    async fn slot(&self, tp: &TopicPartition, limit: Duration) -> Result<OwnedSemaphorePermit> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(slot);
        }
        let _counted = Waiting::new(&self.waiting);
        match self.env.timeout(limit, self.slots.clone().acquire_owned()).await {
            Some(Ok(slot)) => Ok(slot),
            _ => {
                let text = format!(
                    "no connection for {tp} came free within {limit:?}, {MAX_CONNECTIONS} are in use: the rskafka backend \
                     needs one for each partition, the native one does not"
                );
                Err(Error::new(ErrorKind::Timeout, text))
            }
        }
    }

    /// The cluster's client, made if there is none.
    pub(super) async fn client(&self, limit: Duration) -> Result<Arc<Client>> {
        let present = || lock(&self.client).as_ref().map(|made| made.client.clone());
        if let Some(client) = present() {
            return Ok(client);
        }
        let silent = || {
            let text = format!("no broker answered within {limit:?}: check the addresses and that the cluster is up");
            Error::new(ErrorKind::Timeout, text)
        };
        let deadline = self.env.now() + limit;
        // Who comes while it is made waits for it.
        let _making = self.env.timeout(limit, self.making.lock()).await.ok_or_else(silent)?;
        if let Some(client) = present() {
            return Ok(client);
        }
        // Without retries of its own: this crate's come with a backoff and a limit, and know what is sent again.
        let backoff = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
        let builder = ClientBuilder::new(self.seeds.clone())
            .client_id(self.client_id.clone())
            .max_message_size(self.max_frame)
            .backoff_config(backoff);
        let left = deadline.saturating_duration_since(self.env.now());
        match self.env.timeout(left, builder.build()).await {
            Some(Ok(client)) => {
                let made = Made { client: Arc::new(client), at: self.env.now() };
                Ok(lock(&self.client).insert(made).client.clone())
            }
            Some(Err(error)) => Err(judge::error(&error, "connecting to the cluster")),
            None => Err(silent()),
        }
    }

    /// It, or what it has connected, does not answer.
    pub(super) fn forget(&self, client: &Arc<Client>) {
        self.forget_if(|made| Arc::ptr_eq(&made.client, client));
    }

    /// It could not reach a partition. rskafka asks only the brokers that it knows, which may all have moved, and keeps
    /// what it knows of topics: after a while the seeds are asked again.
    fn doubt(&self, client: &Arc<Client>) {
        let now = self.env.now();
        self.forget_if(|made| Arc::ptr_eq(&made.client, client) && now.saturating_duration_since(made.at) > SETTLED);
    }

    fn forget_if(&self, unfit: impl FnOnce(&Made) -> bool) {
        let mut present = lock(&self.client);
        if present.as_ref().is_some_and(unfit) {
            *present = None;
        }
    }
}
