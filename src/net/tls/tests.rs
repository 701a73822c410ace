//! Against a rustls server in memory or, where it must be code that is not ours, on a socket.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dispatcher_testcontainers::certificates::{self, Identity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connector, Tls, TlsVersion};
use crate::env::{Env, Transport};
use crate::error::{Error, ErrorKind};
use crate::net::testing::{Net, Peer};
use crate::net::{Connection, ConnectionConfig, Security};

fn trusting() -> Tls {
    Tls::new().roots_pem(certificates::CA)
}

fn server(identity: Identity) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

impl super::session::Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_handshaking(&self) -> bool {
        (**self).is_handshaking()
    }
}

/// The server's end of a connection, over the same streams.
async fn accept(peer: Peer, config: Arc<ServerConfig>) -> Transport {
    let tls = UnbufferedServerConnection::new(config).unwrap();
    super::stream::secure(tls, Transport::new(peer.stream)).await.unwrap()
}

fn refusal(tls: Tls) -> String {
    let error = Connector::new(&tls).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    error.to_string()
}

fn config(tls: Tls) -> ConnectionConfig {
    ConnectionConfig {
        client_id: "test".into(),
        connect_timeout: Duration::from_secs(10),
        max_frame: 100 << 20,
        buffers: Default::default(),
        software: Default::default(),
        security: Security::new(Some(&tls), None).unwrap(),
    }
}

async fn failure(net: &Net, tls: Tls) -> Error {
    let opened = Connection::open(&Env::simulated(1, net.clone()), "kafka", 9092, &config(tls)).await;
    let error = opened.unwrap_err();
    assert!(error.to_string().contains("kafka:9092"), "{error}");
    error
}

/// Both ends of a secured stream in memory.
async fn pair(tls: Tls) -> (Transport, Transport) {
    let (ours, theirs) = tokio::io::duplex(100_000);
    let connector = Connector::new(&tls).unwrap();
    let config = server(certificates::GOOD);
    let (client, server) = tokio::join!(
        connector.secure(Transport::new(ours), "kafka", "kafka:9092"),
        accept(Peer { stream: theirs }, config)
    );
    (client.unwrap(), server)
}

