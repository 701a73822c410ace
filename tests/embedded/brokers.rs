//! Brokers that stop, move and come back; leaders and coordinators that change; addresses; the end of a cluster.

use std::time::Duration;

use dispatcher::embedded::{EmbeddedCluster, KafkaVersion};
use dispatcher::{Dispatcher, ErrorKind};
use tokio::time::Instant;

use super::{Reader, connect, eventually, numbers, on, read, send, start, values, within};

const SECOND: Duration = Duration::from_secs(1);

async fn three() -> (EmbeddedCluster, Dispatcher) {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 1)).await;
    let dispatcher = connect(&cluster).await;
    (cluster, dispatcher)
}

#[tokio::test(start_paused = true)]
async fn clients_follow_a_leader_that_moves() {
    let (cluster, dispatcher) = three().await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    for round in 0..6 {
        send(&dispatcher, round * 10..round * 10 + 10).await;
        let before = cluster.partition("t", 0).unwrap();
        let to = before.leader.unwrap() % 3 + 1;
        assert!(cluster.move_leader("t", 0, to));
        assert!(!cluster.move_leader("t", 0, to), "it is there already");
        let after = cluster.partition("t", 0).unwrap();
        assert_eq!((after.leader, after.leader_epoch), (Some(to), before.leader_epoch + 1));
        assert_eq!(cluster.leader("t", 0), Some(to));
    }
    reader.until(60).await;
    assert_eq!(reader.stop().await, numbers(0..60));
    assert_eq!(values(&cluster, "t", 0), numbers(0..60));
    assert!(!cluster.move_leader("t", 0, 9) && !cluster.move_leader("nowhere", 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_is_replaced_and_comes_back() {
    let (cluster, dispatcher) = three().await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..5).await;
    let leader = cluster.leader("t", 0).unwrap();
    assert!(cluster.stop_broker(leader) && !cluster.stop_broker(leader));
    send(&dispatcher, 5..10).await;
    assert_ne!(cluster.leader("t", 0), Some(leader));
    cluster.start_broker(leader).await.unwrap();
    send(&dispatcher, 10..15).await;
    reader.until(15).await;
    assert_eq!(reader.stop().await, numbers(0..15));

    // With nobody left sends wait, and go through when somebody comes.
    (1..=3).for_each(|id| _ = cluster.stop_broker(id));
    assert_eq!(cluster.leader("t", 0), None);
    let delivery = dispatcher.send("t", "15").partition(0).enqueue().await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    (cluster.start_broker(2).await).unwrap();
    within("the delivery", delivery).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), numbers(0..16));
    let error = cluster.start_broker(7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[tokio::test]
async fn over_tcp_a_broker_stops_for_good_and_comes_back_at_its_address() {
    let cluster = EmbeddedCluster::builder().brokers(2).topic("t", 1).start().await.unwrap();
    let addresses = cluster.brokers();
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await.unwrap();
    for _ in 0..20 {
        let leader = cluster.leader("t", 0).unwrap();
        cluster.stop_broker(leader);
        // At once: its old listener must not be in the way.
        cluster.start_broker(leader).await.unwrap();
        dispatcher.send("t", "x").await.unwrap();
    }
    assert_eq!(cluster.brokers(), addresses);
    cluster.stop_broker(1);
    eventually("nobody listens", 5 * SECOND, || std::net::TcpStream::connect(&addresses[0]).is_err()).await;
    cluster.change_addresses().await.unwrap();
    let changed = cluster.brokers();
    assert!(changed[0] == addresses[0] && changed[1] != addresses[1], "{changed:?}: only of those that run");
    assert!(std::net::TcpStream::connect(&addresses[1]).is_err());
    Dispatcher::builder([&*changed[1]]).connect().await.unwrap().send("t", "x").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_recovers_when_all_addresses_change() {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 1)).await;
    // One of its seeds will be right again, as with a name that leads elsewhere.
    let later = cluster.brokers()[0].replace(":9092", ":10092");
    let seeds = [cluster.brokers(), vec![later.clone()]].concat();
    let dispatcher =
        Dispatcher::builder(seeds).network(&cluster.network()).create_topics(false).connect().await.unwrap();
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..1).await;
    reader.until(1).await;
    eventually("the commit", 10 * SECOND, || cluster.committed("g", "t", 0) == Some(1)).await;
    cluster.change_addresses().await.unwrap();
    assert!(cluster.brokers().contains(&later), "{:?}", cluster.brokers());
    // Known brokers are given up after 300 s (KIP-899).
    tokio::time::sleep(310 * SECOND).await;
    send(&dispatcher, 1..2).await;
    reader.until(2).await;
    assert_eq!(reader.stop().await, numbers(0..2));
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_cut_are_made_again() {
    let (cluster, dispatcher) = three().await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    for n in 0..10 {
        cluster.cut_connections(if n % 2 == 0 { None } else { cluster.leader("t", 0) });
        send(&dispatcher, n..n + 1).await;
    }
    reader.until(10).await;
    assert_eq!(reader.stop().await, numbers(0..10));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_follows_its_coordinator() {
    let (cluster, dispatcher) = three().await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    let mut sent = 0;
    for _ in 0..4 {
        send(&dispatcher, sent..sent + 3).await;
        sent += 3;
        reader.until(sent).await;
        let to = cluster.coordinator("g").unwrap() % 3 + 1;
        assert!(cluster.move_coordinator("g", to));
        assert_eq!(cluster.coordinator("g"), Some(to));
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(cluster.committed("g", "t", 0), Some(sent as i64));
        assert_eq!(cluster.group_state("g"), Some("Stable"));
    }
    cluster.stop_broker(cluster.coordinator("g").unwrap());
    send(&dispatcher, sent..sent + 3).await;
    reader.until(sent + 3).await;
    eventually("the commit", 60 * SECOND, || cluster.committed("g", "t", 0) == Some(sent as i64 + 3)).await;
    assert_eq!(reader.stop().await, numbers(0..sent + 3), "nobody else was there: nothing comes twice");
    assert!(!cluster.move_coordinator("g", 9));
    assert_eq!(cluster.group_state("unheard of"), None);
}

#[tokio::test(start_paused = true)]
async fn older_releases_serve_the_whole_way_of_a_message() {
    for version in [KafkaVersion::V2_1, KafkaVersion::V2_8, KafkaVersion::V3_9, KafkaVersion::V4_2] {
        let cluster = start(EmbeddedCluster::builder().brokers(3).kafka_version(version)).await;
        let dispatcher = on(&cluster).create_topics(true).connect().await.unwrap();
        dispatcher.topic("t").await.unwrap();
        assert_eq!(dispatcher.describe_topic("t").await.unwrap().replicas(), 3, "{version}");
        send(&dispatcher, 0..10).await;
        assert_eq!(read(&dispatcher, "t", "g").await, numbers(0..10), "{version}");
        let status = dispatcher.consume_status_exact("t", "g").await.unwrap();
        assert_eq!((status.total_lag(), status.state()), (0, Some("Empty")), "{version}");
        assert_eq!(cluster.committed("g", "t", 0), Some(10), "{version}");
    }
}

#[tokio::test]
async fn clusters_in_one_process_know_nothing_of_each_other() {
    let (one, two) = tokio::try_join!(
        EmbeddedCluster::builder().topic("t", 1).start(),
        EmbeddedCluster::builder().topic("t", 1).start()
    )
    .unwrap();
    let to_one = Dispatcher::builder(one.brokers()).connect().await.unwrap();
    let to_two = Dispatcher::builder(two.brokers()).connect().await.unwrap();
    to_one.send("t", "one").await.unwrap();
    to_two.send("t", "two").await.unwrap();
    assert_eq!((values(&one, "t", 0), values(&two, "t", 0)), (vec!["one".to_owned()], vec!["two".to_owned()]));
    drop(one);
    to_two.send("t", "three").await.unwrap();
}

#[tokio::test]
async fn a_cluster_on_tcp_has_a_network_in_memory_too() {
    let cluster = EmbeddedCluster::builder().topic("t", 1).start().await.unwrap();
    let by_tcp = Dispatcher::builder(cluster.brokers()).connect().await.unwrap();
    let in_memory = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).connect().await.unwrap();
    by_tcp.send("t", "0").await.unwrap();
    in_memory.send("t", "1").await.unwrap();
    assert_eq!(read(&by_tcp, "t", "g").await, numbers(0..2));
    assert_eq!(cluster.bootstrap(), cluster.brokers().join(","));
}

#[tokio::test(start_paused = true)]
async fn without_a_seed_time_can_be_virtual_too() {
    let cluster = EmbeddedCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
    let dispatcher = connect(&cluster).await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    let started = std::time::Instant::now();
    tokio::time::sleep(600 * SECOND).await;
    send(&dispatcher, 0..3).await;
    reader.until(3).await;
    reader.stop().await;
    assert_eq!(cluster.committed("g", "t", 0), Some(3));
    assert!(started.elapsed() < 30 * SECOND);
    // Nobody listens on TCP.
    assert_eq!(cluster.bootstrap(), "embedded:9092");
}

#[tokio::test]
async fn over_tcp_too_everything_ends_when_the_cluster_is_gone() {
    let cluster = EmbeddedCluster::builder().topic("t", 1).start().await.unwrap();
    let dispatcher = Dispatcher::builder(cluster.brokers())
        .create_topics(false)
        .delivery_timeout(SECOND)
        .request_timeout(SECOND / 2)
        .connect()
        .await
        .unwrap();
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..1).await;
    reader.until(1).await;
    drop(cluster);
    let started = Instant::now();
    let error = dispatcher.send("t", "x").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotWritten | ErrorKind::MaybeWritten), "{error}");
    assert!(dispatcher.consume_status_exact("t", "g").await.is_err());
    drop(reader);
    let _closed = dispatcher.close(SECOND).await;
    assert!(started.elapsed() < 10 * SECOND, "{:?}", started.elapsed());
}

