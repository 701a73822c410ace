//! SASL against real Kafka: messages go both ways with each mechanism, over TLS and without; each thing that can be wrong
//! is one clear error, at once and after one try; sessions shorter than the work are prolonged under load without a
//! message lost, doubled or a connection dropped; and no secret is in anything that is logged.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use common::proxy::counting;
use common::traced::{listen, logged};
use common::{KAFKA_3, eventually, tools, unique, within};
use dispatcher::{Builder, Dispatcher, Error, ErrorKind, Message, OauthToken, Sasl, Tls};
use dispatcher_testcontainers::{Kafka, Listener, SharedKafka, certificates};

const LIMIT: Duration = Duration::from_secs(30);
const PASSWORD: &str = "alice-s3cret \"quoted\" pässword";

/// One cluster for all of these tests.
fn kafka() -> Option<SharedKafka> {
    listen();
    Kafka::builder()
        .secured(Listener::sasl_ssl("BOTH"))
        .secured(Listener::sasl_plaintext("SASL"))
        .secured(Listener::sasl_plaintext("ONLY_PLAIN").mechanisms(&["PLAIN"]))
        .secured(Listener::sasl_ssl("REAUTH_SCRAM").reauthenticate_after(3_000))
        .secured(Listener::sasl_plaintext("REAUTH_OAUTH").reauthenticate_after(3_000))
        .secured(Listener::sasl_plaintext("REAUTH_LOG").reauthenticate_after(1_500))
        .secured(Listener::sasl_plaintext("REAUTH_OTHER").reauthenticate_after(3_000))
        .user("alice", PASSWORD)
        .shared_or_skip()
}

/// An unsigned token, as brokers take it that have no other validator.
fn token(subject: &str, seconds: i64) -> String {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let claims = format!(r#"{{"sub":"{subject}","iat":{},"exp":{}}}"#, now - 7_200, now + seconds);
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims))
}

fn all_mechanisms() -> [Sasl; 5] {
    [
        Sasl::plain("alice", PASSWORD),
        Sasl::scram_sha_256("alice", PASSWORD),
        Sasl::scram_sha_512("alice", PASSWORD),
        Sasl::oauthbearer_unsecured("alice"),
        Sasl::oauthbearer_with(|| async { Ok::<_, io::Error>(OauthToken::new(token("alice", 600))) }),
    ]
}

fn builder(address: &str, sasl: Sasl, tls: bool) -> Builder {
    let builder = Dispatcher::builder(address.split(',')).replicas(1).partitions(3).sasl(sasl);
    match tls {
        true => builder.tls(Tls::new().roots_pem(certificates::CA)),
        false => builder.danger_sasl_without_tls(),
    }
}

/// What a subscription of its own has handled.
async fn handling(dispatcher: &Dispatcher, topic: &str) -> (dispatcher::Subscription, Arc<Mutex<Vec<String>>>) {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let log = handled.clone();
    let subscription = dispatcher
        .subscribe(topic, move |message: Message| {
            let log = log.clone();
            async move {
                let text = String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned();
                log.lock().unwrap().push(text);
                Ok::<(), io::Error>(())
            }
        })
        .group(topic)
        .start()
        .await
        .unwrap();
    (subscription, handled)
}

