//! Topics that come, grow and go; records that go before they are read.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault};
use dispatcher::{Dispatcher, ErrorKind};

use super::{Reader, connect, eventually, numbers, on, read, send, single, start, values, within};

const SECOND: Duration = Duration::from_secs(1);

async fn with_settings(settings: &[(&str, &str)]) -> (EmbeddedCluster, Dispatcher) {
    let cluster = start(EmbeddedCluster::builder().topic_with("t", 1, 1, settings)).await;
    let dispatcher = connect(&cluster).await;
    (cluster, dispatcher)
}

#[tokio::test(start_paused = true)]
async fn topics_are_made_and_deleted_beside_clients() {
    let cluster = start(EmbeddedCluster::builder().brokers(3)).await;
    cluster.create_topic("t", 2, &[("retention.ms", "1000")]).unwrap();
    let error = cluster.create_topic("t", 2, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let dispatcher = connect(&cluster).await;
    let info = dispatcher.describe_topic("t").await.unwrap();
    assert_eq!((info.partitions(), info.replicas()), (2, 3));
    send(&dispatcher, 0..3).await;
    assert_eq!(read(&dispatcher, "t", "g").await, numbers(0..3));

    assert!(cluster.delete_topic("t") && !cluster.delete_topic("t"));
    assert_eq!((cluster.partition("t", 0), cluster.committed("g", "t", 0)), (None, None));
    let error = within("send()", async { dispatcher.send("t", "x").await }).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownTopic | ErrorKind::NotWritten), "{error}");
    let fresh = connect(&cluster).await;
    let error = within("send()", async { fresh.send("t", "x").await }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");

    // Under the same name it is another topic, which begins from nothing.
    cluster.create_topic("t", 1, &[]).unwrap();
    send(&dispatcher, 0..2).await;
    assert_eq!(values(&cluster, "t", 0), numbers(0..2));
    assert_eq!(read(&dispatcher, "t", "g").await, numbers(0..2));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_with_a_topic_that_is_made_anew() {
    let (cluster, dispatcher) = single().await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..2).await;
    reader.until(2).await;
    cluster.delete_topic("t");
    tokio::time::sleep(SECOND).await;
    cluster.create_topic("t", 1, &[]).unwrap();
    send(&dispatcher, 2..4).await;
    assert_eq!(reader.until(4).await, numbers(0..4));
    reader.stop().await;
}

