//! One authentication over a connection: SaslHandshake, then SaslAuthenticate until both sides are content. Made once
//! per cluster, so that a reconnect storm salts the password once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use futures_util::FutureExt as _;

use super::Step;
use super::hash::{Hash, Hi};
use super::mechanism::Mechanism;
use super::settings::{Kind, Sasl};
use super::token::{Cause, OauthToken};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::net::line::Line;
use crate::wire::messages::{SaslAuthenticateRequest, SaslHandshakeRequest, SaslHandshakeResponse};
use crate::wire::{ErrorCode, Request, StrBytes};

/// From this version on SASL's messages travel in Kafka's frames.
const HANDSHAKE_VERSION: i16 = 1;
/// A user has one salt per mechanism; more are kept only while credentials change.
const SALTED_KEPT: usize = 4;
/// Iterations of Hi between two looks at other tasks: less than a millisecond.
const PORTION: u32 = 1_024;
/// More steps than any mechanism has.
const MOST_STEPS: usize = 8;

/// How a cluster's connections authenticate. Clones share what was computed.
#[derive(Clone)]
pub(crate) struct Authenticator(Arc<Inner>);

struct Inner {
    sasl: Sasl,
    /// Held by whoever salts the password: the others wait for the result instead of computing it too.
    salted: tokio::sync::Mutex<Vec<Salted>>,
}

struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    password: Vec<u8>,
}

/// What is had before an exchange begins.
pub(super) struct Credentials {
    token: Option<OauthToken>,
}

/// An authenticated connection's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(super) began: Instant,
    /// `None`: without end.
    pub(super) lifetime: Option<Duration>,
}

impl Authenticator {
    pub(crate) fn new(sasl: &Sasl) -> Self {
        Self(Arc::new(Inner { sasl: sasl.clone(), salted: tokio::sync::Mutex::default() }))
    }

    pub(super) fn mechanism(&self) -> &'static str {
        self.0.sasl.mechanism()
    }

    /// Authenticates a fresh connection. `limit` is for each request; the caller limits the whole.
    pub(in crate::net) async fn authenticate(&self, line: &Line, limit: Duration) -> Result<Session> {
        let credentials = self.credentials(line.env().wall_ms()).await?;
        let session = self.exchange(line, credentials, limit).await?;
        let (peer, mechanism, lifetime) = (line.peer(), self.mechanism(), session.lifetime);
        tracing::debug!(target: "dispatcher::net", %peer, mechanism, ?lifetime, "authenticated");
        Ok(session)
    }

    /// Asks the user's code for a token, which may take a while.
    pub(super) async fn credentials(&self, wall_ms: i64) -> Result<Credentials> {
        let Kind::Oauthbearer(tokens) = &self.0.sasl.kind else { return Ok(Credentials { token: None }) };
        let asked = std::panic::AssertUnwindSafe(tokens.get(wall_ms)).catch_unwind().await;
        let failed = "there is no OAUTHBEARER token, for what gets one failed";
        let token = match asked {
            Ok(Ok(token)) => token,
            // It may succeed the next time, so it counts as trouble on the way.
            Ok(Err(error)) => return Err(Error::new(ErrorKind::Connection, failed).with_source(Cause(error))),
            Err(_) => return Err(Error::new(ErrorKind::Connection, format!("{failed}: it panicked"))),
        };
        token.check().map_err(|why| Error::new(ErrorKind::Auth, why))?;
        Ok(Credentials { token: Some(token) })
    }

    pub(super) async fn exchange(&self, line: &Line, credentials: Credentials, limit: Duration) -> Result<Session> {
        self.handshake(line, limit).await?;
        let (sasl, peer) = (&self.0.sasl, line.peer());
        let nonce = nonce(line.env())?;
        let (mut mechanism, mut message) = Mechanism::begin(sasl, credentials.token.as_ref(), || nonce);
        for _step in 0..MOST_STEPS {
            let request = SaslAuthenticateRequest { auth_bytes: message.into() };
            let response = line.ask(&request, limit).await?;
            if response.error_code != ErrorCode::NONE {
                let said = mechanism.refusal().or(response.error_message.as_deref()).unwrap_or_default();
                return Err(refused(response.error_code, said, peer, &sasl.who()));
            }
            let broken = |refusal: super::Refusal| refusal.error(peer, &sasl.who());
            match mechanism.challenge(&response.auth_bytes).map_err(broken)? {
                Step::Send(next) => message = next,
                Step::Salt { hash, salt, iterations } => {
                    let password = self.salted(hash, salt, iterations).await;
                    message = mechanism.salted(&password).map_err(broken)?;
                }
                Step::Done => {
                    let lifetime = u64::try_from(response.session_lifetime_ms).ok().filter(|&ms| ms > 0);
                    let lifetime = lifetime.map(Duration::from_millis);
                    let token = credentials.token.and_then(|token| token.lifetime);
                    let lifetime = lifetime.map(|session| token.map_or(session, |token| session.min(token)));
                    return Ok(Session { began: line.env().now(), lifetime });
                }
            }
        }
        let message = format!("{peer} goes on with SASL for ever: check that it is the broker you mean");
        Err(Error::new(ErrorKind::Auth, message))
    }

    async fn handshake(&self, line: &Line, limit: Duration) -> Result<()> {
        let (peer, mechanism) = (line.peer(), self.mechanism());
        let response = handshake(line, mechanism, limit).await?;
        let advice = match response.error_code {
            ErrorCode::NONE => return Ok(()),
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let offered = names(&response.mechanisms);
                format!("{peer} does not offer the SASL mechanism {mechanism}, but {offered}: choose one of these")
            }
            ErrorCode::ILLEGAL_SASL_STATE => format!(
                "{peer} is a listener without SASL, and {mechanism} was asked for: connect to the port of a SASL \
                 listener, or do without SASL"
            ),
            code => return Err(Error::from_code(code, format_args!("SaslHandshake with {peer}"))),
        };
        let error = Error::from_code(response.error_code, "SaslHandshake");
        Err(error.wrap(ErrorKind::Auth, advice))
    }

    /// The salted password, computed once for all connections.
    async fn salted(&self, hash: Hash, salt: Vec<u8>, iterations: u32) -> Vec<u8> {
        let Kind::Scram { password, .. } = &self.0.sasl.kind else { return Vec::new() };
        let mut known = self.0.salted.lock().await;
        if let Some(known) = known.iter().find(|k| k.salt == salt && k.iterations == iterations) {
            return known.password.clone();
        }
        let mut hi = Hi::new(hash, password.expose().as_bytes(), &salt, iterations);
        let password = loop {
            match hi.advance(PORTION) {
                Some(password) => break password,
                None => tokio::task::yield_now().await,
            }
        };
        if known.len() == SALTED_KEPT {
            known.remove(0);
        }
        known.push(Salted { salt, iterations, password: password.clone() });
        password
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.sasl.fmt(f)
    }
}