async fn round_trip(dispatcher: Dispatcher) {
    let topic = unique("sasl");
    let (subscription, handled) = handling(&dispatcher, &topic).await;
    let sending = (0..50).map(|n| dispatcher.send(&topic, format!("{n}")).into_future());
    for sent in futures_util::future::join_all(sending).await {
        sent.unwrap();
    }
    eventually("all are handled", LIMIT, async || handled.lock().unwrap().len() >= 50).await;
    subscription.stop().await.unwrap();
    dispatcher.close(LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_with_each_mechanism_over_tls_and_without() {
    let Some(kafka) = kafka() else { return };
    for sasl in all_mechanisms() {
        println!("{sasl:?}");
        for (listener, tls) in [("BOTH", true), ("SASL", false)] {
            let connecting = builder(kafka.listener(listener), sasl.clone(), tls).connect();
            round_trip(within(LIMIT, "connect()", connecting).await.unwrap()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_kafka_takes_each_mechanism_too() {
    listen();
    let kafka = Kafka::builder().version(KAFKA_3).secured(Listener::sasl_ssl("BOTH")).user("alice", PASSWORD);
    let Some(kafka) = kafka.shared_or_skip() else { return };
    for sasl in all_mechanisms() {
        let connecting = builder(kafka.listener("BOTH"), sasl.clone(), true).connect();
        round_trip(within(LIMIT, "connect()", connecting).await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_properties_file_of_kafkas_tools_is_all_it_takes_and_odd_names_are_escaped() {
    let Some(kafka) = kafka() else { return };
    let arguments = ["--bootstrap-server", kafka.bootstrap(), "--alter", "--entity-type", "users", "--entity-name"];
    let arguments = [&arguments[..], &["b=o,b", "--add-config", "SCRAM-SHA-512=[password=b/ob]"]].concat();
    let output = kafka.tool("kafka.admin.ConfigCommand", &arguments).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (roots, file) = (directory.join("sasl-ca.pem"), directory.join("sasl.properties"));
    std::fs::write(&roots, certificates::CA).unwrap();
    let text = format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  username=\"b=o,b\" \
         password=\"b/ob\";\n",
        roots.display()
    );
    std::fs::write(&file, text).unwrap();
    // Kafka's own tool takes the same file.
    let arguments =
        ["--bootstrap-server", kafka.listener("BOTH"), "--command-config", file.to_str().unwrap(), "--list"];
    let output = kafka.tool("org.apache.kafka.tools.TopicCommand", &arguments).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let builder = Dispatcher::builder([kafka.listener("BOTH")]).replicas(1).properties_file(&file).unwrap();
    eventually("the user is known to the broker", LIMIT, async || builder.clone().connect().await.is_ok()).await;
    round_trip(builder.connect().await.unwrap()).await;
}

/// Connecting fails for good, at once, after so many connections, and says all of `words`.
async fn refused(address: &str, sasl: Option<Sasl>, most: usize, words: &[&str]) -> Error {
    let (at, connections) = counting(address).await;
    let builder = match sasl {
        Some(sasl) => builder(&at, sasl, false),
        None => Dispatcher::builder([at]),
    };
    let begun = Instant::now();
    let error = within(LIMIT, "connect()", builder.connect()).await.expect_err("nothing to connect to");
    println!("{error}\n");
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(!error.is_retriable() && error.is_fatal());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}: {error}", begun.elapsed());
    assert!(connections.load(Ordering::Relaxed) <= most, "{} tries: {error}", connections.load(Ordering::Relaxed));
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_one_clear_error_at_once_after_one_try() {
    let Some(kafka) = kafka() else { return };
    let (all, only) = (kafka.listener("SASL"), kafka.listener("ONLY_PLAIN"));
    let makers: [fn(&str, &str) -> Sasl; 3] =
        [|u, p| Sasl::plain(u, p), |u, p| Sasl::scram_sha_256(u, p), |u, p| Sasl::scram_sha_512(u, p)];
    for make in makers {
        let error = refused(all, Some(make("alice", "wr0ng")), 1, &["alice", "check the credentials"]).await;
        assert_eq!(error.kafka_code(), Some(58));
        refused(all, Some(make("nobody", PASSWORD)), 1, &["nobody", "check the credentials"]).await;
    }
    let error = refused(only, Some(Sasl::scram_sha_512("alice", PASSWORD)), 1, &["SCRAM-SHA-512", "PLAIN"]).await;
    assert_eq!(error.kafka_code(), Some(33));
    let expired = Sasl::oauthbearer(OauthToken::new(token("alice", -3_600)));
    refused(all, Some(expired), 1, &["OAUTHBEARER", "invalid_token"]).await;
    let plain = kafka.bootstrap();
    refused(plain, Some(Sasl::plain("alice", PASSWORD)), 1, &["a listener without SASL"]).await;
    // One connection to be hung up on, one to find out why.
    refused(only, None, 2, &["is a SASL listener (PLAIN)", "credentials"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_fails_each_call_at_once_and_starts_no_storm() {
    let Some(kafka) = kafka() else { return };
    let (at, connections) = counting(kafka.listener("SASL")).await;
    let wrong = builder(&at, Sasl::scram_sha_512("alice", "wr0ng"), false).connect_lazily().unwrap();
    let begun = Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_secs(5) {
        let call = Instant::now();
        let error = within(LIMIT, "send", wrong.send("t", "x").into_future()).await.unwrap_err();
        assert!(error.to_string().contains("does not let user"), "{error}");
        let never = wrong.subscribe("t", async |_: Message| Ok::<(), io::Error>(())).group("g").start();
        let error = within(LIMIT, "subscribe", never).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
        assert!(call.elapsed() < Duration::from_secs(4), "{:?}", call.elapsed());
        calls += 2;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let connections = connections.load(Ordering::Relaxed);
    println!("{calls} calls, {connections} connections");
    assert!(calls > 20 && connections <= 8, "{calls} calls, {connections} connections");
}

/// Sends and handles on a listener whose sessions last 3 s; says how often connections authenticated again.
async fn under_load(kafka: &SharedKafka, listener: &str, sasl: Sasl, tls: bool) -> usize {
    let address = kafka.listener(listener);
    let dispatcher = builder(address, sasl, tls).connect().await.unwrap();
    let topic = unique("reauth");
    let (subscription, handled) = handling(&dispatcher, &topic).await;
    dispatcher.send(&topic, "warm").await.unwrap();
    eventually("the first is handled", LIMIT, async || !handled.lock().unwrap().is_empty()).await;
    let peer = format!("peer={address}");
    let count = |what: &str| logged().lines().filter(|line| line.contains(&peer) && line.contains(what)).count();
    let (connected, closed) = (count(" connected"), count("connection closed"));

    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..8 {
        let (dispatcher, topic, over, sent) = (dispatcher.clone(), topic.clone(), over.clone(), sent.clone());
        senders.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let n = sent.fetch_add(1, Ordering::Relaxed);
                dispatcher.send(&topic, format!("{n}")).key(format!("{sender}")).await.unwrap();
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(16)).await;
    over.store(true, Ordering::Relaxed);
    while let Some(done) = senders.join_next().await {
        done.unwrap();
    }
    let sent = sent.load(Ordering::Relaxed);
    eventually("all are handled", LIMIT, async || handled.lock().unwrap().len() > sent).await;
    let again = count("authenticated again");
    assert_eq!((count(" connected"), count("connection closed")), (connected, closed), "a connection was dropped");
    subscription.stop().await.unwrap();
    dispatcher.close(LIMIT).await.unwrap();

    let all: BTreeSet<String> = (0..sent).map(|n| n.to_string()).chain(["warm".to_owned()]).collect();
    let handled = handled.lock().unwrap().clone();
    assert_eq!(handled.len(), all.len(), "handled twice");
    assert_eq!(handled.into_iter().collect::<BTreeSet<_>>(), all);
    let stored = tools::read_back(kafka.tools(), kafka.bootstrap(), &topic);
    assert_eq!(stored.len(), all.len(), "stored twice");
    assert_eq!(stored.into_iter().map(|record| record.value).collect::<BTreeSet<_>>(), all);
    println!("{listener}: {sent} messages, {connected} connections, authenticated again {again} times");
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_prolonged_under_load_and_nothing_is_lost_doubled_or_dropped() {
    let Some(kafka) = kafka() else { return };
    let tokens = Arc::new(AtomicUsize::new(0));
    let asked = tokens.clone();
    let oauth = Sasl::oauthbearer_with(move || {
        asked.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, io::Error>(OauthToken::new(token("alice", 60)).lifetime(Duration::from_secs(60))) }
    });
    let (scram, oauth) = tokio::join!(
        under_load(&kafka, "REAUTH_SCRAM", Sasl::scram_sha_512("alice", PASSWORD), true),
        under_load(&kafka, "REAUTH_OAUTH", oauth, false),
    );
    // At least three connections (control, produce, fetch), five times each in 16 s.
    assert!(scram >= 15 && oauth >= 15, "{scram}, {oauth}");
    assert!(tokens.load(Ordering::Relaxed) > oauth, "a token for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_becomes_somebody_else_is_not_let_in_again_and_hears_of_it() {
    let Some(kafka) = kafka() else { return };
    let other = Arc::new(AtomicBool::new(false));
    let who = other.clone();
    let sasl = Sasl::oauthbearer_with(move || {
        let subject = if who.load(Ordering::Relaxed) { "mallory" } else { "alice" };
        async move { Ok::<_, io::Error>(OauthToken::new(token(subject, 600))) }
    });
    let dispatcher = builder(kafka.listener("REAUTH_OTHER"), sasl, false).connect().await.unwrap();
    let topic = unique("principal");
    let (subscription, handled) = handling(&dispatcher, &topic).await;
    dispatcher.send(&topic, "x").await.unwrap();
    eventually("it is handled", LIMIT, async || !handled.lock().unwrap().is_empty()).await;
    other.store(true, Ordering::Relaxed);
    let error = within(LIMIT, "join()", subscription.join()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(error.to_string().contains("principal"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log_error_or_debug_output() {
    let Some(kafka) = kafka() else { return };
    let (secret_token, wrong) = (token("alice", 600), "wr0ng-s3cret");
    let mut shown = String::new();
    let token_for = secret_token.clone();
    let mechanisms = [
        Sasl::plain("alice", PASSWORD),
        Sasl::scram_sha_256("alice", PASSWORD),
        Sasl::scram_sha_512("alice", PASSWORD),
        Sasl::oauthbearer(OauthToken::new(secret_token.clone())),
        Sasl::oauthbearer_with(move || {
            let token = token_for.clone();
            async move { Ok::<_, io::Error>(OauthToken::new(token)) }
        }),
    ];
    for sasl in mechanisms {
        let builder = builder(kafka.listener("REAUTH_LOG"), sasl, false);
        shown += &format!("{builder:?} {:#?} {}", builder.config(), serde_json::to_string(builder.config()).unwrap());
        let dispatcher = builder.connect().await.unwrap();
        shown += &format!("{dispatcher:?}");
        let topic = unique("secret");
        dispatcher.send(&topic, "x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        dispatcher.send(&topic, "y").await.unwrap();
        dispatcher.close(LIMIT).await.unwrap();
    }
    for sasl in [Sasl::plain("alice", wrong), Sasl::scram_sha_256("alice", wrong), Sasl::scram_sha_512("alice", wrong)]
    {
        let error = builder(kafka.listener("SASL"), sasl, false).connect().await.unwrap_err();
        shown += &format!("{error} {error:?} {error:#?}");
    }
    let log = logged();
    assert!(log.contains("TRACE") || log.contains("DEBUG"));
    assert!(log.contains("authenticated again"));
    let mut secrets = vec![PASSWORD.to_owned(), wrong.to_owned(), secret_token.clone()];
    for text in [PASSWORD, wrong] {
        secrets.push(BASE64_STANDARD.encode(text));
        secrets.push(BASE64_STANDARD.encode(format!("\0alice\0{text}")));
        secrets.push(format!("{:?}", text.as_bytes()).trim_matches(['[', ']']).to_owned());
        secrets.push(text.escape_debug().to_string());
    }
    secrets.push(secret_token.split('.').nth(1).unwrap().to_owned());
    for secret in secrets {
        assert!(!shown.contains(&secret) && !log.contains(&secret), "{secret}");
    }
}
