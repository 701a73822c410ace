//! TLS against real Kafka: messages go both ways over it, with client certificates too; and each thing that can be wrong
//! with a certificate, a version or a port is one clear error, at once and after one try; and no private key is in anything
//! that is logged.
#![cfg(feature = "tls")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::proxy::counting;
use common::traced::{listen, logged};
use common::{eventually, payload, scaled, unique, within};
use dispatcher::{Builder, Dispatcher, Error, ErrorKind, Message, Tls, TlsVersion};
use dispatcher_testcontainers::{Kafka, Listener, SharedKafka, certificates};

const LIMIT: Duration = Duration::from_secs(30);

/// One cluster for all of these tests.
fn kafka() -> Option<SharedKafka> {
    listen();
    let with = |name: &str, identity| Listener::ssl(name).certificate(identity);
    let only = |name: &str, versions: &str| Listener::ssl(name).property("ssl.enabled.protocols", versions);
    Kafka::builder()
        .secured(Listener::ssl("TLS"))
        .secured(Listener::ssl("MTLS").client_certificates(certificates::CA))
        .secured(only("TLS12", "TLSv1.2"))
        .secured(only("TLS13", "TLSv1.3"))
        .secured(only("MTLS12", "TLSv1.2").client_certificates(certificates::CA))
        .secured(with("WRONG_HOST", certificates::WRONG_HOST))
        .secured(with("EXPIRED", certificates::EXPIRED))
        .secured(with("NOT_YET_VALID", certificates::NOT_YET_VALID))
        .secured(with("SELF_SIGNED", certificates::SELF_SIGNED))
        .secured(with("STRANGER", certificates::STRANGER))
        .shared_or_skip()
}

fn tls() -> Tls {
    Tls::new().roots_pem(certificates::CA)
}

fn client() -> Tls {
    tls().client_certificate_pem(certificates::CLIENT.chain, certificates::CLIENT.key)
}

fn builder(address: &str, tls: Tls) -> Builder {
    Dispatcher::builder(address.split(',')).replicas(1).partitions(3).tls(tls)
}

/// Sends and handles messages of all sizes.
async fn round_trip(dispatcher: Dispatcher) {
    let topic = unique("tls");
    let count = scaled(2_000);
    let received = Arc::new(AtomicUsize::new(0));
    let handled = received.clone();
    let subscription = dispatcher
        .subscribe(&topic, move |message: Message| {
            let handled = handled.clone();
            async move {
                let bytes = message.value().unwrap_or_default().to_vec();
                let (_, sequence) = common::parse_payload(&bytes).ok_or_else(|| std::io::Error::other("payload"))?;
                assert_eq!(bytes.len(), size(sequence), "of message {sequence}");
                handled.fetch_add(1, Ordering::Relaxed);
                Ok::<(), std::io::Error>(())
            }
        })
        .group(&topic)
        .start()
        .await
        .unwrap();
    let sending =
        (0..count).map(|n| dispatcher.send(&topic, payload(1, n, size(n))).key(format!("{}", n % 7)).into_future());
    for sent in futures_util::future::join_all(sending).await {
        sent.unwrap();
    }
    eventually("all are handled", LIMIT, async || received.load(Ordering::Relaxed) >= count).await;
    assert_eq!(received.load(Ordering::Relaxed), count);
    subscription.stop().await.unwrap();
    dispatcher.close(LIMIT).await.unwrap();
}

/// Most small, some of several records of TLS, few of many.
fn size(n: usize) -> usize {
    match n % 500 {
        499 => 900_000,
        r if r % 50 == 49 => 40_000,
        r => 25 + r,
    }
}

