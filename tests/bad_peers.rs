//! Peers and bytes that mean no good, and arguments that cannot work: each gives its own clear error within its limit.
//! No panic, no hang, and the memory of this whole process stays below 300 MB.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::ours::{self, Member, Reading};
use common::{KAFKA_4, segment, tools, unique, within};
use dispatcher::{Dispatcher, Error, ErrorKind};
use dispatcher_testcontainers::Kafka;

const LIMIT: Duration = Duration::from_secs(2);
const MEMORY: u64 = 300 * 1024 * 1024;

/// A listener that does `behave` with every connection.
fn peer(behave: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let behave = behave.clone();
            std::thread::spawn(move || behave(stream));
        }
    });
    address
}

/// Reads one request and gives its correlation id.
fn request(stream: &mut TcpStream) -> Option<[u8; 4]> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    body.get(4..8)?.try_into().ok()
}

/// Sends `frame` as the answer to every request, its correlation id first.
fn answering(frame: impl Fn([u8; 4]) -> Vec<u8> + Send + Sync + Clone + 'static) -> SocketAddr {
    peer(move |mut stream| {
        while let Some(id) = request(&mut stream) {
            if stream.write_all(&frame(id)).is_err() {
                return;
            }
        }
    })
}

async fn refused(address: impl ToString, expected: &[ErrorKind]) -> Error {
    let started = Instant::now();
    let connecting = Dispatcher::builder([address.to_string()]).connect_timeout(LIMIT).connect();
    let error = within(LIMIT * 3, "connect()", connecting).await.expect_err("no dispatcher over such a peer");
    assert!(expected.contains(&error.kind()), "{:?}: {error}", error.kind());
    assert!(started.elapsed() < LIMIT * 2, "{:?} for {error}", started.elapsed());
    assert!(error.to_string().contains(": "), "what happened and what to do: {error}");
    println!("{error}");
    memory_is_bounded();
    error
}

fn memory_is_bounded() {
    if let Some(peak) = common::process::peak_memory() {
        assert!(peak < MEMORY, "B: {} MiB", peak >> 20);
    }
}

#[tokio::test]
async fn a_silent_broker_is_given_up_within_the_connect_timeout() {
    refused(
        peer(|stream| drop((std::thread::sleep(Duration::from_secs(30)), stream))),
        &[ErrorKind::Timeout, ErrorKind::Connection],
    )
    .await;
}

#[tokio::test]
async fn a_refusing_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = refused(address, &[ErrorKind::Connection, ErrorKind::Timeout]).await;
    assert!(error.to_string().contains(&address.port().to_string()), "{error}");
}

#[tokio::test]
async fn a_broker_that_hangs_up_is_an_error() {
    refused(peer(drop), &[ErrorKind::Connection, ErrorKind::Timeout]).await;
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    refused(answering(move |_| http.clone()), &[ErrorKind::Protocol]).await;
    // A frame of the right length with the right correlation id, and nonsense inside.
    let nonsense = |id: [u8; 4]| [&[0, 0, 0, 20][..], &id, &[0xff; 16]].concat();
    refused(answering(nonsense), &[ErrorKind::Protocol]).await;
}

#[tokio::test]
async fn a_foreign_correlation_id_is_a_protocol_error() {
    let wrong = |id: [u8; 4]| [&[0, 0, 0, 10][..], &[id[0] ^ 0x40, id[1], id[2], id[3]], &[0; 6]].concat();
    refused(answering(wrong), &[ErrorKind::Protocol]).await;
}

