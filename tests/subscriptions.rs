//! Subscriptions on the embedded cluster, in virtual time: several topics in one group, pauses, events, where to start.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{EmbeddedBuilder, EmbeddedCluster};
use dispatcher::{Dispatcher, Error, ErrorKind, Message, ResetTo, StartAt, Subscription, SubscriptionEvent};

const SECOND: Duration = Duration::from_secs(1);

/// Which member, or which topic's handler, has handled what, in order.
type Seen = Arc<Mutex<Vec<(&'static str, String)>>>;

async fn start(builder: EmbeddedBuilder) -> (EmbeddedCluster, Dispatcher) {
    let cluster = builder.seed(1).start().await.unwrap();
    let dispatcher = connect(&cluster).await;
    (cluster, dispatcher)
}

async fn connect(cluster: &EmbeddedCluster) -> Dispatcher {
    let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).create_topics(false);
    builder.metadata_max_age(5 * SECOND).connect().await.unwrap()
}

fn into(
    seen: &Seen,
    who: &'static str,
) -> impl Fn(String) -> std::future::Ready<Result<(), Error>> + Send + Sync + use<> {
    let seen = seen.clone();
    move |text| {
        seen.lock().unwrap().push((who, text));
        std::future::ready(Ok(()))
    }
}

async fn send(dispatcher: &Dispatcher, topic: &str, partition: i32, texts: std::ops::Range<usize>) {
    for n in texts {
        dispatcher.send(topic, format!("{topic}-{n}")).partition(partition).await.unwrap();
    }
}

fn of(seen: &Seen, who: &str) -> Vec<String> {
    seen.lock().unwrap().iter().filter(|(by, _)| *by == who).map(|(_, text)| text.clone()).collect()
}

fn texts(topic: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{topic}-{n}")).collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within two minutes");
}

#[tokio::test(start_paused = true)]
async fn several_topics_have_a_handler_each_and_another_member_takes_over() {
    let (cluster, dispatcher) = start(EmbeddedCluster::builder().topic("a", 2).topic("b", 2).topic("c", 1)).await;
    let seen = Seen::default();
    let member = async || {
        let (by, lengths) = (seen.clone(), into(&seen, "c"));
        let subscribe = dispatcher
            .subscribe("a", into(&seen, "a"))
            .and("b", move |message: Message| {
                let text = String::from_utf8(message.value().unwrap().to_vec()).unwrap();
                by.lock().unwrap().push(("b", text));
                async { Ok::<(), std::io::Error>(()) }
            })
            .and("c", move |bytes: Vec<u8>| lengths(format!("c-{}", bytes.len())));
        assert!(format!("{subscribe:?}").contains("a, b, c"));
        subscribe.group_exact("g").concurrency(4).start().await.unwrap()
    };
    let first = member().await;
    send(&dispatcher, "a", 1, 0..20).await;
    send(&dispatcher, "b", 0, 0..20).await;
    send(&dispatcher, "c", 0, 0..1).await;
    eventually("the first part", || seen.lock().unwrap().len() == 41).await;
    let second = member().await;
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(first.stop().await.unwrap().unfinished(), 0);
    send(&dispatcher, "a", 1, 20..40).await;
    send(&dispatcher, "b", 0, 20..40).await;
    eventually("the second part", || seen.lock().unwrap().len() == 81).await;
    second.stop().await.unwrap();
    // Without keys nothing is in order.
    let sorted = |who| {
        let mut all = of(&seen, who);
        all.sort_by_key(|text| text[2..].parse::<usize>().unwrap());
        all
    };
    assert_eq!((sorted("a"), sorted("b"), sorted("c")), (texts("a", 0..40), texts("b", 0..40), vec!["c-3".to_owned()]));
    assert_eq!((cluster.committed("g", "a", 1), cluster.committed("g", "b", 0)), (Some(40), Some(40)));
}

#[tokio::test(start_paused = true)]
async fn several_topics_need_an_exact_group_and_each_topic_once() {
    let (_cluster, dispatcher) = start(EmbeddedCluster::builder().topic("a", 1).topic("b", 1)).await;
    let seen = Seen::default();
    let both = || dispatcher.subscribe("a", into(&seen, "a")).and("b", into(&seen, "b"));
    for subscribe in [both(), both().group("g")] {
        let error = subscribe.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("group_exact"), "{error}");
    }
    let twice = both().and("a", into(&seen, "again")).group_exact("g").start().await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::InvalidConfig);
    let missing = dispatcher.subscribe("a", into(&seen, "a")).and("nowhere", into(&seen, "b")).group_exact("g");
    assert_eq!(missing.start().await.unwrap_err().kind(), ErrorKind::UnknownTopic);
}