#[tokio::test]
async fn bytes_go_both_ways_at_once_in_any_pieces() {
    for tls in [trusting(), trusting().max_version(TlsVersion::Tls12)] {
        let (client, server) = pair(tls).await;
        let data: Arc<Vec<u8>> = Arc::new((0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect());
        let mut tasks = Vec::new();
        for (mut end, piece) in [(client, 70_000), (server, 1_000)] {
            let (sent, expected) = (data.clone(), data.clone());
            tasks.push(tokio::spawn(async move {
                for part in sent.chunks(piece) {
                    end.writer.write_all(part).await.unwrap();
                }
                end.writer.flush().await.unwrap();
                // Held until the other side has read everything.
                std::future::pending::<()>().await;
            }));
            tasks.push(tokio::spawn(async move {
                let mut read = vec![0; expected.len()];
                end.reader.read_exact(&mut read).await.unwrap();
                assert!(read == *expected);
            }));
        }
        for (n, task) in tasks.into_iter().enumerate() {
            if n % 2 == 1 {
                tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
            } else {
                drop(task);
            }
        }
    }
}

#[tokio::test]
async fn many_small_parts_become_few_records() {
    let (mut client, mut server) = pair(trusting()).await;
    let part = [7; 100];
    let parts = [std::io::IoSlice::new(&part); 60];
    assert!(client.writer.is_write_vectored());
    let written = client.writer.write_vectored(&parts).await.unwrap();
    assert_eq!(written, 6_000, "one record");
    let mut read = vec![0; 20_000];
    assert_eq!(server.reader.read(&mut read).await.unwrap(), 6_000);
}

#[tokio::test]
async fn a_stream_ends_where_the_other_side_says_goodbye_or_just_goes() {
    let (mut client, mut server) = pair(trusting()).await;
    server.writer.write_all(b"last words").await.unwrap();
    server.writer.flush().await.unwrap();
    drop(server);
    let mut read = Vec::new();
    client.reader.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last words");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_given_up_within_the_connect_timeout() {
    let net = Net::default();
    net.listen("kafka", 9092, |peer| async move {
        let _silent = peer;
        std::future::pending::<()>().await;
    });
    let begun = tokio::time::Instant::now();
    let error = failure(&net, trusting()).await;
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, Duration::from_secs(10)));
    assert!(error.to_string().contains("TLS handshake"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_speak_tls_is_told_from_who_hangs_up() {
    let net = Net::default();
    net.listen("kafka", 9092, |mut peer| async move {
        peer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    });
    let error = failure(&net, trusting()).await;
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("does not answer with TLS"), "{error}");

    net.listen("kafka", 9092, |_| async {});
    let error = failure(&net, trusting()).await;
    assert_eq!(error.kind(), ErrorKind::Connection, "it may be starting: {error}");
    assert!(error.to_string().contains("without TLS"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_in_trouble_is_told_from_one_that_refuses() {
    for (alert, kind) in [(80, ErrorKind::Connection), (40, ErrorKind::Tls), (70, ErrorKind::Tls)] {
        let net = Net::default();
        net.listen("kafka", 9092, move |mut peer| async move {
            peer.raw(&[21, 3, 3, 0, 2, 2, alert]).await;
            std::future::pending::<()>().await;
        });
        let error = failure(&net, trusting()).await;
        assert_eq!((error.kind(), error.is_retriable()), (kind, kind == ErrorKind::Connection), "{error}");
    }
}

/// The limit of time is one for dialling, TLS and negotiation together.
#[tokio::test(start_paused = true)]
async fn silence_after_the_handshake_is_given_up_too() {
    let net = Net::default();
    let config = server(certificates::GOOD);
    net.listen("kafka", 9092, move |peer| {
        let config = config.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(6)).await;
            let _silent = accept(peer, config).await;
            std::future::pending::<()>().await;
        }
    });
    let begun = tokio::time::Instant::now();
    let error = failure(&net, trusting()).await;
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, Duration::from_secs(10)));
    assert!(error.to_string().contains("said nothing") && error.to_string().contains("with TLS"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_stream_that_worked_is_a_lost_connection_and_no_refusal() {
    let net = Net::default();
    let config = server(certificates::GOOD);
    net.listen("kafka", 9092, move |mut peer| {
        let config = config.clone();
        async move {
            let (mut wire, far) = tokio::io::duplex(100_000);
            let (mut plain, stream) = tokio::io::duplex(100_000);
            let secured = async {
                let tls = accept(Peer { stream: far }, config).await;
                let mut tls = tokio::io::join(tls.reader, tls.writer);
                let _ends = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
            };
            let mut broker = Peer { stream };
            let negotiated = async {
                broker.negotiate().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            };
            tokio::select! {
                () = secured => {}
                _ = tokio::io::copy_bidirectional(&mut peer.stream, &mut wire) => {}
                () = negotiated => {}
            }
            peer.raw(&[23, 3, 3, 0, 4, 1, 2, 3, 4]).await;
            std::future::pending::<()>().await;
        }
    });
    let env = Env::simulated(1, net.clone());
    let connection = Connection::open(&env, "kafka", 9092, &super::tests::config(trusting())).await.unwrap();
    let request = crate::wire::messages::HeartbeatRequest::default();
    let error = connection.ask(&request, Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(error.is_retriable() && connection.refusal().is_none());
}

#[tokio::test]
async fn certificates_are_checked_against_the_host_that_was_dialled() {
    for (identity, words) in [
        (certificates::WRONG_HOST, "for another host"),
        (certificates::EXPIRED, "has expired"),
        (certificates::NOT_YET_VALID, "not valid yet"),
        (certificates::SELF_SIGNED, "self-signed"),
        (certificates::STRANGER, "not trusted"),
        (certificates::CLIENT, "not one for a server"),
    ] {
        let net = Net::default();
        let config = server(identity);
        net.listen("kafka", 9092, move |peer| {
            let tls = UnbufferedServerConnection::new(config.clone()).unwrap();
            async move {
                let refused = super::stream::secure(tls, Transport::new(peer.stream)).await;
                assert!(refused.is_err(), "the client says why it goes");
            }
        });
        let error = failure(&net, trusting()).await;
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(!error.is_retriable() && error.to_string().contains(words), "{words}: {error}");
    }
}

/// A server that is all rustls' own, on a socket; it tells how each handshake went.
fn on_a_socket(config: Arc<ServerConfig>, full: Arc<AtomicUsize>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = rustls::StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).unwrap();
            if stream.conn.handshake_kind() == Some(HandshakeKind::Full) {
                full.fetch_add(1, Ordering::SeqCst);
            }
            stream.write_all(&vec![hello[0]; 200_000]).unwrap();
            stream.flush().unwrap();
        }
    });
    port
}

