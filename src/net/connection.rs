//! A connection to one broker: opened, negotiated, shared by any number of callers. Requests go out in call order and
//! are answered in that order; nobody's lateness or disappearance disturbs the others.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::driver::Driver;
use super::handshake::{self, Software};
use super::pending::{Pending, PendingFrame};
use super::security::Security;
use super::shared::{Shared, Ticket};
use super::throttle;
use super::versions::BrokerVersions;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::header::encode_request;
use crate::wire::{Request, StrBytes};

/// What every connection of a cluster has in common.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionConfig {
    pub(crate) client_id: StrBytes,
    /// Limit for dialling, securing and negotiation together.
    pub(crate) connect_timeout: Duration,
    /// A longer frame from the broker closes the connection.
    pub(crate) max_frame: usize,
    pub(crate) software: Software,
    pub(crate) security: Security,
}

/// A handle; clones share the connection. When the last one is dropped, requests that somebody still waits for are
/// answered before the stream is closed.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    versions: OnceLock<BrokerVersions>,
    client_id: StrBytes,
}

impl Connection {
    /// Dials, secures and negotiates, within `connect_timeout` altogether. Cancel-safe.
    pub(crate) async fn open(env: &Env, host: &str, port: u16, config: &ConnectionConfig) -> Result<Connection> {
        let peer: Arc<str> = format!("{host}:{port}").into();
        let (limit, begun) = (config.connect_timeout, env.now());
        let left = || limit.saturating_sub(env.now() - begun);
        let late = |what: String| Error::new(ErrorKind::Timeout, what);
        let mut transport = match env.timeout(limit, env.dial(host, port)).await {
            Some(Ok(transport)) => transport,
            Some(Err(e)) => {
                let message = format!("cannot connect to {peer}");
                return Err(Error::new(ErrorKind::Connection, message).with_source(e));
            }
            None => {
                return Err(late(format!(
                    "cannot connect to {peer} within {limit:?}: check the address and firewalls"
                )));
            }
        };
        let tls = config.security.tls.as_ref();
        if let Some(tls) = tls {
            transport = match env.timeout(left(), tls.secure(transport, host, &peer)).await {
                Some(secured) => secured?,
                None => {
                    return Err(late(format!(
                        "{peer} accepted the connection and did not finish the TLS handshake within {limit:?}: check that it \
                         is a listener with TLS"
                    )));
                }
            };
        }
        let (shared, reader) = Shared::new(env.clone(), peer.clone(), transport, tls.cloned());
        // The driver ends by itself when the last handle is gone.
        let _detached = env.spawn(Driver::new(shared.clone(), reader, config.max_frame));
        let handle = Handle { shared, versions: OnceLock::new(), client_id: config.client_id.clone() };
        let connection = Connection(Arc::new(handle));
        let versions = match env.timeout(left(), handshake::negotiate(&connection, &config.software, limit)).await {
            Some(negotiated) => negotiated?,
            None => {
                let which = if tls.is_some() { "with" } else { "without" };
                return Err(late(format!(
                    "{peer} accepted the connection and then said nothing for {limit:?}: check that it is a Kafka listener \
                     {which} TLS"
                )));
            }
        };
        let _first = connection.0.versions.set(versions);
        tracing::debug!(target: "dispatcher::net", %peer, "connected");
        Ok(connection)
    }

    /// `host:port`.
    pub(crate) fn peer(&self) -> &str {
        &self.0.shared.peer
    }

    /// The highest version of this API both sides speak, at most `cap`.
    pub(crate) fn version<R: Request>(&self, cap: Option<i16>) -> Result<i16> {
        static NONE: BrokerVersions = BrokerVersions::NONE;
        self.0.versions.get().unwrap_or(&NONE).choose::<R>(cap, self.peer())
    }

    /// Encodes and sends at once, in call order. The broker has `timeout` to answer, else the connection is closed:
    /// everything behind that request would be stuck.
    pub(crate) fn start<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Result<Pending<R>> {
        Ok(Pending::new(self.start_raw(request, version, timeout)?, version))
    }

    pub(super) fn start_raw<R: Request>(&self, request: &R, version: i16, limit: Duration) -> Result<PendingFrame> {
        let shared = &self.0.shared;
        let correlation_id = shared.next_id();
        let frame = encode_request(request, version, correlation_id, &self.0.client_id)?;
        let throttle_at = throttle::offset::<R>(version);
        let reply = shared.send(Ticket { correlation_id, api: R::NAME, limit, throttle_at }, frame)?;
        Ok(PendingFrame { reply, shared: shared.clone(), maybe_sent: false })
    }

    /// [`start`](Self::start) and wait. Cancel-safe: dropping discards the answer.
    pub(crate) async fn call<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Result<R::Response> {
        self.start(request, version, timeout)?.await
    }

    /// [`call`](Self::call) at the highest common version.
    pub(crate) async fn ask<R: Request>(&self, request: &R, timeout: Duration) -> Result<R::Response> {
        self.call(request, self.version::<R>(None)?, timeout).await
    }

    /// Takes note of a `throttle_time_ms` that does not lead its response (Produce): nothing is sent for that long,
    /// if it is the client that has to wait at this version (KIP-219).
    pub(crate) fn throttle<R: Request>(&self, version: i16, throttle_time_ms: i32) {
        if let Ok(ms @ 1..) = u64::try_from(throttle_time_ms)
            && throttle::is_ours::<R>(version)
        {
            self.0.shared.mute(Duration::from_millis(ms));
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.shared.closed_with().is_some()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.release();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.peer())
    }
}