#[tokio::test]
async fn another_cluster_can_follow_on_the_same_port_at_once() {
    let cluster = EmbeddedCluster::builder().topic("t", 1).start().await.unwrap();
    let address = cluster.brokers().remove(0);
    let dispatcher = Dispatcher::builder([&address]).create_topics(false).connect().await.unwrap();
    send(&dispatcher, 0..1).await;
    drop(cluster);
    let cluster = EmbeddedCluster::builder().topic("t", 1).listen(&address).start().await.unwrap();
    assert_eq!(cluster.bootstrap(), address);
    let error = EmbeddedCluster::builder().listen(&address).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn addresses_can_be_of_ip_version_6_and_ports_need_not_be_named_in_memory() {
    let cluster = EmbeddedCluster::builder().brokers(2).listen("somewhere:0").in_memory().start().await.unwrap();
    assert_eq!(cluster.brokers(), ["somewhere:9092", "somewhere:9093"]);
    let Ok(cluster) = EmbeddedCluster::builder().topic("t", 1).listen("[::1]:0").start().await else { return };
    assert!(cluster.bootstrap().starts_with("[::1]:"), "{cluster:?}");
    let dispatcher = Dispatcher::builder(cluster.brokers()).create_topics(false).connect().await.unwrap();
    send(&dispatcher, 0..1).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_cluster_is_gone_everything_ends_within_its_limit() {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 1)).await;
    let dispatcher = on(&cluster).delivery_timeout(20 * SECOND).request_timeout(5 * SECOND).connect().await.unwrap();
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..1).await;
    reader.until(1).await;
    drop(cluster);
    let started = Instant::now();
    let error = within("send()", async { dispatcher.send("t", "x").await }).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotWritten | ErrorKind::MaybeWritten), "{error}");
    assert!(started.elapsed() <= 21 * SECOND, "{:?}", started.elapsed());
    let error = within("a status", dispatcher.consume_status_exact("t", "g")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Connection), "{error}");
    let _ended = within("stop()", reader.subscription.stop()).await;
    let _closed = within("close()", dispatcher.close(10 * SECOND)).await;
    assert!(started.elapsed() < 180 * SECOND, "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_last_handle_ends_the_cluster() {
    let cluster = EmbeddedCluster::builder().start().await.unwrap();
    let address = cluster.bootstrap();
    let clone = cluster.clone();
    drop(cluster);
    assert!(std::net::TcpStream::connect(&address).is_ok());
    drop(clone);
    eventually("nobody listens", 5 * SECOND, || std::net::TcpStream::connect(&address).is_err()).await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_what_to_do() {
    let builder = EmbeddedCluster::builder;
    for (builder, says) in [
        (builder().brokers(0), "1 to 100"),
        (builder().topic("a b", 1), "a b"),
        (builder().topic("t", 0), "partitions"),
        (builder().topic("t", 1).topic("t", 1), "exists"),
        (builder().topic_with("t", 1, 2, &[]), "eplication"),
        (builder().topic_with("t", 1, 1, &[("cleanup.polizy", "compact")]), "cleanup.polizy"),
        (builder().topic_with("t", 1, 1, &[("retention.ms", "soon")]), "soon"),
        (builder().listen("here"), "host:port"),
        (builder().data_dir("/dev/null/x"), "/dev/null/x"),
    ] {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = builder().listen(&address).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains(&address), "{error}");
}
