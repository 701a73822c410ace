//! `Subscribe`, `SubscribeWithRetry`, `SubscribeMessage` and their options.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dispatcher::{Dispatcher, Error, ErrorKind, Json, Message, Order};
use dispatcher_testcontainers::Kafka;
use tokio::sync::Semaphore;

use crate::common::{KAFKA_4, eventually, unique, within};
use crate::{SOON, Scene, Seen, text};

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_errors_and_stop() {
    let Some(scene) = Scene::or_skip("subscribe").await else { return };
    let seen = Seen::default();
    let subscription = scene.dispatcher.subscribe(&scene.topic, seen.handler()).group("g").start().await.unwrap();
    let mut errors = subscription.errors();
    scene.send(&["one"]).await;
    let bad = scene.dispatcher.send(&scene.topic, "a bad one").await.unwrap();
    scene.send(&["three"]).await;
    let failure = within(SOON, "the failure", errors.next()).await.unwrap();
    assert_eq!((failure.topic(), failure.partition()), (Some(&*scene.topic), Some(bad.partition())));
    assert_eq!(failure.offset(), bad.offset());
    assert!(std::error::Error::source(failure.error()).unwrap().to_string().contains("no beans"));
    seen.until(3).await;
    assert_eq!(subscription.stop().await.unwrap().unfinished(), 0);
    assert!(subscription.is_ended() && errors.next().await.is_none(), "errors end with the subscription");
    scene.send(&["after the stop"]).await;
    assert_eq!(seen.sorted(), ["a bad one", "one", "three"]);
    // All is committed, the failed one too, and the group is left.
    let status = scene.dispatcher.consume_status(&scene.topic, "g").await.unwrap();
    assert_eq!((status.total_lag(), status.members().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_message_and_its_variants() {
    let Some(scene) = Scene::or_skip("variants").await else { return };
    let report = scene.dispatcher.send(&scene.topic, "[1,2]").key("k").header("h", "v").await.unwrap();
    let seen = Seen::default();
    let push = |text: String| {
        seen.push(text);
        std::future::ready(Ok::<(), Error>(()))
    };
    macro_rules! takes {
        ($group:literal, $pattern:pat => $type:ty, $shown:expr) => {{
            let seen = seen.clone();
            let handler = move |$pattern: $type| {
                seen.push(format!("{} {}", $group, $shown));
                std::future::ready(Ok::<(), Error>(()))
            };
            let subscribe = scene.dispatcher.subscribe(&scene.topic, handler).group($group).count(1);
            within(SOON, $group, subscribe.start().await.unwrap().join()).await.unwrap();
        }};
    }
    takes!("bytes", bytes => Bytes, bytes.len());
    takes!("json", Json(numbers) => Json<Vec<u32>>, numbers.iter().sum::<u32>());
    takes!("message", message => Message, {
        let place = (message.partition(), Some(message.offset()), message.id().map(|id| id.into_owned()));
        assert_eq!(place, (report.partition(), report.offset(), report.id().map(str::to_owned)));
        assert_eq!((message.key(), message.header("h")), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert!(message.timestamp() > 0 && message.attempt() == 1);
        text(&message)
    });
    takes!("string", string => String, string);
    takes!("tuple", (string, message) => (String, Message), format!("{string} at {}", message.offset()));
    takes!("vector", vector => Vec<u8>, vector.len());
    push("done".into()).await.unwrap();
    let expected = ["bytes 5", "json 3", "message [1,2]", "string [1,2]", "tuple [1,2] at 0", "vector 5", "done"];
    assert_eq!(seen.all(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_set_group_id() {
    let Some(scene) = Scene::or_skip("groups").await else { return };
    let (shared, alone) = (Seen::default(), Seen::default());
    let mut members = Vec::new();
    for (group, seen) in [("shared", &shared), ("shared", &shared), ("alone", &alone)] {
        // Go refused the same topic and group twice in a process.
        members.push(scene.dispatcher.subscribe(&scene.topic, seen.handler()).group(group).start().await.unwrap());
    }
    assert_eq!(members[0].group_id(), format!("shared:{}", scene.topic));
    let texts: Vec<_> = (0..60).map(|n| format!("{n:02}")).collect();
    for text in &texts {
        scene.dispatcher.send(&scene.topic, text).key(text).await.unwrap();
    }
    shared.until(60).await;
    alone.until(60).await;
    for member in members {
        member.stop().await.unwrap();
    }
    assert_eq!(shared.sorted(), texts, "each message once in a group, whoever handles it");
    assert_eq!(alone.sorted(), texts, "and in every group");
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_set_async_num_is_concurrency() {
    const HANDLERS: usize = 24;
    let Some(scene) = Scene::or_skip("concurrency").await else { return };
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let (now, highest, wait) = (running.clone(), most.clone(), gate.clone());
    let handler = move |_: Bytes| {
        let (now, highest, wait) = (now.clone(), highest.clone(), wait.clone());
        async move {
            highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let passed = wait.acquire().await.map(|permit| permit.forget());
            now.fetch_sub(1, Ordering::SeqCst);
            passed
        }
    };
    let subscribe = scene.dispatcher.subscribe(&scene.topic, handler).group("g").concurrency(HANDLERS);
    let subscription = subscribe.start().await.unwrap();
    for n in 0..3 * HANDLERS {
        scene.dispatcher.send(&scene.topic, "x").key(format!("key-{n}")).await.unwrap();
    }
    // More than there are partitions, and no more than asked for.
    eventually("all run", SOON, async || running.load(Ordering::SeqCst) == HANDLERS).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(most.load(Ordering::SeqCst), HANDLERS);
    // In the Go library the highest finished one was committed; here nothing is before all below it is.
    let committed = async || {
        let status = scene.dispatcher.consume_status(&scene.topic, "g").await.unwrap();
        status.partitions().iter().filter_map(|p| p.committed()).sum::<i64>()
    };
    assert_eq!(committed().await, 0);
    gate.add_permits(3 * HANDLERS);
    eventually("all committed", SOON, async || committed().await == 3 * HANDLERS as i64).await;
    subscription.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_by_key_with_concurrency() {
    let Some(scene) = Scene::or_skip("by-key").await else { return };
    let seen = Seen::default();
    let notes = seen.clone();
    let handler = move |message: Message| {
        let notes = notes.clone();
        async move {
            let text = text(&message);
            notes.push(format!("{text} begins"));
            tokio::time::sleep(Duration::from_millis(2)).await;
            notes.push(format!("{text} ends"));
            Ok::<(), Error>(())
        }
    };
    let subscribe = scene.dispatcher.subscribe(&scene.topic, handler).group("g").concurrency(16).order(Order::Key);
    let subscription = subscribe.start().await.unwrap();
    let mut expected = Vec::new();
    for n in 0..100 {
        let key = format!("k{}", n % 10);
        let text = format!("{key} {n:03}");
        scene.dispatcher.send(&scene.topic, &text).key(&key).await.unwrap();
        expected.extend([format!("{text} begins"), format!("{text} ends")]);
    }
    seen.until(200).await;
    for key in (0..10).map(|n| format!("k{n} ")) {
        let of = |all: &[String]| all.iter().filter(|line| line.starts_with(&key)).cloned().collect::<Vec<_>>();
        assert_eq!(of(&seen.all()), of(&expected), "handlers of one key neither overlap nor swap");
    }
    subscription.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_omit_old_msg_is_skip_existing() {
    let Some(scene) = Scene::or_skip("skip").await else { return };
    scene.send(&["old 1", "old 2"]).await;
    let seen = Seen::default();
    let start = async |seen: &Seen| {
        let subscribe = scene.dispatcher.subscribe(&scene.topic, seen.handler()).group("g").skip_existing();
        let subscription = subscribe.start().await.unwrap();
        eventually("a share", SOON, async || {
            let status = scene.dispatcher.consume_status(&scene.topic, "g").await.unwrap();
            status.partitions().iter().all(|p| p.committed().is_some())
        })
        .await;
        subscription
    };
    start(&seen).await.stop().await.unwrap();
    // A group that has its place goes on there; in the Go library these were lost.
    scene.send(&["between 1", "between 2"]).await;
    let subscription = start(&seen).await;
    scene.send(&["new"]).await;
    seen.until(3).await;
    subscription.stop().await.unwrap();
    assert_eq!(seen.sorted(), ["between 1", "between 2", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_not_commit_on_error_is_hold_on_error() {
    let Some(scene) = Scene::or_skip("hold").await else { return };
    let send = async |text: &str| scene.dispatcher.send(&scene.topic, text).partition(0).await.unwrap();
    for text in ["one", "bad", "three"] {
        send(text).await;
    }
    let seen = Seen::default();
    let subscribe = || scene.dispatcher.subscribe(&scene.topic, seen.handler()).group("g").hold_on_error();
    let subscription = subscribe().start().await.unwrap();
    seen.until(3).await;
    subscription.stop().await.unwrap();
    let status = scene.dispatcher.consume_status(&scene.topic, "g").await.unwrap();
    assert_eq!(status.partitions()[0].committed(), Some(1), "no later message passes the failed one");
    // After a restart the failed one comes again, and the finished ones do not.
    let subscription = subscribe().start().await.unwrap();
    send("four").await;
    seen.until(5).await;
    subscription.stop().await.unwrap();
    assert_eq!(seen.all(), ["one", "bad", "three", "bad", "four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_stop_on_callback_error() {
    let Some(scene) = Scene::or_skip("stop").await else { return };
    for text in ["one", "bad", "three"] {
        scene.dispatcher.send(&scene.topic, text).partition(0).await.unwrap();
    }
    let seen = Seen::default();
    let subscribe = scene.dispatcher.subscribe(&scene.topic, seen.handler()).group("g").stop_on_error();
    let subscription = subscribe.start().await.unwrap();
    let error = within(SOON, "the end", subscription.join()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert_eq!(seen.all(), ["one", "bad"]);
    // In the Go library it was committed past the failed one.
    let status = scene.dispatcher.consume_status(&scene.topic, "g").await.unwrap();
    assert_eq!(status.partitions()[0].committed(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_with_retry_is_resubscribe() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).start_or_skip() else { return };
    let topic = unique("again");
    Dispatcher::builder([kafka.bootstrap()]).replicas(1).connect().await.unwrap().topic(&topic).await.unwrap();
    kafka.broker(0).stop();
    let dispatcher = |limit| {
        let builder = Dispatcher::builder([kafka.bootstrap()]).replicas(1).request_timeout(Duration::from_secs(limit));
        builder.connect_timeout(Duration::from_secs(1)).connect_lazily().unwrap()
    };
    let (hasty, calm) = (dispatcher(1), dispatcher(5));
    let (seen, counts) = (Seen::default(), Seen::default());
    let subscribe = |dispatcher: &Dispatcher, limit| {
        let counts = counts.clone();
        let backoff = move |count| {
            counts.push(format!("{limit}:{count}"));
            Duration::from_millis(50)
        };
        dispatcher.subscribe(&topic, seen.handler()).group("g").resubscribe(limit, backoff).start().unwrap()
    };
    // At the limit it ends with the last error.
    let limited = subscribe(&hasty, 3);
    let error = within(SOON, "the limit", limited.join()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout), "{error}");
    assert_eq!(counts.all(), ["3:1", "3:2"]);

    // Below it goes on until the cluster is there.
    let kept = subscribe(&calm, 1_000);
    assert_eq!(kept.group_id(), format!("g:{topic}"));
    let failure = within(SOON, "a failed try", kept.errors().next()).await.unwrap();
    assert_eq!(failure.offset(), None, "of no message");
    tokio::task::block_in_place(|| kafka.broker(0).restart());
    let patient = Dispatcher::builder([kafka.bootstrap()]).connect().await.unwrap();
    patient.send(&topic, "hello").await.unwrap();
    seen.until(1).await;
    // And through an outage.
    kafka.broker(0).pause();
    tokio::time::sleep(Duration::from_secs(3)).await;
    kafka.broker(0).resume();
    patient.send(&topic, "again").await.unwrap();
    seen.until(2).await;
    assert_eq!(seen.all(), ["hello", "again"]);
    assert!(within(SOON, "stop()", kept.stop()).await.unwrap().is_some());
}
