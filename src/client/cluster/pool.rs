//! Connections by broker and kind of traffic. A broker answers a connection's requests in order, so traffic that may
//! wait on the broker (produce, fetch, join) never shares one with traffic that must not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::config::ClientConfig;
use crate::client::retry::{Backoff, BackoffConfig};
use crate::client::topology::{BrokerMeta, Topology};
use crate::client::types::Isolation;
use crate::env::{Env, lock};
use crate::error::{Error, Result};
use crate::net::{Connection, ConnectionConfig};

/// What a connection carries. At most one connection per broker and use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// Metadata, offsets, heartbeats: what is answered at once.
    Control,
    /// Produce requests.
    Produce,
    /// Fetch requests of one fetch session.
    Fetch(Isolation),
    /// JoinGroup and SyncGroup of one member, which wait for the other members (some perhaps in this process).
    Join(Arc<str>),
    /// Something that waits on the broker, such as topic creation: not shared, closed after use.
    OneOff,
}

#[derive(Default)]
pub(super) struct Pool {
    slots: Mutex<BTreeMap<(i32, Use), Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    present: Mutex<Present>,
    /// Held by whoever is connecting.
    opening: tokio::sync::Mutex<Option<Opening>>,
}

#[derive(Default)]
struct Present {
    connection: Option<(Arc<BrokerMeta>, Connection)>,
    /// Failed attempts ever, and the last one's error.
    failures: u64,
    error: Option<Error>,
    /// Whom the error is of: at another address somebody else may answer.
    failed_at: Option<Arc<BrokerMeta>>,
}

struct Opening {
    backoff: Backoff,
    /// Of a broker that refuses this client.
    refused: Backoff,
    not_before: Instant,
}

/// Between tries with a broker that refuses this client: credentials may be changed on its side, but not in a hurry.
/// Whoever asks meanwhile gets the last refusal at once.
pub(super) const REFUSED_BACKOFF: BackoffConfig =
    BackoffConfig { first: Duration::from_secs(1), max: Duration::from_secs(10) };

impl Slot {
    fn open_connection(&self, broker: &BrokerMeta) -> Option<Connection> {
        let present = lock(&self.present);
        let (at, connection) = present.connection.as_ref()?;
        let same = at.host == broker.host && at.port == broker.port;
        (same && !connection.is_closed()).then(|| connection.clone())
    }

    /// Why the connection ended, if the broker refused this client on it; once.
    fn take_refusal(&self) -> Option<Error> {
        let mut present = lock(&self.present);
        let refusal = present.connection.as_ref()?.1.refusal()?;
        present.failed_at = present.connection.take().map(|(at, _)| at);
        present.failures += 1;
        present.error = Some(refusal.clone());
        Some(refusal)
    }
}

impl Pool {
    pub(super) async fn connection(
        &self,
        env: &Env,
        connections: &ConnectionConfig,
        config: &ClientConfig,
        broker: &Arc<BrokerMeta>,
        use_: Use,
    ) -> Result<Connection> {
        if use_ == Use::OneOff {
            return Connection::open(env, &broker.host, broker.port, connections).await;
        }
        let slot = lock(&self.slots).entry((broker.id, use_)).or_default().clone();
        if let Some(connection) = slot.open_connection(broker) {
            return Ok(connection);
        }
        let failures = lock(&slot.present).failures;
        let mut opening = slot.opening.lock().await;
        if let Some(connection) = slot.open_connection(broker) {
            return Ok(connection);
        }
        // The attempt this caller waited for has failed: it shares that outcome.
        if let Present { failures: now, error: Some(error), .. } = &*lock(&slot.present)
            && *now > failures
        {
            return Err(error.clone());
        }
        let opening = opening.get_or_insert_with(|| Opening {
            backoff: Backoff::new(config.reconnect_backoff),
            refused: Backoff::new(REFUSED_BACKOFF),
            not_before: env.now(),
        });
        // A session that was not prolonged counts like a connection that was not to be had.
        if let Some(refusal) = slot.take_refusal() {
            opening.not_before = env.now() + env.random(|rng| opening.refused.next(rng));
            return Err(refusal);
        }
        if let Present { error: Some(refusal), failed_at: Some(at), .. } = &*lock(&slot.present)
            && refusal.is_refusal()
        {
            if at.host != broker.host || at.port != broker.port {
                opening.not_before = env.now();
            } else if env.now() < opening.not_before {
                return Err(refusal.clone());
            }
        }
        env.sleep_until(opening.not_before).await;
        let opened = Connection::open(env, &broker.host, broker.port, connections).await;
        match &opened {
            Ok(connection) => {
                // A connection that is lost at once does not count as a success for ever: the next try waits a little.
                opening.backoff.reset();
                opening.refused.reset();
                opening.not_before = env.now() + env.random(|rng| opening.backoff.next(rng));
                let mut present = lock(&slot.present);
                present.connection = Some((broker.clone(), connection.clone()));
                present.error = None;
            }
            Err(error) => {
                let backoff = if error.is_refusal() { &mut opening.refused } else { &mut opening.backoff };
                opening.not_before = env.now() + env.random(|rng| backoff.next(rng));
                tracing::debug!(target: "dispatcher::client", broker = broker.id, %error, "cannot connect");
                let mut present = lock(&slot.present);
                present.connection = None;
                present.failures += 1;
                present.error = Some(error.clone());
                present.failed_at = Some(broker.clone());
            }
        }
        opened
    }

    /// Takes a connection that was opened before its broker was known.
    pub(super) fn adopt(&self, broker: &Arc<BrokerMeta>, use_: Use, connection: Connection) {
        let slot = lock(&self.slots).entry((broker.id, use_)).or_default().clone();
        if slot.open_connection(broker).is_none() {
            let mut present = lock(&slot.present);
            present.connection = Some((broker.clone(), connection));
            present.error = None;
        }
    }

    pub(super) fn is_open(&self, broker: i32, use_: &Use) -> bool {
        let slots = lock(&self.slots);
        let Some(slot) = slots.get(&(broker, use_.clone())) else { return false };
        lock(&slot.present).connection.as_ref().is_some_and(|(_, c)| !c.is_closed())
    }

    pub(super) fn release(&self, broker: i32, use_: &Use) {
        lock(&self.slots).remove(&(broker, use_.clone()));
    }

    /// Drops connections to brokers that have left.
    pub(super) fn keep_only(&self, topology: &Topology) {
        lock(&self.slots).retain(|(broker, _), _| topology.broker(*broker).is_some());
    }
}
