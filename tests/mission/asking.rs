//! `GetConsumeStatusByGroupID` with its relatives, and `RemoveTopics`; more of the former is in `monitor_kafka.rs`.

use std::time::Duration;

use dispatcher::ErrorKind;

use crate::common::{eventually, tools};
use crate::{SOON, Scene, Seen};

#[tokio::test(flavor = "multi_thread")]
async fn get_consume_status_by_group_id() {
    let Some(scene) = Scene::or_skip("status").await else { return };
    let lag = async || {
        let status = scene.dispatcher.consume_status(&scene.topic, "g").await.unwrap();
        assert_eq!(status.group(), Some(&*format!("g:{}", scene.topic)));
        status.total_lag()
    };
    for n in 0..6 {
        scene.dispatcher.send(&scene.topic, "x").partition(n % 3).await.unwrap();
    }
    assert_eq!(lag().await, 6, "nothing is committed yet");
    let seen = Seen::default();
    let subscription = scene.dispatcher.subscribe(&scene.topic, seen.handler()).group("g").start().await.unwrap();
    eventually("no lag", SOON, async || lag().await == 0).await;
    subscription.stop().await.unwrap();
    scene.send(&["seven", "eight", "nine"]).await;
    assert_eq!(lag().await, 3);
    let group = format!("g:{}", scene.topic);
    let theirs = tools::describe_group(scene.kafka.tools(), scene.kafka.bootstrap(), &group);
    assert_eq!(theirs.iter().filter_map(|line| line.lag).sum::<i64>(), 3, "Kafka's own tool: {theirs:?}");
    let error = scene.dispatcher.consume_status("no-such-topic", "g").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
}

/// The Go library stored the handler and never called it.
#[tokio::test(flavor = "multi_thread")]
async fn consumer_monitor_lag_count_is_monitor_lag() {
    let Some(scene) = Scene::or_skip("lag").await else { return };
    let (seen, told) = (Seen::default(), Seen::default());
    let lags = told.clone();
    let monitor = move |status: dispatcher::ConsumeStatus| {
        lags.push(format!("{} {}", status.group().unwrap(), status.total_lag()));
        std::future::ready(())
    };
    let subscribe = scene.dispatcher.subscribe(&scene.topic, seen.handler()).group("g");
    let subscription = subscribe.monitor_lag(Duration::from_secs(1), monitor).start().await.unwrap();
    subscription.pause();
    for n in 0..6 {
        scene.dispatcher.send(&scene.topic, "x").partition(n % 3).await.unwrap();
    }
    let last = |lag| told.all().last() == Some(&format!("g:{} {lag}", scene.topic));
    eventually("what waits", SOON, async || last(6)).await;
    subscription.resume();
    eventually("all is handled", SOON, async || last(0)).await;
    subscription.stop().await.unwrap();
}

#[cfg(feature = "cli")]
#[tokio::test(flavor = "multi_thread")]
async fn init_set_monitor_host() {
    use std::io::BufRead as _;
    use std::process::{Command, Stdio};

    use dispatcher::{Dispatcher, StatusSource};

    let Some(scene) = Scene::or_skip("host").await else { return };
    scene.send(&["one"]).await;
    let subscribe = scene.dispatcher.subscribe(&scene.topic, Seen::default().handler()).group("g");
    subscribe.until_end().start().await.unwrap().join().await.unwrap();
    scene.send(&["two", "three"]).await;
    let mut monitor = Command::new(env!("CARGO_BIN_EXE_dispatcher"))
        .args(["-b", scene.kafka.bootstrap(), "monitor", "--listen", "127.0.0.1:0", "--interval", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut host = String::new();
    std::io::BufReader::new(monitor.stdout.take().unwrap()).read_line(&mut host).unwrap();
    let builder = Dispatcher::builder(scene.kafka.bootstrap().split(',')).monitor_host(host.trim());
    let dispatcher = builder.connect().await.unwrap();
    eventually("the monitor's word", SOON, async || {
        let told = dispatcher.consume_status(&scene.topic, "g").await;
        told.is_ok_and(|status| (status.source(), status.total_lag()) == (StatusSource::MonitorHost, 2))
    })
    .await;
    monitor.kill().unwrap();
    monitor.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn remove_topics() {
    let Some(scene) = Scene::or_skip("remove").await else { return };
    let other = format!("{}-2", scene.topic);
    scene.send(&["one"]).await;
    scene.dispatcher.send(&other, "one").await.unwrap();
    scene.dispatcher.remove_topics([&scene.topic, &other]).await.unwrap();
    eventually("both are gone", SOON, async || {
        let topics = scene.dispatcher.topics().await.unwrap();
        !topics.iter().any(|topic| topic.name().starts_with(&scene.topic))
    })
    .await;
    // The Go library did not look at the answer.
    let error = scene.dispatcher.remove_topics([&scene.topic]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    // Made anew on the next use.
    scene.send(&["two"]).await;
    assert_eq!(scene.dispatcher.topic_status(&scene.topic).await.unwrap().partitions().len(), 3);
}
