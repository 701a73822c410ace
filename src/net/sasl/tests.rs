//! Against scripted brokers, in virtual time.
#![allow(clippy::disallowed_methods)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::env::{Env, lock};
use crate::error::Result;
use crate::net::testing::{Net, Peer, Received};
use crate::net::{Connection, ConnectionConfig, Security};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, Request};

const LIMIT: Duration = Duration::from_secs(30);

async fn open(net: &Net, sasl: &Sasl) -> (Result<Connection>, Env) {
    let config = ConnectionConfig {
        client_id: "test".into(),
        connect_timeout: Duration::from_secs(10),
        max_frame: 1 << 20,
        buffers: Default::default(),
        software: Default::default(),
        security: Security::new(None, Some(sasl)).unwrap(),
    };
    let env = Env::simulated(1, net.clone());
    (Connection::open(&env, "kafka", 9092, &config).await, env)
}

async fn handshake(peer: &mut Peer, request: &Received, offered: &[&str]) {
    let asked = request.decode::<SaslHandshakeRequest>().mechanism;
    let error_code = match offered.contains(&&*asked) {
        true => ErrorCode::NONE,
        false => ErrorCode::UNSUPPORTED_SASL_MECHANISM,
    };
    let mechanisms = offered.iter().map(|&m| m.into()).collect();
    peer.answer::<SaslHandshakeRequest>(request, &SaslHandshakeResponse { error_code, mechanisms }).await;
}

fn accepted(lifetime_ms: i64) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse { session_lifetime_ms: lifetime_ms, error_message: None, ..Default::default() }
}

fn refusal(text: &str) -> SaslAuthenticateResponse {
    let error_code = ErrorCode::SASL_AUTHENTICATION_FAILED;
    SaslAuthenticateResponse { error_code, error_message: Some(text.into()), ..Default::default() }
}

/// Takes whoever comes, for `lifetime_ms`; answers heartbeats after a while; notes which APIs it is asked.
async fn lenient(mut peer: Peer, seen: Arc<Mutex<Vec<i16>>>, lifetime_ms: i64, refuse_from: u32) {
    peer.negotiate().await;
    let mut times = 0;
    while let Some(request) = peer.request().await {
        lock(&seen).push(request.header.api_key);
        match request.header.api_key {
            SaslHandshakeRequest::KEY => handshake(&mut peer, &request, &["PLAIN", "OAUTHBEARER"]).await,
            SaslAuthenticateRequest::KEY => {
                times += 1;
                tokio::time::sleep(Duration::from_millis(300)).await;
                let answer =
                    if times > refuse_from { refusal("Cannot change principals") } else { accepted(lifetime_ms) };
                peer.answer::<SaslAuthenticateRequest>(&request, &answer).await;
                if times > refuse_from {
                    return;
                }
            }
            _ => {
                tokio::time::sleep(Duration::from_millis(40)).await;
                let code = request.decode::<HeartbeatRequest>().generation_id as i16;
                let answer = HeartbeatResponse { error_code: ErrorCode(code), ..Default::default() };
                peer.answer::<HeartbeatRequest>(&request, &answer).await;
            }
        }
    }
}

fn beat(connection: &Connection, n: i16) -> Result<crate::net::Pending<HeartbeatRequest>> {
    connection.start(&HeartbeatRequest { generation_id: n.into(), ..Default::default() }, 4, LIMIT)
}

