//! Receipts and errors while something is slow, gone, or never ends: in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault, Network};
use dispatcher::{
    Builder, CallbackError, Dispatcher, Envelope, Error, ErrorKind, Message, OnFailure, Outcome, Receipt, RetryPolicy,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::{SOON, handle};

const SECOND: Duration = Duration::from_secs(1);
/// What a wait may take beyond its time.
const SLACK: Duration = Duration::from_millis(50);

async fn cluster() -> EmbeddedCluster {
    EmbeddedCluster::builder().brokers(3).topic("orders", 6).seed(1).start().await.unwrap()
}

fn builder(cluster: &EmbeddedCluster, network: &Network) -> Builder {
    Dispatcher::builder(cluster.brokers()).network(network)
}

async fn dispatcher(cluster: &EmbeddedCluster) -> Dispatcher {
    builder(cluster, &cluster.network()).connect().await.unwrap()
}

/// Fails in time, and not before; says how.
async fn late(limit: Duration, receipts: impl Future<Output = Result<Vec<Receipt>, Error>>) -> (ErrorKind, String) {
    let began = Instant::now();
    let error = receipts.await.unwrap_err();
    let took = began.elapsed();
    assert!(took >= limit && took <= limit + SLACK, "{took:?} instead of {limit:?}: {error}");
    (error.kind(), error.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_receipts_ends_in_time_whatever_is_slow_and_says_what_is_known() {
    let cluster = cluster().await;
    let limit = 2 * SECOND;
    let send = |dispatcher: &Dispatcher, groups| {
        let dispatcher = dispatcher.clone();
        late(limit, async move { dispatcher.send("orders", "x").partition(0).receipts(groups, limit).await })
    };
    let stored = || cluster.records("orders", 0).len();

    let nobody = Fault::on_any().always().silence();
    cluster.inject(nobody.clone());
    let lazy = builder(&cluster, &cluster.network()).connect_lazily().unwrap();
    let (kind, text) = send(&lazy, 1).await;
    assert_eq!(kind, ErrorKind::NotWritten);
    assert!(text.contains("orders") && text.contains("2s") && text.contains("looking for its topic"), "{text}");
    cluster.clear_faults();
    cluster.cut_connections(None);

    let ours = dispatcher(&cluster).await;
    ours.send("orders", "known").partition(0).await.unwrap();
    cluster.inject(Fault::on(Api::CreateTopics).always().delay(5 * SECOND));
    let (kind, text) = send(&ours, 1).await;
    assert_eq!(kind, ErrorKind::NotWritten);
    assert!(text.contains("the topic of what comes back"), "{text}");
    // What was begun is finished for those who come later.
    tokio::time::sleep(4 * SECOND).await;
    let (kind, text) = send(&ours, 1).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(text.contains("orders-0 at offset 1") && text.contains("no receipt"), "{text}");
    let (kind, text) = send(&ours, 3).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(text.contains("0 of 3 receipts") && text.contains("orders-0 at offset 2"), "{text}");
    assert_eq!(stored(), 3);
    cluster.clear_faults();

    cluster.pause_replication("orders", 0);
    let (kind, text) = send(&ours, 1).await;
    assert_eq!(kind, ErrorKind::MaybeWritten);
    assert!(text.contains("not acknowledged"), "{text}");
    cluster.resume_replication("orders", 0);

    let narrow = builder(&cluster, &cluster.network()).buffer_memory(8_192).max_message_size(8_000);
    let narrow = narrow.connect().await.unwrap();
    let _ = send(&narrow, 1).await;
    cluster.pause_replication("orders", 0);
    let filling = narrow.send("orders", "x".repeat(7_500)).partition(0).enqueue().await.unwrap();
    let big = "x".repeat(1_000);
    let waiting = narrow.send("orders", &big).partition(0).receipts(2, limit);
    let (kind, text) = late(limit, async { waiting.await }).await;
    assert_eq!(kind, ErrorKind::NotWritten);
    assert!(text.contains("room in the buffer"), "{text}");
    cluster.resume_replication("orders", 0);
    filling.await.unwrap();
    tokio::time::sleep(SECOND).await;
    // Those of which it was said, and the one that might be.
    assert_eq!(stored(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_came_tells_that_its_message_is_written_though_its_acknowledgement_is_lost() {
    let cluster = cluster().await;
    let ours = dispatcher(&cluster).await;
    let kitchen = ours.subscribe("orders", handle).group("kitchen").start().await.unwrap();
    let theirs = dispatcher(&cluster).await;
    let _ = theirs.send("orders", "known").partition(0).receipt(SOON).await.unwrap();
    cluster.inject(Fault::on(Api::Produce).delay_after(30 * SECOND));
    let limit = 3 * SECOND;
    let (kind, text) = late(limit, async { theirs.send("orders", "x").partition(0).receipts(2, limit).await }).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(text.contains("1 of 2 receipts") && text.contains("orders-0 at offset 1"), "{text}");
    kitchen.stop().await.unwrap();
}

/// A consumer of `orders` in a process of its own, whose handlers wait for a permit each.
async fn gated(cluster: &EmbeddedCluster, network: &Network, gate: &Arc<Semaphore>) -> dispatcher::Subscription {
    let gate = gate.clone();
    let dispatcher = builder(cluster, network).session_timeout(6 * SECOND).connect().await.unwrap();
    let handler = move |message: Message| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            handle(message).await
        }
    };
    let subscribe = dispatcher.subscribe("orders", handler).group("kitchen").commit_interval(SECOND / 10);
    subscribe.concurrency(64).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_answered_though_the_consumer_is_killed() {
    for envelope in [Envelope::Headers, Envelope::GoJson] {
        let cluster = cluster().await;
        let (ours, gate) = (dispatcher(&cluster).await, Arc::new(Semaphore::new(0)));
        let told = Arc::new(AtomicUsize::new(0));
        let watch = {
            let told = told.clone();
            move |_: CallbackError| {
                told.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            }
        };
        let process = cluster.network().process();
        let first = gated(&cluster, &process, &gate).await;
        let mut pending = Vec::new();
        for text in ["good", "bad", "good"] {
            let message = ours.send("orders", text).partition(0).envelope(envelope).watch_errors(watch.clone());
            pending.push(message.receipt(6 * SOON).enqueue().await.unwrap());
        }
        for pending in &mut pending {
            pending.acknowledged().await.unwrap();
        }
        // The answers cannot be written; all else can.
        for topic in ["orders_Reply", "orders_ERR"] {
            (0..10).for_each(|partition| cluster.pause_replication(topic, partition));
        }
        gate.add_permits(3);
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(cluster.committed("kitchen:orders", "orders", 0).unwrap_or_default(), 0, "not answered yet");
        // What was not replicated is lost with its leader.
        process.kill();
        drop(first);
        for topic in ["orders_Reply", "orders_ERR"] {
            for partition in 0..10 {
                let leader = cluster.leader(topic, partition).unwrap();
                let other = (1..=3).find(|id| *id != leader).unwrap();
                cluster.move_leader(topic, partition, other);
                cluster.resume_replication(topic, partition);
            }
        }
        gate.add_permits(3);
        let second = gated(&cluster, &cluster.network(), &gate).await;
        for (pending, bad) in pending.into_iter().zip([false, true, false]) {
            let receipts = pending.receipts().await.unwrap();
            assert_eq!(matches!(receipts[0].outcome(), Outcome::Failed(_)), bad);
        }
        tokio::time::sleep(SECOND).await;
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert_eq!(cluster.committed("kitchen:orders", "orders", 0), Some(3));
        second.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_delivered_is_reported_and_holds_its_partition_for_ten_seconds_only() {
    let cluster = cluster().await;
    let (ours, theirs) = (dispatcher(&cluster).await, dispatcher(&cluster).await);
    let kitchen = theirs.subscribe("orders", handle).group("kitchen").commit_interval(SECOND / 10);
    let kitchen = kitchen.start().await.unwrap();
    let mut errors = kitchen.errors();
    let _ = ours.send("orders", "known").partition(0).receipt(SOON).await.unwrap();
    (0..10).for_each(|partition| cluster.pause_replication("orders_Reply", partition));
    let committed = || cluster.committed("kitchen:orders", "orders", 0);
    let mut pending = ours.send("orders", "x").partition(0).receipt(6 * SOON).enqueue().await.unwrap();
    pending.acknowledged().await.unwrap();
    // Those who ask for nothing are handled meanwhile.
    ours.send("orders", "y").partition(0).await.unwrap();
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(committed(), Some(1));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(committed(), Some(3));
    let text = errors.next().await.unwrap().error().to_string();
    assert!(
        text.contains("a receipt for") && text.contains("orders_Reply did not acknowledge it within 10s"),
        "{text}"
    );
    // It may still come.
    (0..10).for_each(|partition| cluster.resume_replication("orders_Reply", partition));
    assert_eq!(pending.receipts().await.unwrap().len(), 1);
    kitchen.stop().await.unwrap();
}

/// Both forms: one receipt, of the last attempt, for the topic that the message was sent to; and nobody who reads the dead
/// letter is asked for anything.
#[tokio::test(start_paused = true)]
async fn a_retried_message_is_answered_once_at_its_end_and_its_dead_letter_asks_for_nothing() {
    for envelope in [Envelope::Headers, Envelope::GoJson] {
        let cluster = cluster().await;
        let ours = dispatcher(&cluster).await;
        let policy = RetryPolicy::new(2).backoff(SECOND, SECOND).through_topics([3 * SECOND]).dead_letter("dead");
        let kitchen = ours.subscribe("orders", handle).group("kitchen").on_failure(OnFailure::Retry(policy));
        let kitchen = kitchen.start().await.unwrap();
        let letters = Arc::new(Mutex::new(Vec::new()));
        let read = letters.clone();
        let graves = ours.subscribe("dead", move |letter: Message| {
            read.lock().unwrap().push((letter.id().unwrap().into_owned(), letter.value().unwrap().to_vec()));
            async { Err("nobody can handle that") }
        });
        let graves = graves.group("graves").start().await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let watch = {
            let told = told.clone();
            move |failure: CallbackError| {
                told.lock().unwrap().push((failure.topic().to_owned(), failure.group().to_owned()));
                std::future::ready(())
            }
        };
        let message = ours.send("orders", "a bad one").partition(2).envelope(envelope).watch_errors(watch);
        let mut pending = message.receipts(2, SOON).enqueue().await.unwrap();
        let report = pending.acknowledged().await.unwrap();
        let late = pending.receipts().await.unwrap_err().to_string();
        assert!(late.contains("1 of 2 receipts") && late.contains("(kitchen:orders)"), "{late}");
        assert_eq!(*told.lock().unwrap(), [("orders".to_owned(), "kitchen:orders".to_owned())]);
        let letter = (report.id().unwrap().to_owned(), b"a bad one".to_vec());
        assert_eq!(*letters.lock().unwrap(), [letter]);
        for topic in ["dead_Reply", "dead_ERR"] {
            assert_eq!(cluster.leader(topic, 0), None, "{topic} is not even made");
        }
        let receipt =
            ours.send("orders", "another bad one").partition(2).envelope(envelope).receipt(SOON).await.unwrap();
        assert_eq!((receipt.topic(), receipt.partition()), ("orders", 2));
        assert!(Some(receipt.offset()) > report.offset());
        assert!(receipt.handled_ms().unwrap() - receipt.sent_ms() >= 4_600, "after the last attempt");
        kitchen.stop().await.unwrap();
        graves.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn many_failures_at_once_ask_once_for_the_topic_that_they_need() {
    let cluster = cluster().await;
    let ours = dispatcher(&cluster).await;
    let kitchen = ours.subscribe("orders", handle).group("kitchen").concurrency(64).publish_errors(true);
    let kitchen = kitchen.start().await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    cluster.observe(move |request| {
        count.fetch_add(usize::from(request.api == Api::CreateTopics), Ordering::Relaxed);
    });
    cluster.inject(Fault::on(Api::CreateTopics).always().delay(SECOND));
    let theirs = dispatcher(&cluster).await;
    let topic = theirs.topic("orders").await.unwrap();
    let mut sent = Vec::new();
    for n in 0..64 {
        sent.push(topic.send(format!("bad {n}")).enqueue().await.unwrap());
    }
    for sent in sent {
        sent.await.unwrap();
    }
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((0..12).map(|partition| cluster.records("orders_ERR", partition).len()).sum::<usize>(), 64);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    kitchen.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn watchers_that_never_end_cost_themselves_only() {
    /// Counts the handlers that were dropped.
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let cluster = cluster().await;
    let ours = dispatcher(&cluster).await;
    let kitchen = ours.subscribe("orders", handle).group("kitchen").start().await.unwrap();
    let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let hang = {
        let (begun, dropped) = (begun.clone(), dropped.clone());
        move |_: CallbackError| {
            begun.fetch_add(1, Ordering::Relaxed);
            let dropped = Dropped(dropped.clone());
            async move {
                let _dropped = dropped;
                std::future::pending().await
            }
        }
    };
    for _ in 0..300 {
        ours.send("orders", "bad").partition(0).watch_errors(hang.clone()).await.unwrap();
    }
    let (told, hears) = tokio::sync::oneshot::channel();
    let told = Mutex::new(Some(told));
    let tell = move |failure: CallbackError| {
        let _ = told.lock().unwrap().take().unwrap().send(failure);
        std::future::ready(())
    };
    let began = Instant::now();
    ours.send("orders", "bad").partition(0).watch_errors(tell).await.unwrap();
    // Five times 64 places come free after a second each.
    tokio::time::timeout(SOON, hears).await.unwrap().unwrap();
    assert!(began.elapsed() < 6 * SECOND, "{:?}", began.elapsed());
    let counts = || (begun.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed));
    assert_eq!(counts(), (300, 0));
    tokio::time::sleep(61 * SECOND).await;
    assert_eq!(counts(), (300, 300));
    // More than may go on beside the others: the oldest give way.
    for _ in 0..1_300 {
        drop(ours.send("orders", "bad").partition(0).watch_errors(hang.clone()).enqueue().await.unwrap());
    }
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(counts(), (1_600, 600));
    kitchen.stop().await.unwrap();
}

/// Each gets its own, whichever comes first.
#[tokio::test(start_paused = true)]
async fn ten_thousand_wait_at_once_and_those_without_an_answer_are_told_in_time() {
    let cluster = cluster().await;
    let (ours, theirs) = (dispatcher(&cluster).await, dispatcher(&cluster).await);
    let kitchen = theirs.subscribe("orders", handle).group("kitchen").concurrency(64).start().await.unwrap();
    let topic = ours.topic("orders").await.unwrap();
    let _ = topic.send("known").receipt(SOON).await.unwrap();
    let limit = 5 * SECOND;
    let mut pending = Vec::new();
    for n in 0..10_000 {
        pending.push((n, topic.send(format!("{n}")).receipts(1 + n % 2, limit).enqueue().await.unwrap()));
    }
    let began = Instant::now();
    for (n, pending) in pending {
        let id = pending.id().to_owned();
        match pending.receipts().await {
            Ok(receipts) => assert_eq!((n % 2, receipts.len(), receipts[0].id()), (0, 1, &*id)),
            Err(error) => {
                assert_eq!((n % 2, error.kind()), (1, ErrorKind::Timeout));
                assert!(began.elapsed() <= limit + SLACK, "{:?}", began.elapsed());
            }
        }
    }
    kitchen.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_receipt_of_a_message_that_is_known_to_have_failed_is_waited_for() {
    let cluster = cluster().await;
    let ours = dispatcher(&cluster).await;
    ours.send("orders", "known").partition(0).await.unwrap();
    cluster.inject(Fault::on(Api::Produce).error(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let mut pending = ours.send("orders", "x").partition(0).receipt(SOON).enqueue().await.unwrap();
    let failed = pending.acknowledged().await.unwrap_err();
    assert_ne!(failed.kind(), ErrorKind::MaybeWritten);
    let began = Instant::now();
    let error = pending.receipts().await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (failed.kind(), failed.to_string()));
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_reply_topic_that_acknowledges_nothing_and_no_message_comes_again() {
    let cluster = cluster().await;
    let (ours, theirs) = (dispatcher(&cluster).await, dispatcher(&cluster).await);
    let kitchen = theirs.subscribe("orders", handle).group("kitchen").start().await.unwrap();
    let _ = ours.send("orders", "known").partition(0).receipt(SOON).await.unwrap();
    (0..10).for_each(|partition| cluster.pause_replication("orders_Reply", partition));
    let mut pending = ours.send("orders", "x").partition(0).receipt(6 * SOON).enqueue().await.unwrap();
    pending.acknowledged().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let began = Instant::now();
    kitchen.stop().await.unwrap();
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
    assert_eq!(cluster.committed("kitchen:orders", "orders", 0), Some(2));
    // It is on its way all the same.
    (0..10).for_each(|partition| cluster.resume_replication("orders_Reply", partition));
    assert_eq!(pending.receipts().await.unwrap().len(), 1);
}