#[tokio::test]
async fn a_frame_of_two_gibibytes_is_refused_unread() {
    let huge = |id: [u8; 4]| [&i32::MAX.to_be_bytes()[..], &id, &[0; 64]].concat();
    let error = refused(answering(huge), &[ErrorKind::Protocol]).await;
    assert!(error.to_string().contains("2147483647"), "{error}");
    let negative = |id: [u8; 4]| [&(-5i32).to_be_bytes()[..], &id].concat();
    refused(answering(negative), &[ErrorKind::Protocol]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_an_error_when_creation_is_off() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let dispatcher = Dispatcher::builder(kafka.bootstrap().split(',')).create_topics(false).connect().await.unwrap();
    let topic = unique("nowhere");
    let sending = async { dispatcher.send(&topic, "x").await };
    let error = within(Duration::from_secs(40), "send", sending).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
    assert!(error.to_string().contains(&topic), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_names_and_sizes_are_refused_before_anything_is_sent() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    for name in ["", ".", "..", "a b", "ü", "a/b", &"x".repeat(250)] {
        let started = Instant::now();
        let error = dispatcher.send(name, "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}: {error}");
        assert!(started.elapsed() < Duration::from_secs(1));
        let ignore = |_: dispatcher::Message| async { Ok::<_, std::io::Error>(()) };
        let error = dispatcher.subscribe(name, ignore).group_exact("g").start().await.expect_err("a bad topic name");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}: {error}");
    }
    let topic = unique("oversize");
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 1, 1, &[]);
    let error = dispatcher.send(&topic, vec![0; 21_000_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge, "{error}");
    // Within the client's limit but over the topic's: the broker's word.
    let error = dispatcher.send(&topic, vec![0; 5_000_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge, "{error}");
    // The connection and the producer go on.
    dispatcher.send(&topic, "small").await.unwrap();
    memory_is_bounded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_crc_stops_the_partition_with_its_offset_and_is_never_committed_past() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).start_or_skip() else { return };
    let topic = unique("crc");
    poisoned(&kafka, &topic, |segment| {
        let second = segment::batches(segment)[1].clone();
        segment[second.end - 1] ^= 0x55;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decompression_bomb_of_each_codec_stops_its_partition_within_bounded_memory() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).start_or_skip() else { return };
    for codec in 1..=4 {
        let topic = unique("bomb");
        poisoned(&kafka, &topic, |segment| {
            let batches = segment::batches(segment);
            let bomb = segment::bomb(codec, 1, 512 << 20);
            segment.splice(batches[1].start.., bomb);
        })
        .await;
    }
}

/// Three messages in batches of their own; `spoil` makes the second unreadable on the broker's disk.
async fn poisoned(kafka: &Kafka, topic: &str, spoil: impl FnOnce(&mut Vec<u8>)) {
    let bootstrap = kafka.bootstrap();
    tools::create_topic(kafka.tools(), &bootstrap, topic, 1, 1, &[]);
    let dispatcher = ours::connect(&bootstrap).await;
    for n in 0..3 {
        dispatcher.send(topic, common::payload(1, n, 50)).await.unwrap();
    }
    let broker = kafka.broker(0);
    broker.stop();
    let file = broker.data_dir().join(format!("{topic}-0/00000000000000000000.log"));
    let mut bytes = std::fs::read(&file).unwrap();
    spoil(&mut bytes);
    std::fs::write(&file, bytes).unwrap();
    broker.restart();

    let group = unique("poisoned");
    let member = Member::start(&bootstrap, topic, &group, &Reading::default()).await;
    let mut errors = member.subscription.errors();
    let reported = within(Duration::from_secs(30), "the error", errors.next()).await;
    let error = reported.expect("the partition stops with an error").error().clone();
    assert_eq!(error.kind(), ErrorKind::CorruptBatch, "{error}");
    let text = error.to_string();
    assert!(text.contains(topic) && text.contains('1'), "topic, partition and offset: {text}");
    println!("{text}");
    let before = async || member.log.done() == 1;
    common::eventually("the message before it is handled", Duration::from_secs(10), before).await;
    let _ = within(Duration::from_secs(40), "stop()", member.subscription.stop()).await;
    let committed = ours::committed(&ours::connect(&bootstrap).await, topic, &group).await;
    assert!(committed.values().all(|next| *next <= 1), "C: {committed:?}");
    memory_is_bounded();
}