/// Asks about a topic as a client does that wants it made: Metadata v4 with `allow_auto_topic_creation`.
fn ask_about(address: &str, topic: &str) {
    let name = [&(topic.len() as i16).to_be_bytes(), topic.as_bytes()].concat();
    let request = [&[0, 3, 0, 4, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 1][..], &name, &[1]].concat();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(&[&(request.len() as i32).to_be_bytes()[..], &request].concat()).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..], [0, 0, 0, 7], "the answer's correlation id");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_about_a_topic_makes_it_only_where_the_broker_is_told_so() {
    for auto in [false, true] {
        let builder = EmbeddedCluster::builder().auto_create_topics(auto).default_partitions(4);
        let cluster = builder.start().await.unwrap();
        ask_about(&cluster.brokers()[0], "asked-for");
        assert_eq!(cluster.partition("asked-for", 3).is_some(), auto);
        assert!(cluster.partition("asked-for", 4).is_none());
        // This library does not make topics by the way, but does so when it is to, whatever the broker's setting.
        let dispatcher = Dispatcher::builder(cluster.brokers()).replicas(1).connect().await.unwrap();
        dispatcher.send("made", "x").await.unwrap();
        assert!(cluster.partition("made", 9).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn new_partitions_are_written_to_and_read() {
    let cluster = start(EmbeddedCluster::builder().topic("t", 1)).await;
    let dispatcher = on(&cluster).metadata_max_age(5 * SECOND).connect().await.unwrap();
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..1).await;
    cluster.add_partitions("t", 3).unwrap();
    for wrong in [3, 2] {
        assert_eq!(cluster.add_partitions("t", wrong).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert!(cluster.add_partitions("nowhere", 3).is_err());
    tokio::time::sleep(30 * SECOND).await;
    for partition in 0..3 {
        dispatcher.send("t", "new").partition(partition).await.unwrap();
    }
    reader.until(4).await;
    eventually("commits", 30 * SECOND, || (1..3).all(|p| cluster.committed("g", "t", p) == Some(1))).await;
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_where_the_log_begins() {
    let (cluster, dispatcher) = single().await;
    send(&dispatcher, 0..3).await;
    assert_eq!(read(&dispatcher, "t", "g").await, numbers(0..3));
    send(&dispatcher, 3..10).await;
    assert!(cluster.delete_records("t", 0, 7) && !cluster.delete_records("t", 5, 7));
    let stands = cluster.partition("t", 0).unwrap();
    assert_eq!((stands.log_start, stands.log_end), (7, 10));
    assert_eq!(values(&cluster, "t", 0), numbers(7..10));
    assert_eq!(read(&dispatcher, "t", "g").await, numbers(7..10));
    assert_eq!(read(&dispatcher, "t", "new").await, numbers(7..10));

    // While it runs: all that it has not fetched yet is gone.
    let reader = Reader::start(&dispatcher, "t", "g").await;
    tokio::time::sleep(10 * SECOND).await;
    cluster.delete_records("t", 0, i64::MAX);
    assert_eq!(cluster.partition("t", 0).unwrap().log_start, 10);
    send(&dispatcher, 10..12).await;
    assert_eq!(reader.until(2).await, numbers(10..12));
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_a_compacted_topic_the_last_of_each_key_is_left() {
    let (cluster, dispatcher) = with_settings(&[("cleanup.policy", "compact")]).await;
    for n in 0..30 {
        dispatcher.send("t", n.to_string()).key(format!("k{}", n % 3)).await.unwrap();
    }
    // A tombstone: the key goes.
    dispatcher.send("t", None::<&str>).key("k0").await.unwrap();
    cluster.compact("t");
    assert_eq!(values(&cluster, "t", 0), ["28", "29"]);
    assert_eq!(read(&dispatcher, "t", "g").await, ["28", "29"]);
    // The offsets stay, and so do the producers' sequences.
    assert_eq!(cluster.partition("t", 0).unwrap().log_end, 31);
    let report = dispatcher.send("t", "30").key("k0").await.unwrap();
    assert_eq!(report.offset(), Some(31));
    assert_eq!(read(&dispatcher, "t", "g").await, ["30"]);
    let error = dispatcher.send("t", "no key").await.unwrap_err();
    assert_eq!(error.kafka_code(), Some(87), "INVALID_RECORD: {error}");
}

#[tokio::test(start_paused = true)]
async fn retention_by_time_is_applied_on_demand_and_by_itself() {
    let (cluster, dispatcher) = with_settings(&[("retention.ms", "60000")]).await;
    send(&dispatcher, 0..2).await;
    tokio::time::sleep(61 * SECOND).await;
    send(&dispatcher, 2..3).await;
    assert_eq!(values(&cluster, "t", 0).len(), 3);
    cluster.apply_retention();
    assert_eq!(values(&cluster, "t", 0), ["2"]);
    assert_eq!(cluster.partition("t", 0).unwrap().log_start, 2);
    assert_eq!(read(&dispatcher, "t", "g").await, ["2"]);
    tokio::time::sleep(400 * SECOND).await;
    assert!(values(&cluster, "t", 0).is_empty());
    assert_eq!(dispatcher.send("t", "3").await.unwrap().offset(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn retention_by_size_keeps_the_newest() {
    let (cluster, dispatcher) = with_settings(&[("retention.bytes", "5000")]).await;
    for _ in 0..20 {
        dispatcher.send("t", vec![b'x'; 1000]).await.unwrap();
    }
    cluster.apply_retention();
    let left = cluster.records("t", 0);
    assert!((3..=5).contains(&left.len()) && left.last().unwrap().offset == 19, "{}", left.len());
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_at_the_cost_of_the_oldest() {
    const BOUND: usize = 200_000;
    let cluster = start(EmbeddedCluster::builder().topic("t", 2).max_memory(BOUND)).await;
    let dispatcher = connect(&cluster).await;
    for n in 0..1_000 {
        dispatcher.send("t", format!("{n:01000}")).partition(n % 2).await.unwrap();
        let bytes: usize = (0..2).flat_map(|p| cluster.records("t", p)).map(|r| r.value.unwrap().len()).sum();
        assert!(bytes <= BOUND, "B: {bytes} after {n}");
        assert!(n < 300 || bytes > BOUND / 2, "no more than needed goes: {bytes} after {n}");
    }
    let stands = cluster.partition("t", 0).unwrap();
    assert!(stands.log_start > 300 && stands.log_end == 500, "{stands:?}");
    let left = cluster.records("t", 0).len() + cluster.records("t", 1).len();
    assert_eq!(read(&dispatcher, "t", "g").await.len(), left);
}

#[tokio::test]
async fn no_topic_gets_more_partitions_than_kafka_makes_at_once() {
    let cluster = EmbeddedCluster::builder().in_memory().topic("t", 10_000).start().await.unwrap();
    for error in [
        cluster.create_topic("u", i32::MAX, &[]).unwrap_err(),
        cluster.create_topic("u", 10_001, &[]).unwrap_err(),
        cluster.add_partitions("t", i32::MAX).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("large number of partitions"), "{error}");
    }
    assert!(cluster.partition("u", 0).is_none() && cluster.partition("t", 10_000).is_none());
}

/// Whoever holds a topic's handle goes on with it, whatever another part of the program tried or did to the topic.
#[tokio::test(start_paused = true)]
async fn a_handle_outlives_a_removal_that_was_refused_and_one_after_which_the_topic_was_made_again() {
    let cluster = EmbeddedCluster::builder().brokers(1).seed(1).start().await.unwrap();
    let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).partitions(3).replicas(1);
    let dispatcher = builder.connect().await.unwrap();
    let orders = dispatcher.topic("orders").await.unwrap();
    orders.send("one").partition(0).await.unwrap();

    cluster.inject(Fault::on(Api::DeleteTopics).error(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    assert_eq!(dispatcher.remove_topics(["orders"]).await.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(orders.send("two").partition(0).await.unwrap().offset(), Some(1));

    dispatcher.remove_topics(["orders"]).await.unwrap();
    let waiting = orders.send("three").partition(0).enqueue().await.unwrap();
    dispatcher.create_topics(["orders"]).await.unwrap();
    assert_eq!(waiting.await.unwrap().offset(), Some(0));
    assert_eq!(orders.send("four").partition(0).await.unwrap().offset(), Some(1));
}