async fn drain_events(subscription: &Subscription) -> Vec<SubscriptionEvent> {
    let (mut events, mut all) = (subscription.events(), Vec::new());
    while let Some(event) = events.next().await {
        all.push(event);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_paused_member_stays_in_its_group_and_goes_on_where_it_stopped() {
    let (cluster, dispatcher) = start(EmbeddedCluster::builder().topic("t", 4)).await;
    let seen = Seen::default();
    let member = async |who| dispatcher.subscribe("t", into(&seen, who)).group_exact("g").start().await.unwrap();
    let one = member("one").await;
    let watched = one.events();
    tokio::time::sleep(10 * SECOND).await;
    one.pause();
    let two = member("two").await;
    tokio::time::sleep(20 * SECOND).await;
    assert!(one.is_paused() && !two.is_paused());
    for partition in 0..4 {
        send(&dispatcher, "t", partition, 0..10).await;
    }
    tokio::time::sleep(300 * SECOND).await;
    assert_eq!((of(&seen, "one").len(), of(&seen, "two").len()), (0, 20), "heartbeats go on, so it keeps its half");
    one.resume();
    one.resume();
    eventually("the rest", || of(&seen, "one").len() == 20).await;
    two.stop().await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    one.pause();
    send(&dispatcher, "t", 3, 10..20).await;
    one.stop().await.unwrap();
    drop(watched);
    let all = drain_events(&one).await;
    let kinds: Vec<_> = all
        .iter()
        .filter_map(|event| match event {
            SubscriptionEvent::Assigned { partitions } => Some(format!("assigned {}", partitions.len())),
            SubscriptionEvent::Revoked { partitions } => Some(format!("revoked {}", partitions.len())),
            SubscriptionEvent::CaughtUp { .. } => None,
            other => Some(format!("{other:?}").to_lowercase()),
        })
        .collect();
    let expected = ["assigned 4", "paused", "revoked 4", "assigned 2", "resumed", "revoked 2", "assigned 4", "paused"];
    assert_eq!(kinds, [&expected[..], &["revoked 4"]].concat());
    let caught_up = all.iter().filter(|e| matches!(e, SubscriptionEvent::CaughtUp { .. })).count();
    assert!(caught_up >= 4 + 2 + 2 + 4, "{all:?}");
    let committed: i64 = (0..4).map(|p| cluster.committed("g", "t", p).unwrap()).sum();
    assert_eq!(committed, 40);
}

#[tokio::test(start_paused = true)]
async fn a_paused_subscription_full_of_messages_does_not_starve_another() {
    let cluster = EmbeddedCluster::builder().topic("t", 2).topic("u", 1).seed(1).start().await.unwrap();
    let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).create_topics(false);
    // Each answer has up to 1 MiB of a partition, and one that holds more than is left over gets no more.
    let dispatcher = builder.fetch_memory(8 << 20).batch_size(100_000).connect().await.unwrap();
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        move |_: Vec<u8>| {
            seen.lock().unwrap().push(("t", String::new()));
            async {
                tokio::time::sleep(SECOND).await;
                Ok::<(), Error>(())
            }
        }
    };
    // Twice the memory there is.
    let mut sent = Vec::new();
    for n in 0..3_200 {
        sent.push(dispatcher.send("t", vec![b'x'; 5_000]).partition(n % 2).enqueue().await.unwrap());
    }
    for delivery in sent {
        delivery.await.unwrap();
    }
    let full = dispatcher.subscribe("t", handler).group_exact("g").start().await.unwrap();
    eventually("the first message", || !seen.lock().unwrap().is_empty()).await;
    full.pause();
    let other = dispatcher.subscribe("u", into(&seen, "u")).group_exact("h").start().await.unwrap();
    for n in 0..200 {
        dispatcher.send("u", format!("{n:>20000}")).await.unwrap();
    }
    eventually("the other's messages", || of(&seen, "u").len() == 200).await;
    full.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_a_group_starts_is_by_policy_and_pinned() {
    let (cluster, dispatcher) = start(EmbeddedCluster::builder().topic("t", 1)).await;
    let seen = Seen::default();
    let now = std::time::Duration::from_millis(1_700_000_000_000);
    // One a minute, the last ten minutes; the cluster's clock begins at this time.
    for n in 0..10 {
        let time = now.as_millis() as i64 - (10 - n as i64) * 60_000;
        dispatcher.send("t", format!("t-{n}")).timestamp(time).await.unwrap();
    }
    let minute = |n: i64| StartAt::TimestampMs(now.as_millis() as i64 - n * 60_000);
    let cases: BTreeMap<&'static str, (StartAt, usize)> = [
        ("oldest", (StartAt::Oldest, 0)),
        ("newest", (StartAt::Newest, 10)),
        ("before the first", (minute(100), 0)),
        ("in between", (minute(4), 6)),
        ("after the last", (minute(0), 10)),
        ("ago", (StartAt::Ago(Duration::from_secs(4 * 60 + 59)), 6)),
    ]
    .into();
    for (group, (at, first)) in &cases {
        let subscribe = dispatcher.subscribe("t", into(&seen, group)).group_exact(*group).start_at(*at);
        subscribe.until_end().start().await.unwrap().join().await.unwrap();
        assert_eq!(of(&seen, group), texts("t", *first..10), "{group}");
        assert_eq!(cluster.committed(group, "t", 0), Some(10), "{group}: pinned, or what was handled");
    }
    // What is committed wins.
    send(&dispatcher, "t", 0, 10..11).await;
    let again = dispatcher.subscribe("t", into(&seen, "newest")).group_exact("newest").start_at(StartAt::Newest);
    again.until_end().start().await.unwrap().join().await.unwrap();
    assert_eq!(of(&seen, "newest"), texts("t", 10..11));

    let reset = dispatcher.reset_group("ago", "t", ResetTo::Ago(Duration::from_secs(2 * 60 + 59))).await.unwrap();
    assert_eq!(reset, [(0, 8)]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_added_later_is_read_from_its_beginning_though_only_new_messages_were_asked_for() {
    let (cluster, dispatcher) = start(EmbeddedCluster::builder().topic("t", 1)).await;
    let seen = Seen::default();
    send(&dispatcher, "t", 0, 0..5).await;
    let subscribe = dispatcher.subscribe("t", into(&seen, "all")).group_exact("g").skip_existing();
    let subscription = subscribe.start().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    cluster.add_partitions("t", 2).unwrap();
    // Another client knows of it at once and is quicker than the group.
    let quick = connect(&cluster).await;
    send(&quick, "t", 1, 5..10).await;
    eventually("the new partition's messages", || of(&seen, "all").len() == 5).await;
    send(&quick, "t", 0, 10..12).await;
    eventually("the old one's", || of(&seen, "all").len() == 7).await;
    assert_eq!(of(&seen, "all"), [texts("t", 5..10), texts("t", 10..12)].concat());
    subscription.stop().await.unwrap();
    assert_eq!((cluster.committed("g", "t", 0), cluster.committed("g", "t", 1)), (Some(7), Some(5)));
}

/// Bytes of a message that is worth a buffer of its own.
const LARGE: usize = 200_000;

async fn send_large(dispatcher: &Dispatcher, topic: &str, partitions: i32, messages: i32) {
    for n in 0..messages {
        dispatcher.send(topic, vec![b'x'; LARGE]).partition(n % partitions).await.unwrap();
    }
}

/// Far more than is read ahead of readers that have something to do.
#[tokio::test(start_paused = true)]
async fn who_keeps_messages_gets_more_of_them() {
    let (_cluster, dispatcher) = start(EmbeddedCluster::builder().topic("t", 2)).await;
    send_large(&dispatcher, "t", 2, 100).await;
    let kept: Arc<Mutex<Vec<Message>>> = Arc::default();
    let keeper = kept.clone();
    let keep = move |message: Message| {
        keeper.lock().unwrap().push(message);
        std::future::ready(Ok::<(), Error>(()))
    };
    let subscription = dispatcher.subscribe("t", keep).group_exact("g").start().await.unwrap();
    eventually("all of them", || kept.lock().unwrap().len() == 100).await;
    subscription.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handlers_that_never_end_do_not_stop_what_others_are_given() {
    let (_cluster, dispatcher) = start(EmbeddedCluster::builder().topic("stuck", 2).topic("t", 1)).await;
    send_large(&dispatcher, "stuck", 2, 100).await;
    let stuck = dispatcher
        .subscribe("stuck", async |_: Message| std::future::pending::<Result<(), Error>>().await)
        .group_exact("s")
        .stop_timeout(SECOND)
        .start()
        .await
        .unwrap();
    tokio::time::sleep(10 * SECOND).await;
    let seen = Seen::default();
    let counted = into(&seen, "t");
    let count = move |value: Vec<u8>| counted(value.len().to_string());
    let other = dispatcher.subscribe("t", count).group_exact("g").start().await.unwrap();
    send_large(&dispatcher, "t", 1, 100).await;
    eventually("the others' messages", || seen.lock().unwrap().len() == 100).await;
    other.stop().await.unwrap();
    stuck.stop().await.unwrap();
}