#[tokio::test(start_paused = true)]
async fn a_session_is_prolonged_under_load_and_nothing_is_lost_doubled_or_out_of_order() {
    let (net, seen) = (Net::default(), Arc::new(Mutex::new(Vec::new())));
    let script = seen.clone();
    net.listen("kafka", 9092, move |peer| lenient(peer, script.clone(), 3_000, 99));
    let (connection, env) = open(&net, &Sasl::plain("alice", "secret")).await;
    let connection = connection.unwrap();
    let mut answers = tokio::task::JoinSet::new();
    for n in 0..500 {
        let pending = beat(&connection, n).unwrap();
        answers.spawn(async move { assert_eq!(pending.await.unwrap().error_code.0, n) });
        env.sleep(Duration::from_millis(60)).await;
    }
    while let Some(answered) = answers.join_next().await {
        answered.unwrap();
    }
    let seen = lock(&seen).clone();
    let authenticated = seen.iter().filter(|&&key| key == 36).count();
    assert!((10..=13).contains(&authenticated), "{authenticated} times in 30 s");
    assert_eq!(seen.iter().filter(|&&key| key == 12).count(), 500);
    for pair in seen.windows(2).filter(|pair| pair[0] == 17) {
        assert_eq!(pair[1], 36, "something came between handshake and authentication");
    }
    assert_eq!(net.dialled().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays_authenticated_and_one_without_limit_is_left_alone() {
    for (lifetime, times) in [(60_000, 10..=12), (0, 1..=1)] {
        let (net, seen) = (Net::default(), Arc::new(Mutex::new(Vec::new())));
        let script = seen.clone();
        net.listen("kafka", 9092, move |peer| lenient(peer, script.clone(), lifetime, 99));
        let (connection, env) = open(&net, &Sasl::plain("alice", "secret")).await;
        let connection = connection.unwrap();
        env.sleep(Duration::from_secs(590)).await;
        let authenticated = lock(&seen).iter().filter(|&&key| key == 36).count();
        assert!(times.contains(&authenticated), "{lifetime}: {authenticated}");
        drop(connection);
        env.sleep(Duration::from_secs(600)).await;
        assert_eq!(lock(&seen).iter().filter(|&&key| key == 36).count(), authenticated, "it is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_on_a_connection_that_stands_ends_it_and_what_waited_was_not_sent() {
    let (net, seen) = (Net::default(), Arc::new(Mutex::new(Vec::new())));
    net.listen("kafka", 9092, move |peer| lenient(peer, seen.clone(), 10_000, 1));
    let (connection, env) = open(&net, &Sasl::plain("alice", "secret")).await;
    let connection = connection.unwrap();
    let mut answered = 0;
    let error = loop {
        let pending = beat(&connection, 0).unwrap();
        tokio::pin!(pending);
        match pending.as_mut().await {
            Ok(_) => answered += 1,
            Err(error) => {
                assert!(!pending.maybe_sent());
                break error;
            }
        }
        env.sleep(Duration::from_millis(1)).await;
    };
    assert!(answered > 100);
    assert_eq!((error.kind(), error.kafka_code()), (ErrorKind::Auth, Some(58)));
    assert!(error.to_string().contains("Cannot change principals") && error.to_string().contains("alice"), "{error}");
    assert!(connection.is_closed() && !error.is_retriable());
}

#[tokio::test(start_paused = true)]
async fn tokens_are_asked_for_each_time_and_trouble_with_them_passes() {
    let (net, seen) = (Net::default(), Arc::new(Mutex::new(Vec::new())));
    net.listen("kafka", 9092, move |peer| lenient(peer, seen.clone(), 10_000, 99));
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let sasl = Sasl::oauthbearer_with(move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match n {
                2 => Err("the identity provider is down"),
                3 => panic!("and so is this"),
                _ => Ok(OauthToken::new(format!("token{n}"))),
            }
        }
    });
    let (connection, env) = open(&net, &sasl).await;
    let connection = connection.unwrap();
    let begun = env.now();
    while env.now() < begun + Duration::from_secs(28) {
        connection.ask(&HeartbeatRequest::default(), LIMIT).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 5, "at the start, twice well, twice in vain");
    assert_eq!(net.dialled().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_had_is_told_with_its_reason_and_in_time() {
    let net = Net::default();
    net.listen("kafka", 9092, |peer| lenient(peer, Arc::default(), 0, 99));
    let (down, _) = open(&net, &Sasl::oauthbearer_with(|| async { Err::<OauthToken, _>("idp is down") })).await;
    let error = down.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("idp is down"), "{error}");
    let (hangs, _) = open(&net, &Sasl::oauthbearer_with(std::future::pending::<Result<OauthToken, &str>>)).await;
    assert_eq!(hangs.unwrap_err().kind(), ErrorKind::Timeout);
    let expired = || async { Ok::<_, &str>(OauthToken::new("t0ken").lifetime(Duration::ZERO)) };
    let (expired, _) = open(&net, &Sasl::oauthbearer_with(expired)).await;
    let error = expired.unwrap_err();
    assert!(error.kind() == ErrorKind::Auth && error.to_string().contains("expired"), "{error}");
    assert!(!error.to_string().contains("t0ken"));
}

async fn refused_by<F>(sasl: Sasl, script: impl Fn(Peer) -> F + Send + Sync + 'static) -> Error
where
    F: Future<Output = ()> + Send + 'static,
{
    let net = Net::default();
    net.listen("kafka", 9092, script);
    let (connection, _) = open(&net, &sasl).await;
    assert_eq!(net.dialled().len(), 1);
    connection.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn each_refusal_says_what_to_do_and_is_final() {
    let alice = || Sasl::plain("alice", "hunter2");
    let unsupported = refused_by(alice(), |mut peer| async move {
        peer.negotiate().await;
        let request = peer.request().await.unwrap();
        handshake(&mut peer, &request, &["SCRAM-SHA-256", "OAUTHBEARER"]).await;
        peer.silence().await;
    });
    let unsupported = unsupported.await;
    assert!(unsupported.to_string().contains("SCRAM-SHA-256, OAUTHBEARER"), "{unsupported}");

    let no_sasl = refused_by(alice(), |mut peer| async move {
        peer.negotiate().await;
        let request = peer.request().await.unwrap();
        let response = SaslHandshakeResponse { error_code: ErrorCode::ILLEGAL_SASL_STATE, ..Default::default() };
        peer.answer::<SaslHandshakeRequest>(&request, &response).await;
        peer.silence().await;
    });
    let no_sasl = no_sasl.await;
    assert!(no_sasl.to_string().contains("without SASL"), "{no_sasl}");

    let wrong = refused_by(alice(), |mut peer| async move {
        peer.negotiate().await;
        let request = peer.request().await.unwrap();
        handshake(&mut peer, &request, &["PLAIN"]).await;
        let request = peer.request().await.unwrap();
        assert_eq!(&request.decode::<SaslAuthenticateRequest>().auth_bytes[..], b"\0alice\0hunter2");
        peer.answer::<SaslAuthenticateRequest>(&request, &refusal("Invalid username or password")).await;
    });
    let wrong = wrong.await;
    assert!(wrong.to_string().contains("Invalid username or password"), "{wrong}");

    let token = refused_by(Sasl::oauthbearer(OauthToken::new("t0ken")), |mut peer| async move {
        peer.negotiate().await;
        let request = peer.request().await.unwrap();
        handshake(&mut peer, &request, &["OAUTHBEARER"]).await;
        let request = peer.request().await.unwrap();
        let json = SaslAuthenticateResponse { auth_bytes: "{\"status\":\"invalid_token\"}".into(), ..accepted(0) };
        peer.answer::<SaslAuthenticateRequest>(&request, &json).await;
        let request = peer.request().await.unwrap();
        assert_eq!(&request.decode::<SaslAuthenticateRequest>().auth_bytes[..], b"\x01");
        peer.answer::<SaslAuthenticateRequest>(&request, &refusal("")).await;
    });
    let token = token.await;
    assert!(token.to_string().contains("invalid_token"), "{token}");

    for error in [unsupported, no_sasl, wrong, token] {
        assert!(error.kind() == ErrorKind::Auth && !error.is_retriable() && error.kafka_code().is_some(), "{error}");
        assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("t0ken"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_scram_server_is_left_and_a_silent_one_given_up() {
    let forged = refused_by(Sasl::scram_sha_256("alice", "hunter2"), |mut peer| async move {
        peer.negotiate().await;
        let request = peer.request().await.unwrap();
        handshake(&mut peer, &request, &["SCRAM-SHA-256"]).await;
        let request = peer.request().await.unwrap();
        let first = String::from_utf8(request.decode::<SaslAuthenticateRequest>().auth_bytes.to_vec()).unwrap();
        let nonce = first.split_once(",r=").unwrap().1;
        assert!(nonce.len() >= 24);
        let auth_bytes = format!("r={nonce}more,s=c2FsdA==,i=4096").into();
        peer.answer::<SaslAuthenticateRequest>(&request, &SaslAuthenticateResponse { auth_bytes, ..accepted(0) }).await;
        let request = peer.request().await.unwrap();
        let auth_bytes = "v=Zm9yZ2Vk".into();
        peer.answer::<SaslAuthenticateRequest>(&request, &SaslAuthenticateResponse { auth_bytes, ..accepted(0) }).await;
        peer.silence().await;
    });
    let forged = forged.await;
    assert!(forged.kind() == ErrorKind::Auth && forged.to_string().contains("signature is wrong"), "{forged}");
    let silent = refused_by(Sasl::plain("alice", "hunter2"), |mut peer| async move {
        peer.negotiate().await;
        peer.silence().await;
    });
    assert_eq!(silent.await.kind(), ErrorKind::Timeout);
}

/// A server that knows alice's password.
async fn scram(mut peer: Peer, salted: Vec<u8>) {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    peer.negotiate().await;
    while let Some(request) = peer.request().await {
        match request.header.api_key {
            SaslHandshakeRequest::KEY => handshake(&mut peer, &request, &["SCRAM-SHA-512"]).await,
            SaslAuthenticateRequest::KEY => {
                let text = |r: &Received| String::from_utf8(r.decode::<SaslAuthenticateRequest>().auth_bytes.to_vec());
                let first = text(&request).unwrap();
                let bare = first.strip_prefix("n,,").unwrap();
                let server = format!("r={}more,s=c2FsdA==,i=5000", bare.split_once(",r=").unwrap().1);
                let auth_bytes = server.clone().into();
                let answer = SaslAuthenticateResponse { auth_bytes, ..accepted(0) };
                peer.answer::<SaslAuthenticateRequest>(&request, &answer).await;

                let Some(request) = peer.request().await else { return };
                let last = text(&request).unwrap();
                let (without, proof) = last.split_once(",p=").unwrap();
                let auth = format!("{bare},{server},{without}");
                let hash = hash::Hash::Sha512;
                let stored = hash.hash(&hash.hmac(&salted, &[b"Client Key"]));
                let signature = hash.hmac(&stored, &[auth.as_bytes()]);
                let key: Vec<_> =
                    BASE64_STANDARD.decode(proof).unwrap().iter().zip(signature).map(|(p, s)| p ^ s).collect();
                assert_eq!(hash.hash(&key), stored, "the client does not know the password");
                let server_key = hash.hmac(&salted, &[b"Server Key"]);
                let signature = hash.hmac(&server_key, &[auth.as_bytes()]);
                let auth_bytes = format!("v={}", BASE64_STANDARD.encode(signature)).into();
                let answer = SaslAuthenticateResponse { auth_bytes, ..accepted(2_000) };
                peer.answer::<SaslAuthenticateRequest>(&request, &answer).await;
            }
            _ => peer.answer::<HeartbeatRequest>(&request, &HeartbeatResponse::default()).await,
        }
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn scram_goes_through_again_and_again_and_nothing_logged_shows_what_it_computed() {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let _here = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    // While there is but one, an event whose first user is another test's thread is taken to interest nobody.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).finish());
    let salted = hash::Hi::new(hash::Hash::Sha512, b"hunter2", b"salt", 5_000).advance(u32::MAX).unwrap();
    let (net, knows) = (Net::default(), salted.clone());
    net.listen("kafka", 9092, move |peer| scram(peer, knows.clone()));
    let (connection, env) = open(&net, &Sasl::scram_sha_512("alice", "hunter2")).await;
    let connection = connection.unwrap();
    for _ in 0..100 {
        connection.ask(&HeartbeatRequest::default(), LIMIT).await.unwrap();
        env.sleep(Duration::from_millis(100)).await;
    }
    let (wrong, _) = open(&net, &Sasl::plain("alice", "hunter2")).await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(net.dialled().len(), 2);
    let log = String::from_utf8(lock(&log.0).clone()).unwrap();
    assert!(log.matches("authenticated again").count() >= 4, "{log}");
    let hex: String = salted.iter().map(|b| format!("{b:02x}")).collect();
    let list = format!("{salted:?}");
    for secret in ["hunter2", &BASE64_STANDARD.encode(&salted), &hex, list.trim_matches(['[', ']'])] {
        assert!(!log.contains(secret), "{secret}");
    }
}
