//! What all handles and the metadata task share, and the ways to reach "any broker".

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::coordinator::Coordinators;
use super::metadata::Metadata;
use super::none_answered;
use super::pool::{Pool, Use};
use crate::client::config::ClientConfig;
use crate::client::retry::Backoff;
use crate::client::topology::TopicMeta;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Connection, ConnectionConfig, Security};
use crate::wire::ErrorCode;

/// A broker that has not answered for so long is left to it, and the next one is asked as well.
const HEDGE_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Core {
    pub(super) config: ClientConfig,
    pub(super) env: Env,
    pub(super) connections: ConnectionConfig,
    pub(super) metadata: Metadata,
    pub(super) pool: Pool,
    pub(super) coordinators: Coordinators,
    /// `host`, `port`.
    pub(super) seeds: Vec<(String, u16)>,
    /// The seeds refused this client: the error, and until when it is believed.
    pub(super) refused: Mutex<Option<Refused>>,
}

pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) until: Instant,
    pub(super) backoff: Backoff,
}

impl Core {
    pub(super) fn new(config: ClientConfig, env: Env) -> Result<Self> {
        let connections = ConnectionConfig {
            client_id: config.client_id.as_str().into(),
            connect_timeout: config.connect_timeout,
            max_frame: config.max_frame,
            buffers: Default::default(),
            software: Default::default(),
            security: Security::new(config.tls.as_ref(), config.sasl.as_ref())?,
        };
        let seeds = config.seeds()?;
        let (metadata, pool, coordinators) = (Metadata::default(), Pool::default(), Coordinators::default());
        Ok(Self { config, env, connections, metadata, pool, coordinators, seeds, refused: Mutex::default() })
    }

    pub(super) async fn connection(&self, broker: i32, use_: Use) -> Result<Connection> {
        let topology = self.metadata.topology();
        let Some(address) = topology.broker(broker) else {
            self.metadata.refresh();
            let message = format!("broker {broker} is not in the cluster's metadata: it may just have left");
            return Err(Error::new(ErrorKind::Connection, message));
        };
        let opened = self.pool.connection(&self.env, &self.connections, &self.config, address, use_).await;
        if opened.is_err() {
            self.metadata.refresh();
        }
        opened
    }

    /// Any broker's control connection, open ones first.
    pub(super) async fn any_connection(&self) -> Result<Connection> {
        let brokers = self.candidates();
        let attempts = brokers.into_iter().map(|id| self.connection(id, Use::Control));
        first_success(&self.env, attempts).await.map_err(|e| none_answered("no broker can be reached", e))
    }

    /// Known brokers: those with an open control connection first, each part starting at a random place.
    pub(super) fn candidates(&self) -> Vec<i32> {
        let topology = self.metadata.topology();
        let (mut open, mut closed): (Vec<i32>, Vec<i32>) =
            topology.brokers().map(|b| b.id).partition(|&id| self.pool.is_open(id, &Use::Control));
        for part in [&mut open, &mut closed] {
            if !part.is_empty() {
                let by = self.env.random(|rng| rng.usize(..part.len()));
                part.rotate_left(by);
            }
        }
        open.append(&mut closed);
        open
    }

    pub(super) async fn topic(&self, name: &str, limit: Duration) -> Result<Arc<TopicMeta>> {
        if let Some(topic) = self.metadata.topology().topic(name) {
            return Ok(topic.clone());
        }
        let begun = self.env.now();
        let mut backoff = Backoff::new(self.config.retry_backoff);
        loop {
            let outcome = self.metadata.ask_for(name).await;
            let error = match &outcome {
                Ok(topology) => match topology.topic(name) {
                    Some(topic) => return Ok(topic.clone()),
                    None => refusal(name, topology.refusal(name)),
                },
                Err(e) => e.clone(),
            };
            let pause = self.env.random(|rng| backoff.next(rng));
            if !may_pass(&error) || over(&self.env, begun, limit, pause) {
                self.metadata.give_up_topic(name);
                return Err(error);
            }
            self.env.sleep(pause).await;
        }
    }
}

/// Whether an unknown topic may yet appear.
fn may_pass(error: &Error) -> bool {
    error.is_retriable() || error.kind() == ErrorKind::UnknownTopic
}

fn over(env: &Env, begun: Instant, limit: Duration, pause: Duration) -> bool {
    env.now() + pause > begun + limit
}

fn refusal(name: &str, code: Option<ErrorCode>) -> Error {
    match code {
        None | Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
            let message = format!("topic {name:?} does not exist: create it, or let the dispatcher create topics");
            Error::new(ErrorKind::UnknownTopic, message)
        }
        Some(code) => Error::from_code(code, format_args!("Metadata of topic {name:?}")),
    }
}

/// Runs the attempts one after the other until one succeeds; one that takes long does not hold up the next.
pub(super) async fn first_success<T, F>(env: &Env, attempts: impl Iterator<Item = F>) -> Result<T, Vec<Error>>
where
    F: Future<Output = Result<T>>,
{
    let (mut attempts, mut errors) = (attempts.fuse(), Vec::new());
    let mut running = FuturesUnordered::new();
    loop {
        if running.is_empty() {
            match attempts.next() {
                Some(attempt) => running.push(attempt),
                None => return Err(errors),
            }
        }
        let mut late = pin!(env.sleep(HEDGE_AFTER));
        tokio::select! {
            biased;
            Some(outcome) = running.next() => match outcome {
                Ok(value) => return Ok(value),
                Err(error) => errors.push(error),
            },
            () = &mut late => running.extend(attempts.next()),
        }
    }
}