/// Connecting fails for good, at once, after one connection, and says all of `words`.
async fn refused(address: &str, tls: Option<Tls>, kind: ErrorKind, words: &[&str]) -> Error {
    let (at, connections) = counting(address).await;
    let mut builder = Dispatcher::builder([at]).replicas(1);
    if let Some(tls) = tls.clone() {
        builder = builder.tls(tls);
    }
    let begun = Instant::now();
    let error = within(LIMIT, "connect()", builder.connect()).await.expect_err("nothing to connect to");
    println!("{error}\n");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}: {error}", begun.elapsed());
    assert_eq!(connections.load(Ordering::Relaxed), 1, "one try says it: {error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_all_sizes_go_both_ways_over_tls() {
    let Some(kafka) = kafka() else { return };
    round_trip(builder(kafka.listener("TLS"), tls()).connect().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_of_tls_works_and_is_refused_where_it_is_not_allowed() {
    let Some(kafka) = kafka() else { return };
    for name in ["TLS12", "TLS13"] {
        round_trip(builder(kafka.listener(name), tls()).connect().await.unwrap()).await;
    }
    let new = tls().min_version(TlsVersion::Tls13);
    refused(kafka.listener("TLS12"), Some(new), ErrorKind::Tls, &["version"]).await;
    let old = tls().max_version(TlsVersion::Tls12);
    refused(kafka.listener("TLS13"), Some(old), ErrorKind::Tls, &["version"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_opens_what_asks_for_one() {
    let Some(kafka) = kafka() else { return };
    round_trip(builder(kafka.listener("MTLS"), client()).connect().await.unwrap()).await;
    round_trip(builder(kafka.listener("MTLS12"), client()).connect().await.unwrap()).await;
    // A listener that asks for none is not disturbed by one.
    builder(kafka.listener("TLS"), client()).connect().await.unwrap();
    for listener in ["MTLS", "MTLS12"] {
        let address = kafka.listener(listener);
        refused(address, Some(tls()), ErrorKind::Tls, &["client_certificate_files"]).await;
        let identity = certificates::STRANGER_CLIENT;
        let stranger = tls().client_certificate_pem(identity.chain, identity.key);
        refused(address, Some(stranger), ErrorKind::Tls, &["refuses this client's certificate"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_certificate_is_an_error_of_its_own() {
    let Some(kafka) = kafka() else { return };
    for (listener, words) in [
        ("WRONG_HOST", ["for another host", "elsewhere.example"]),
        ("EXPIRED", ["has expired", "clock"]),
        ("NOT_YET_VALID", ["not valid yet", "clock"]),
        ("SELF_SIGNED", ["self-signed", "roots_file"]),
        ("STRANGER", ["authority that is not trusted", "roots_file"]),
    ] {
        refused(kafka.listener(listener), Some(tls()), ErrorKind::Tls, &words).await;
    }
    // The system's authorities know nothing of ours.
    refused(kafka.listener("TLS"), Some(Tls::new()), ErrorKind::Tls, &["authority that is not trusted"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trusted_by_name_is_trusted() {
    let Some(kafka) = kafka() else { return };
    let own = Tls::new().roots_pem(certificates::SELF_SIGNED.chain);
    builder(kafka.listener("SELF_SIGNED"), own).connect().await.unwrap();
    let both = Tls::new().roots_pem(format!("{}{}", certificates::CA, certificates::STRANGER_CA));
    builder(kafka.listener("STRANGER"), both).connect().await.unwrap();
    let anything = Tls::new().danger_accept_any_certificate();
    for listener in ["WRONG_HOST", "EXPIRED", "SELF_SIGNED"] {
        builder(kafka.listener(listener), anything.clone()).connect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_plaintext_port_and_plaintext_to_a_tls_port_are_told_apart() {
    let Some(kafka) = kafka() else { return };
    refused(kafka.bootstrap(), Some(tls()), ErrorKind::Connection, &["without TLS"]).await;
    refused(kafka.listener("TLS"), None, ErrorKind::Protocol, &["TLS"]).await;
}

/// A dispatcher that did not wait for the cluster tells at the first call, and does not besiege the broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_trusted_ends_calls_at_once_and_is_not_tried_in_a_storm() {
    let Some(kafka) = kafka() else { return };
    let (at, connections) = counting(kafka.listener("STRANGER")).await;
    let dispatcher = builder(&at, tls()).connect_lazily().unwrap();
    let begun = Instant::now();
    let error = within(LIMIT, "send()", dispatcher.send("t", "m").into_future()).await.unwrap_err();
    println!("{error}\n{:?}", begun.elapsed());
    assert!(error.to_string().contains("not trusted"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = connections.load(Ordering::Relaxed);
    println!("{seen} connections");
    assert!(seen <= 12, "{seen} connections in 3 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_private_key_is_in_any_log_error_or_debug_output() {
    let Some(kafka) = kafka() else { return };
    let files = std::env::temp_dir().join(unique("keys"));
    std::fs::create_dir(&files).unwrap();
    let path = |name: &str, text: &str| {
        let path = files.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().replace('\\', "/")
    };
    let (ca, client, stranger) = (certificates::CA, certificates::CLIENT, certificates::STRANGER_CLIENT);
    let store = path("store.pem", &format!("{}{}", client.key, client.chain));
    let trust = path("trust.pem", ca);
    let in_line = |pem: &str| pem.trim().replace('\n', "\\n");
    // As Kafka's documentation has it: line ends become blanks.
    let continued = |pem: &str| pem.trim().replace('\n', " \\\n");
    let at = kafka.listener("MTLS");
    let properties = [
        format!("ssl.keystore.type=PEM\nssl.keystore.location={store}"),
        format!(
            "ssl.keystore.type=PEM\nssl.keystore.key={}\nssl.keystore.certificate.chain={}",
            in_line(client.key),
            in_line(client.chain)
        ),
        format!(
            "ssl.keystore.type=PEM\nssl.keystore.key={}\nssl.keystore.certificate.chain={}",
            continued(client.key),
            continued(client.chain)
        ),
    ];
    let of_properties = properties.map(|keys| {
        let text = format!(
            "bootstrap.servers={at}\nsecurity.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={trust}\n{keys}\n"
        );
        let mut config = dispatcher::Config::default();
        config.apply_properties(&text).unwrap();
        Dispatcher::from_config(config).replicas(1).partitions(3)
    });
    // Half a key, in lines and in one, another's key, and one of an authority that nobody trusts.
    let half = format!("{}\n-----END PRIVATE KEY-----\n", &client.key[..client.key.len() / 2]);
    let joined = client.key[..client.key.len() / 2].replace('\n', " ");
    let bad = [
        (client.chain, half.as_str()),
        (client.chain, joined.as_str()),
        (client.chain, stranger.key),
        (stranger.chain, stranger.key),
    ];

    let mut shown = String::new();
    for builder in of_properties.into_iter().chain([builder(at, self::client())]) {
        shown += &format!("{builder:?} {:#?} {}", builder.config(), serde_json::to_string(builder.config()).unwrap());
        let dispatcher = builder.connect().await.unwrap();
        shown += &format!("{dispatcher:?}");
        round_trip(dispatcher).await;
    }
    for (chain, key) in bad {
        let builder = builder(at, tls().client_certificate_pem(chain, key));
        shown += &format!("{builder:?} {:#?}", builder.config());
        let error = builder.connect().await.unwrap_err();
        println!("{error}\n");
        shown += &format!("{error} {error:?} {error:#?}");
    }
    std::fs::remove_dir_all(&files).unwrap();
    let log = logged();
    assert!(log.contains("TRACE") || log.contains("DEBUG"));
    for line in client.key.lines().chain(stranger.key.lines()).filter(|line| !line.starts_with("-----")) {
        // As text, and as a list of bytes, of the text or of what it says.
        let (text, mut lists) = (&line[..line.len().min(16)], vec![line.as_bytes().to_vec()]);
        lists.extend(BASE64_STANDARD.decode(line));
        assert!(!shown.contains(text) && !log.contains(text), "{text}");
        for list in lists {
            let list = format!("{:?}", &list[..12]);
            let list = list.trim_matches(['[', ']']);
            assert!(!shown.contains(list) && !log.contains(list), "{list}");
        }
    }
}
