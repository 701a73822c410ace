//! `Send` and its options.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dispatcher::{CallbackError, Envelope, ErrorKind, Outcome};

use crate::common::{eventually, tools};
use crate::{SOON, Scene, Seen};

#[tokio::test(flavor = "multi_thread")]
async fn send_resolves_when_the_message_is_in_the_log() {
    let Some(scene) = Scene::or_skip("send").await else { return };
    let report = scene.dispatcher.send(&scene.topic, "one espresso").key("table-4").await.unwrap();
    let stored = tools::read_back(scene.kafka.tools(), scene.kafka.bootstrap(), &scene.topic);
    let found = (stored[0].partition, Some(stored[0].offset), &*stored[0].key, &*stored[0].value);
    assert_eq!(found, (report.partition(), report.offset(), "table-4", "one espresso"));
    assert_eq!(stored.len(), 1);
}

/// In the Go library they got each other's acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn send_of_many_at_once_gives_each_its_own_outcome() {
    let Some(scene) = Scene::or_skip("sends").await else { return };
    let large = vec![b'x'; 20_000_001];
    let sends = (0..8).map(async |sender| {
        for n in 0..60 {
            let text = format!("{sender}-{n}");
            let outcome = if n % 4 == 3 {
                scene.dispatcher.send(&scene.topic, &large).await
            } else {
                scene.dispatcher.send(&scene.topic, &text).await
            };
            match outcome {
                Ok(_) => assert_ne!(n % 4, 3),
                Err(error) => assert_eq!((error.kind(), n % 4), (ErrorKind::MessageTooLarge, 3)),
            }
        }
    });
    futures_util::future::join_all(sends).await;
    let status = scene.dispatcher.topic_status(&scene.topic).await.unwrap();
    assert_eq!(status.partitions().iter().map(|p| p.log_end()).sum::<i64>(), 8 * 45);
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_ensure_order() {
    let Some(scene) = Scene::or_skip("order").await else { return };
    let seen = Seen::default();
    let subscribe = scene.dispatcher.subscribe(&scene.topic, seen.handler()).concurrency(32);
    let subscription = subscribe.start().await.unwrap();
    let mut partitions = BTreeSet::new();
    for n in 0..50 {
        let text = format!("{n:02}");
        partitions.insert(scene.dispatcher.send(&scene.topic, text).ensure_order().await.unwrap().partition());
    }
    assert_eq!(partitions.len(), 1);
    seen.until(50).await;
    assert!(seen.all().is_sorted());
    subscription.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_set_message_key_wins_over_ensure_order() {
    let Some(scene) = Scene::or_skip("key").await else { return };
    let send = || scene.dispatcher.send(&scene.topic, "x");
    let mut of_keys = BTreeSet::new();
    for n in 0..20 {
        let report = send().key(format!("key-{n}")).ensure_order().await.unwrap();
        let again = send().ensure_order().key(format!("key-{n}")).await.unwrap();
        assert_eq!(report.partition(), again.partition());
        of_keys.insert(report.partition());
    }
    assert_eq!(of_keys.len(), 3, "keys spread");
    send().ensure_order().await.unwrap();
    let stored = tools::read_back(scene.kafka.tools(), scene.kafka.bootstrap(), &scene.topic);
    let keys: BTreeSet<_> = stored.into_iter().map(|record| record.key).collect();
    assert_eq!(keys.len(), 21);
    assert!(keys.contains(&scene.topic), "ensure_order's key is the topic's name");
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_add_err_handler_is_watch_errors() {
    let Some(scene) = Scene::or_skip("watch").await else { return };
    let consumer = scene.dispatcher.subscribe(&scene.topic, Seen::default().handler()).group("kitchen");
    let subscription = consumer.start().await.unwrap();
    let told = Seen::default();
    let watcher = |name: &'static str| {
        let told = told.clone();
        move |failure: CallbackError| {
            let value = String::from_utf8_lossy(failure.value().unwrap_or_default()).into_owned();
            told.push(format!("{name}: {value}: {}: {}", failure.group(), failure.error()));
            std::future::ready(())
        }
    };
    // Each send has a handler of its own; in the Go library the first one got all.
    for (text, envelope) in [("bad 1", Envelope::Headers), ("fine", Envelope::Headers), ("bad 2", Envelope::GoJson)] {
        scene.dispatcher.send(&scene.topic, text).envelope(envelope).watch_errors(watcher(text)).await.unwrap();
    }
    told.until(2).await;
    let line = |text: &str| format!("{text}: {text}: kitchen:{}: no beans", scene.topic);
    assert_eq!(told.sorted(), [line("bad 1"), line("bad 2")]);
    subscription.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_collect_reply_message_is_receipt() {
    let Some(scene) = Scene::or_skip("receipt").await else { return };
    let send = |text: &'static str| scene.dispatcher.send(&scene.topic, text);
    let slow = async |text: String| {
        tokio::time::sleep(Duration::from_millis(if text == "slow" { 500 } else { 0 })).await;
        if text == "bad" { Err(std::io::Error::other("no beans")) } else { Ok(()) }
    };
    let subscription = scene.dispatcher.subscribe(&scene.topic, slow).group("kitchen").start().await.unwrap();
    for envelope in [Envelope::Headers, Envelope::GoJson] {
        let mut pending = send("slow").envelope(envelope).receipt(SOON).enqueue().await.unwrap();
        let report = pending.acknowledged().await.unwrap();
        let receipt = pending.receipts().await.unwrap().remove(0);
        assert_eq!((receipt.group(), receipt.outcome()), (&*format!("kitchen:{}", scene.topic), &Outcome::Ok));
        assert_eq!(Some(receipt.id()), report.id());
        assert_eq!((receipt.partition(), Some(receipt.offset())), (report.partition(), report.offset()));
        let (sent, received, handled) = (receipt.sent_ms(), receipt.received_ms(), receipt.handled_ms().unwrap());
        assert!(handled - received >= 490, "it is sent when the handler has ended");
        assert!([sent, received, handled, receipt.receipt_ms()].is_sorted(), "{receipt:?}");
        let failed = send("bad").envelope(envelope).receipt(SOON).await.unwrap();
        assert_eq!(failed.outcome(), &Outcome::Failed("no beans".into()));
    }
    subscription.stop().await.unwrap();

    // Nobody handles any more.
    let (began, limit) = (Instant::now(), Duration::from_millis(1_500));
    let error = send("late").receipt(limit).await.unwrap_err();
    let took = began.elapsed();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains(&scene.topic), "{error}");
    // The machine that tests run on may be busy.
    assert!(took >= limit && took < limit + Duration::from_millis(500), "{took:?}");
    // The time-out spoils nothing for those who come later.
    let subscription = scene.dispatcher.subscribe(&scene.topic, slow).group("kitchen").start().await.unwrap();
    assert_eq!(send("after").receipt(SOON).await.unwrap().outcome(), &Outcome::Ok);
    subscription.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_collect_reply_message_of_several_groups_is_receipts() {
    let Some(scene) = Scene::or_skip("receipts").await else { return };
    let mut subscriptions = Vec::new();
    for group in ["kitchen", "till"] {
        let subscribe = scene.dispatcher.subscribe(&scene.topic, Seen::default().handler()).group(group);
        subscriptions.push(subscribe.start().await.unwrap());
    }
    let receipts = scene.dispatcher.send(&scene.topic, "one").receipts(2, SOON).await.unwrap();
    let groups: BTreeSet<_> = receipts.iter().map(|receipt| receipt.group().split(':').next().unwrap()).collect();
    assert_eq!(groups, BTreeSet::from(["kitchen", "till"]));
    for subscription in subscriptions {
        subscription.stop().await.unwrap();
    }
    // Both have committed what they answered.
    for group in ["kitchen", "till"] {
        eventually("no lag", SOON, async || {
            scene.dispatcher.consume_status(&scene.topic, group).await.unwrap().total_lag() == 0
        })
        .await;
    }
}