#[tokio::test]
async fn connections_of_one_cluster_resume_each_others_sessions() {
    for tls in [trusting(), trusting().max_version(TlsVersion::Tls12)] {
        let full = Arc::new(AtomicUsize::new(0));
        let port = on_a_socket(server(certificates::GOOD), full.clone());
        let (env, connector) = (Env::system(), Connector::new(&tls).unwrap());
        for _ in 0..4 {
            let transport = env.dial("localhost", port).await.unwrap();
            let mut secured = connector.clone().secure(transport, "localhost", "localhost").await.unwrap();
            secured.writer.write_all(b"hello").await.unwrap();
            secured.writer.flush().await.unwrap();
            let mut read = vec![0; 200_000];
            secured.reader.read_exact(&mut read).await.unwrap();
            assert!(read.iter().all(|&byte| byte == b'h'));
        }
        assert_eq!(full.load(Ordering::SeqCst), 1);
    }
}

/// Kafka's brokers change keys after 2^37 bytes, and ask the client to do so too.
#[tokio::test]
async fn keys_that_the_broker_changes_are_followed_while_both_sides_write() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = rustls::StreamOwned::new(ServerConnection::new(server(certificates::GOOD)).unwrap(), stream);
        let mut piece = vec![0; 50_000];
        for round in 0..200 {
            stream.read_exact(&mut piece).unwrap();
            assert!(piece.iter().all(|&byte| byte == round));
            stream.write_all(&piece).unwrap();
            stream.conn.refresh_traffic_keys().unwrap();
            stream.write_all(&piece).unwrap();
            stream.flush().unwrap();
        }
    });
    let connector = Connector::new(&trusting()).unwrap();
    let transport = Env::system().dial("localhost", port).await.unwrap();
    let mut secured = connector.secure(transport, "localhost", "localhost").await.unwrap();
    let work = async {
        for round in 0..200u8 {
            let piece = [round; 50_000];
            secured.writer.write_all(&piece).await.unwrap();
            secured.writer.flush().await.unwrap();
            let mut read = vec![0; 100_000];
            secured.reader.read_exact(&mut read).await.unwrap();
            assert!(read.iter().all(|&byte| byte == round));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.unwrap();
}

#[test]
fn files_and_texts_that_cannot_be_used_are_named() {
    let missing = refusal(Tls::new().roots_file("/nowhere/ca.pem"));
    assert!(missing.contains("roots_file /nowhere/ca.pem"), "{missing}");
    let empty = refusal(Tls::new().roots_pem("nothing"));
    assert!(empty.contains("roots_pem holds no certificate"), "{empty}");
    let cut = refusal(Tls::new().roots_pem(&certificates::CA[..300]));
    assert!(cut.contains("roots_pem"), "{cut}");

    let client = certificates::CLIENT;
    let no_key = refusal(trusting().client_certificate_pem(client.chain, "nothing"));
    assert!(no_key.contains("key_pem holds no private key"), "{no_key}");
    let locked = client.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let locked = refusal(trusting().client_certificate_pem(client.chain, locked));
    assert!(locked.contains("key_pem is encrypted: decrypt it"), "{locked}");
    let other = refusal(trusting().client_certificate_pem(client.chain, certificates::STRANGER_CLIENT.key));
    assert!(other.contains("belong together"), "{other}");
    let mut half = trusting().client_certificate_pem(client.chain, client.key);
    half.key_pem = None;
    assert!(refusal(half.clone()).contains("key_file or key_pem"));
    half.key_file = Some("/nowhere/key.pem".into());
    assert!(refusal(half).contains("key_file /nowhere/key.pem"));
    let upside_down = trusting().min_version(TlsVersion::Tls13).max_version(TlsVersion::Tls12);
    assert!(refusal(upside_down).contains("min_version"));
}

/// As Kafka does it: lines of a properties file that go on behind a backslash have no line ends left.
#[test]
fn pem_whose_lines_were_joined_is_read_as_well_as_one_with_notes_between() {
    let client = certificates::CLIENT;
    let joined = |pem: &str, by: &str| pem.trim().lines().collect::<Vec<_>>().join(by);
    for by in [" ", "", "\r\n", "\n  ", "\r"] {
        let tls = Tls::new()
            .roots_pem(format!(
                "\u{feff}{} notes {}",
                joined(certificates::CA, by),
                joined(certificates::STRANGER_CA, by)
            ))
            .client_certificate_pem(joined(client.chain, by), joined(client.key, by));
        assert_eq!(super::pem::roots(&tls).unwrap().len(), 2, "{by:?}");
        Connector::new(&tls).unwrap();
    }
}

#[test]
fn no_error_quotes_a_key_that_cannot_be_read() {
    let client = certificates::CLIENT;
    let body: String = client.key.lines().filter(|line| !line.starts_with('-')).collect();
    for key in [
        client.key.replace("-----END", "END"),
        client.key.replace("-----BEGIN PRIVATE KEY-----", &format!("-----BEGIN {body}")),
        client.key.replace("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY---- "),
        client.key.replace('\n', " ").replace("KEY-----", "KEY"),
        client.key.replace("PRIVATE KEY", "private key"),
        client.key.replacen(&body[..64], &format!("!{}", &body[1..64]), 1),
        client.key.replace(&body[..64], ""),
    ] {
        let error = Connector::new(&trusting().client_certificate_pem(client.chain, key.clone())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let shown = format!("{error} {error:?}");
        let bytes = format!("{:?}", &body.as_bytes()[70..74]);
        assert!(!shown.contains(&body[70..80]) && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
        assert!(shown.contains("key"), "{shown}");
    }
}

#[test]
fn settings_survive_serde_but_for_the_key_which_debug_does_not_show_either() {
    let client = certificates::CLIENT;
    let tls = trusting().client_certificate_pem(client.chain, client.key).min_version(TlsVersion::Tls13);
    let text = serde_json::to_string(&tls).unwrap();
    assert!(!text.contains("PRIVATE KEY"), "{text}");
    assert_eq!(serde_json::from_str::<Tls>(&text).unwrap(), Tls { key_pem: None, ..tls.clone() });
    let both = format!("{}{}", client.key, client.chain);
    let both = trusting().client_certificate_pem(&both, both.as_str());
    let text = serde_json::to_string(&both).unwrap();
    assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE KEY") && !text.contains(&client.key[40..60]));
    assert_eq!(serde_json::from_str::<Tls>(&text).unwrap().certificate_pem.as_deref(), Some(client.chain));
    let given = serde_json::json!({ "key_pem": client.key }).to_string();
    assert_eq!(serde_json::from_str::<Tls>(&given).unwrap().key_pem, Some(client.key.into()));
    assert_eq!(serde_json::to_string(&Tls::new()).unwrap(), "{}");
    let shown = format!("{tls:?}");
    assert!(!shown.contains("PRIVATE KEY") && shown.contains("key_pem: Some(…)"), "{shown}");
    assert!(serde_json::from_str::<Tls>(r#"{"root": "x"}"#).is_err());
}