async fn handshake(line: &Line, mechanism: &str, limit: Duration) -> Result<SaslHandshakeResponse> {
    if line.version::<SaslHandshakeRequest>(None).is_err() {
        let message = format!("{} offers no SASL at all: do without it", line.peer());
        return Err(Error::new(ErrorKind::Auth, message));
    }
    let request = SaslHandshakeRequest { mechanism: mechanism.into() };
    line.start(&request, HANDSHAKE_VERSION, limit)?.await
}

/// What a listener offers, asked on a fresh connection without SASL; `None` if it is not a SASL listener.
pub(in crate::net) async fn offered(line: &Line, limit: Duration) -> Option<String> {
    let response = handshake(line, "", limit).await.ok()?;
    (response.error_code == ErrorCode::UNSUPPORTED_SASL_MECHANISM).then(|| names(&response.mechanisms))
}

fn names(mechanisms: &[StrBytes]) -> String {
    let names: Vec<&str> = mechanisms.iter().map(|m| &**m).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn refused(code: ErrorCode, said: &str, peer: &str, who: &str) -> Error {
    let error = Error::from_code(code, SaslAuthenticateRequest::NAME);
    match code {
        ErrorCode::SASL_AUTHENTICATION_FAILED | ErrorCode::ILLEGAL_SASL_STATE => {
            let advice = format!("{peer} does not let {who} in, and says {said:?}: check the credentials");
            error.wrap(ErrorKind::Auth, advice)
        }
        _ if said.is_empty() => error,
        _ => {
            let kind = error.kind();
            error.wrap(kind, format!("{peer} says {said:?}"))
        }
    }
}

/// 144 bits that nobody can guess, printable and without a comma.
fn nonce(env: &Env) -> Result<String> {
    let mut bytes = [0; 18];
    env.unguessable(&mut bytes)?;
    Ok(BASE64_STANDARD_NO_PAD.encode(bytes))
}
