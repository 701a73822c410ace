//! A connection to one broker: opened, negotiated, authenticated, shared by any number of callers. Requests go out in call order and
//! are answered in that order; nobody's lateness or disappearance disturbs the others.

use std::sync::Arc;
use std::time::Duration;

use super::driver::Driver;
use super::handshake::{self, Software};
use super::line::Line;
use super::pending::Pending;
use super::security::Security;
use super::shared::Shared;
use super::{sasl, throttle};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::buffers::Buffers;
use crate::wire::frames::Frames;
use crate::wire::{Request, StrBytes};

/// For finding out why a listener hung up.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What every connection of a cluster has in common.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionConfig {
    pub(crate) client_id: StrBytes,
    /// Limit for dialling, securing, negotiation and authentication together.
    pub(crate) connect_timeout: Duration,
    /// A longer frame from the broker closes the connection.
    pub(crate) max_frame: usize,
    pub(crate) buffers: Buffers,
    pub(crate) software: Software,
    pub(crate) security: Security,
}

/// A handle; clones share the connection. When the last one is dropped, requests that somebody still waits for are
/// answered before the stream is closed.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Handle>);

struct Handle {
    line: Arc<Line>,
}

impl Connection {
    /// Dials, secures, negotiates and authenticates, within `connect_timeout` altogether. Cancel-safe.
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
        let frames = Frames::new(config.max_frame, config.buffers.clone());
        // The driver ends by itself when the last handle is gone.
        let _detached = env.spawn(Driver::new(shared.clone(), reader, frames));
        let line = Arc::new(Line::new(shared, config.client_id.clone()));
        let connection = Connection(Arc::new(Handle { line: line.clone() }));
        let versions = match env.timeout(left(), handshake::negotiate(&line, &config.software, limit)).await {
            Some(negotiated) => negotiated?,
            None => {
                let which = if tls.is_some() { "with" } else { "without" };
                return Err(late(format!(
                    "{peer} accepted the connection and then said nothing for {limit:?}: check that it is a Kafka listener \
                     {which} TLS"
                )));
            }
        };
        line.learn_versions(versions);
        if let Some(authenticator) = &config.security.sasl {
            let Some(session) = env.timeout(left(), authenticator.authenticate(&line, limit)).await else {
                return Err(late(format!(
                    "{peer} and this client were not done with SASL within {limit:?}: look at the broker's log, and at what \
                     gets the token if it is OAUTHBEARER"
                )));
            };
            let _detached = env.spawn(sasl::keep(line, authenticator.clone(), session?, limit));
        }
        tracing::debug!(target: "dispatcher::net", %peer, "connected");
        Ok(connection)
    }

    /// After a connection without SASL was closed at its first request: the error to tell instead, if the listener is
    /// one of SASL. Such listeners negotiate versions with everybody and then hang up without a word. Takes at most 2 s.
    pub(crate) async fn wants_sasl(env: &Env, host: &str, port: u16, config: &ConnectionConfig) -> Option<Error> {
        if config.security.sasl.is_some() {
            return None;
        }
        let ask = async {
            let connection = Self::open(env, host, port, config).await.ok()?;
            sasl::offered(&connection.0.line, SECOND_LOOK).await
        };
        let offered = env.timeout(SECOND_LOOK, ask).await??;
        let message = format!(
            "{host}:{port} is a SASL listener ({offered}), and no credentials were given: set `sasl` \
             (sasl.jaas.config in a properties file), or connect to a listener without it"
        );
        Some(Error::new(ErrorKind::Auth, message))
    }

    /// `host:port`.
    pub(crate) fn peer(&self) -> &str {
        self.0.line.peer()
    }

    /// The highest version of this API both sides speak, at most `cap`.
    pub(crate) fn version<R: Request>(&self, cap: Option<i16>) -> Result<i16> {
        self.0.line.version::<R>(cap)
    }

    /// Encodes and sends at once, in call order. The broker has `timeout` to answer, else the connection is closed:
    /// everything behind that request would be stuck.
    pub(crate) fn start<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Result<Pending<R>> {
        self.0.line.start(request, version, timeout)
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
            self.0.line.shared.mute(Duration::from_millis(ms));
        }
    }

    /// Why the broker wanted no more of this client on a connection that stood, if that is how it ended.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.0.line.shared.closed_with().filter(Error::is_refusal)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.line.shared.closed_with().is_some()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.line.shared.release();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.peer())
    }
}
