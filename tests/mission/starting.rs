//! `Init` and its options.

#[cfg(feature = "cli")]
use std::process::Command;

use dispatcher::{Dispatcher, ErrorKind};
use dispatcher_testcontainers::Kafka;

use crate::common::{KAFKA_4, unique};
use crate::{SOON, Scene, Seen};

#[tokio::test(flavor = "multi_thread")]
async fn init_makes_values_not_globals() {
    let Some(scene) = Scene::or_skip("init").await else { return };
    let brokers = || scene.kafka.bootstrap().split(',');
    let [one, two] = ["one", "two"].map(|group| Dispatcher::builder(brokers()).default_group(group).partitions(3));
    let (one, two) = (one.connect().await.unwrap(), two.connect().await.unwrap());
    let (seen_by_one, seen_by_two) = (Seen::default(), Seen::default());
    let first = one.subscribe(&scene.topic, seen_by_one.handler()).start().await.unwrap();
    let second = two.subscribe(&scene.topic, seen_by_two.handler()).start().await.unwrap();
    assert_eq!(first.group_id(), format!("one:{}", scene.topic));
    assert_eq!(second.group_id(), format!("two:{}", scene.topic));
    scene.send(&["hello"]).await;
    seen_by_one.until(1).await;
    seen_by_two.until(1).await;
    first.stop().await.unwrap();
    one.close(SOON).await.unwrap();
    two.send(&scene.topic, "the other lives on").await.unwrap();
    seen_by_two.until(2).await;
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn init_without_a_cluster_is_an_error_within_its_limit() {
    let began = std::time::Instant::now();
    let limit = std::time::Duration::from_secs(2);
    let error = Dispatcher::builder(["127.0.0.1:1"]).connect_timeout(limit).connect().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1") && began.elapsed() < 2 * limit, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn init_set_kafka_config_topic_defaults() {
    let Some(scene) = Scene::or_skip("defaults").await else { return };
    let brokers = || scene.kafka.bootstrap().split(',');
    let (ours, go) = (&scene.topic, &unique("defaults-go"));
    let dispatcher = Dispatcher::builder(brokers()).connect().await.unwrap();
    dispatcher.send(ours, "made on first use").await.unwrap();
    let as_go = Dispatcher::builder(brokers()).go_topic_defaults().connect().await.unwrap();
    as_go.send(go, "made on first use").await.unwrap();
    for (topic, in_sync) in [(ours, 2), (go, 3)] {
        let args = ["--bootstrap-server", scene.kafka.bootstrap(), "--describe", "--topic", topic];
        let told = scene.kafka.tools().run("org.apache.kafka.tools.TopicCommand", &args).unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        for fact in ["PartitionCount: 10", "ReplicationFactor: 3", "max.message.bytes=20000000"] {
            assert!(told.contains(fact), "{fact}: {told}");
        }
        assert!(told.contains(&format!("min.insync.replicas={in_sync}")), "{told}");
    }
    // The size limit is on the message before compression, as Go's is.
    let large = vec![b'x'; 20_000_001];
    let error = dispatcher.send(ours, &large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    dispatcher.send(ours, &large[..19_900_000]).await.unwrap();
    dispatcher.remove_topics([ours]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn init_set_kafka_config_on_a_small_cluster_says_which_option_to_change() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let topic = unique("small");
    let connect = async |auto: bool| {
        let builder = Dispatcher::builder(kafka.bootstrap().split(','));
        if auto { builder.auto_topic_defaults().connect().await } else { builder.connect().await }.unwrap()
    };
    let dispatcher = connect(false).await;
    let error = dispatcher.send(&topic, "x").await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(text.contains(&topic) && text.contains("replicas") && text.contains("auto_topic_defaults"), "{text}");
    assert!(dispatcher.subscribe(&topic, Seen::default().handler()).start().await.is_err());
    connect(true).await.send(&topic, "x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn init_set_default_group_id() {
    let Some(scene) = Scene::or_skip("group").await else { return };
    let seen = Seen::default();
    let subscription = scene.dispatcher.subscribe(&scene.topic, seen.handler()).start().await.unwrap();
    let (hash, topic) = subscription.group_id().split_once(':').unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    assert_eq!(topic, scene.topic);
    scene.send(&["hello"]).await;
    seen.until(1).await;
    let listed = scene.dispatcher.groups().await.unwrap();
    assert!(listed.iter().any(|group| group.group() == subscription.group_id()));
    subscription.stop().await.unwrap();
    // A group that has its topic's name behind it already keeps it once.
    let named = format!("workers:{}", scene.topic);
    let brokers = scene.kafka.bootstrap().split(',');
    let dispatcher = Dispatcher::builder(brokers).default_group(&named).connect().await.unwrap();
    let subscription = dispatcher.subscribe(&scene.topic, seen.handler()).start().await.unwrap();
    assert_eq!(subscription.group_id(), named);
    subscription.stop().await.unwrap();
}

#[cfg(feature = "cli")]
#[tokio::test(flavor = "multi_thread")]
async fn init_set_log_level_and_enable_sarama_log() {
    let Some(scene) = Scene::or_skip("log").await else { return };
    let log = |how: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "starting::logging_process", "--nocapture", "--test-threads=1"]);
        let output =
            command.env_remove("RUST_LOG").env("LOGGING", format!("{how} {}", scene.kafka.bootstrap())).output();
        let output = output.unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(!log("info").contains("DEBUG"));
    // What the client does inside has a switch of its own.
    assert!(!log("debug").contains("dispatcher::net"));
    let inside = log("internals");
    assert!(inside.contains("DEBUG dispatcher::net") && inside.contains("connected"), "{inside}");
}

/// Not a test: a program that logs, when the one above asks for it.
#[cfg(feature = "cli")]
#[tokio::test(flavor = "multi_thread")]
async fn logging_process() {
    let Ok(of) = std::env::var("LOGGING") else { return };
    let (how, bootstrap) = of.split_once(' ').unwrap();
    match how {
        "info" => dispatcher::init_logging(tracing::Level::INFO),
        "debug" => dispatcher::init_logging(tracing::Level::DEBUG),
        _ => dispatcher::init_logging_with_internals(tracing::Level::DEBUG),
    }
    crate::dispatcher(bootstrap).await.topics().await.unwrap();
}
