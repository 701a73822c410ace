//! What comes back to a sender: receipts and callback errors, in both envelopes. Needs nothing but Rust.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod trouble;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{CallbackError, Dispatcher, Envelope, ErrorKind, Message, OnFailure, Outcome, Subscription};

const SOON: Duration = Duration::from_secs(20);

async fn cluster() -> EmbeddedCluster {
    EmbeddedCluster::builder().brokers(3).topic("orders", 6).start().await.unwrap()
}

async fn dispatcher(cluster: &EmbeddedCluster) -> Dispatcher {
    Dispatcher::builder(cluster.brokers()).connect().await.unwrap()
}

/// Fails for payloads with `bad` in them, panics for those with `panic`, and takes its time for those with `slow`.
async fn handle(message: Message) -> Result<(), std::io::Error> {
    let text = String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned();
    if text.contains("slow") {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(!text.contains("panic"), "a handler that panics");
    if text.contains("bad") { Err(std::io::Error::other("no beans")) } else { Ok(()) }
}

async fn consumer(dispatcher: &Dispatcher, group: &str) -> Subscription {
    dispatcher.subscribe("orders", handle).group(group).concurrency(32).start().await.unwrap()
}

#[tokio::test]
async fn a_receipt_says_which_group_has_handled_what_and_when() {
    let cluster = cluster().await;
    let (sender, receiver) = (dispatcher(&cluster).await, dispatcher(&cluster).await);
    let kitchen = consumer(&receiver, "kitchen").await;
    let receipt = sender.send("orders", "one espresso").key("table-4").receipt(SOON).await.unwrap();
    assert_eq!((receipt.topic(), receipt.group(), receipt.outcome()), ("orders", "kitchen:orders", &Outcome::Ok));
    let times = [receipt.sent_ms(), receipt.received_ms(), receipt.handled_ms().unwrap(), receipt.receipt_ms()];
    assert!(times.is_sorted() && times[0] > 1_700_000_000_000, "{times:?}");
    let found = cluster.records("orders", receipt.partition());
    assert!(found.iter().any(|record| record.offset == receipt.offset()));

    let failed = sender.send("orders", "a bad one").receipt(SOON).await.unwrap();
    assert_eq!(failed.outcome(), &Outcome::Failed("no beans".into()));
    let slow = sender.send("orders", "a slow one").receipt(SOON).await.unwrap();
    assert!(slow.handled_ms().unwrap() - slow.received_ms() >= 290, "sent after the handler has ended");
    kitchen.stop().await.unwrap();
}

#[tokio::test]
async fn a_panicking_handler_is_answered_with_an_error_and_the_consumer_goes_on() {
    let cluster = cluster().await;
    let dispatcher = dispatcher(&cluster).await;
    let hold = dispatcher.subscribe("orders", handle).group("kitchen").on_failure(OnFailure::Hold);
    let kitchen = hold.start().await.unwrap();
    let watched = Arc::new(Mutex::new(Vec::new()));
    let watch = {
        let watched = watched.clone();
        move |failure: CallbackError| {
            watched.lock().unwrap().push(failure.error().to_owned());
            std::future::ready(())
        }
    };
    let first = dispatcher.send("orders", "panic").partition(0).watch_errors(watch).receipt(SOON).await.unwrap();
    let Outcome::Failed(error) = first.outcome() else { panic!("{first:?}") };
    assert!(error.contains("a handler that panics"), "{error}");
    let second = dispatcher.send("orders", "fine").partition(0).receipt(SOON).await.unwrap();
    assert_eq!(second.outcome(), &Outcome::Ok);
    until(|| watched.lock().unwrap().len() == 1).await;
    kitchen.stop().await.unwrap();
    assert!(cluster.committed("kitchen:orders", "orders", 0).is_none_or(|committed| committed <= first.offset()));
}

#[tokio::test]
async fn several_groups_answer_and_a_timeout_says_what_is_known() {
    let cluster = cluster().await;
    let dispatcher = dispatcher(&cluster).await;
    let (kitchen, till) = (consumer(&dispatcher, "kitchen").await, consumer(&dispatcher, "till").await);
    let receipts = dispatcher.send("orders", "one").receipts(2, SOON).await.unwrap();
    let groups: BTreeSet<_> = receipts.iter().map(|r| r.group().to_owned()).collect();
    assert_eq!(groups, BTreeSet::from(["kitchen:orders".into(), "till:orders".into()]));
    till.stop().await.unwrap();

    // To the millisecond it is looked at in virtual time, in `trouble.rs`: other programs run beside this one.
    let (began, limit) = (Instant::now(), Duration::from_millis(700));
    let error = dispatcher.send("orders", "two").partition(3).receipts(2, limit).await.unwrap_err();
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = error.to_string();
    assert!(text.contains("1 of 2 receipts") && text.contains("kitchen:orders") && text.contains("orders-3"), "{text}");
    kitchen.stop().await.unwrap();
}

/// Dispatchers of one host under one group: nobody gets another's receipts, whoever handles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_senders_get_exactly_their_own_receipts_while_a_consumer_dies() {
    const EACH: usize = 2_000;
    let cluster = cluster().await;
    let consumers = dispatcher(&cluster).await;
    let members = [consumer(&consumers, "shared").await, consumer(&consumers, "shared").await];
    let dying = consumer(&consumers, "shared").await;
    let send = |name: &'static str| {
        let brokers = cluster.brokers();
        tokio::spawn(async move {
            let dispatcher = Dispatcher::builder(brokers).connect().await.unwrap();
            let mut pending = Vec::with_capacity(EACH);
            for i in 0..EACH {
                let what = if i % 10 == 0 { "bad" } else { "good" };
                let message = dispatcher.topic("orders").await.unwrap();
                pending.push((what, message.send(format!("{name} {i} {what}")).receipt(SOON).enqueue().await.unwrap()));
            }
            let mut ids = BTreeSet::new();
            for (what, pending) in pending {
                let id = pending.id().to_owned();
                let receipts = pending.receipts().await.unwrap();
                assert_eq!(receipts.len(), 1);
                assert_eq!(receipts[0].id(), id);
                assert_eq!(matches!(receipts[0].outcome(), Outcome::Failed(_)), what == "bad");
                assert!(ids.insert(id), "twice");
            }
            ids.len()
        })
    };
    let senders = [send("a"), send("b")];
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(dying);
    for sender in senders {
        assert_eq!(sender.await.unwrap(), EACH);
    }
    for member in members {
        member.stop().await.unwrap();
    }
}

#[tokio::test]
async fn in_the_go_envelope_too() {
    let cluster = cluster().await;
    let (sender, receiver) = (dispatcher(&cluster).await, dispatcher(&cluster).await);
    let kitchen = consumer(&receiver, "kitchen").await;
    let failures = Arc::new(Mutex::new(Vec::new()));
    let watch = {
        let failures = failures.clone();
        move |failure: CallbackError| {
            let value = String::from_utf8_lossy(failure.value().unwrap_or_default()).into_owned();
            failures.lock().unwrap().push((value, failure.group().to_owned(), failure.error().to_owned()));
            std::future::ready(())
        }
    };
    let message = sender.send("orders", "a bad one").key("k").envelope(Envelope::GoJson).watch_errors(watch);
    let receipt = message.receipt(SOON).await.unwrap();
    assert_eq!((receipt.group(), receipt.outcome()), ("kitchen:orders", &Outcome::Failed("no beans".into())));
    assert!(receipt.handled_ms().is_some());
    until(|| !failures.lock().unwrap().is_empty()).await;
    let expected = ("a bad one".to_owned(), "kitchen:orders".to_owned(), "no beans".to_owned());
    assert_eq!(*failures.lock().unwrap(), [expected]);
    kitchen.stop().await.unwrap();
}

/// One reader for each form would tell it twice.
#[tokio::test]
async fn a_failure_is_told_once_where_both_envelopes_are_in_use() {
    let cluster = cluster().await;
    let dispatcher = dispatcher(&cluster).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let watch = || {
        let told = told.clone();
        move |failure: CallbackError| {
            told.lock().unwrap().push(String::from_utf8_lossy(failure.value().unwrap_or_default()).into_owned());
            std::future::ready(())
        }
    };
    let mut expected = Vec::new();
    for n in 0..20 {
        let (text, envelope) = (format!("bad {n:02}"), [Envelope::Headers, Envelope::GoJson][n % 2]);
        dispatcher.send("orders", &text).envelope(envelope).watch_errors(watch()).await.unwrap();
        expected.push(text);
    }
    let kitchen = consumer(&dispatcher, "kitchen").await;
    until(|| told.lock().unwrap().len() >= 20).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut told = told.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, expected);
    kitchen.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_sees_the_failures_of_a_topic() {
    let cluster = cluster().await;
    let dispatcher = dispatcher(&cluster).await;
    let mut stream = dispatcher.callback_errors("orders").await.unwrap();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let desk = dispatcher
        .subscribe("orders_ERR", move |failure: CallbackError| {
            let sent = told.send(failure).map_err(|_| std::io::Error::other("nobody hears"));
            std::future::ready(sent)
        })
        .group("desk")
        .start()
        .await
        .unwrap();
    let subscribe = dispatcher.subscribe("orders", handle).group("kitchen").publish_errors(true);
    let kitchen = subscribe.start().await.unwrap();
    let report = dispatcher.send("orders", "a bad one").key("k").header("trace", "7").await.unwrap();
    for failure in [stream.next().await, hears.recv().await.unwrap()] {
        assert_eq!(
            (failure.topic(), failure.partition(), Some(failure.offset())),
            ("orders", report.partition(), report.offset())
        );
        assert_eq!((failure.error(), failure.group(), failure.attempt()), ("no beans", "kitchen:orders", 1));
        assert_eq!((failure.key(), failure.value()), (Some(&b"k"[..]), Some(&b"a bad one"[..])));
        assert_eq!(failure.headers().collect::<Vec<_>>(), [(&b"trace"[..], Some(&b"7"[..]))]);
        assert_eq!(Some(failure.id()), report.id());
    }
    kitchen.stop().await.unwrap();
    desk.stop().await.unwrap();
}

/// In virtual time: a failure of each of the topic's partitions, told by a consumer that knows the helper topic as it is.
async fn fail_everywhere(cluster: &EmbeddedCluster, round: &str) -> BTreeSet<String> {
    let dispatcher = virtually(cluster).await;
    let subscribe = dispatcher.subscribe("orders", handle).group("kitchen").publish_errors(true);
    let kitchen = subscribe.start().await.unwrap();
    let mut sent = BTreeSet::new();
    for partition in 0..6 {
        let text = format!("bad {round} {partition}");
        dispatcher.send("orders", &text).partition(partition).await.unwrap();
        sent.insert(text);
    }
    let error = async |errors: &mut dispatcher::Errors| errors.next().await.unwrap();
    let mut errors = kitchen.errors();
    for _ in 0..6 {
        error(&mut errors).await;
    }
    kitchen.stop().await.unwrap();
    sent
}

async fn virtually(cluster: &EmbeddedCluster) -> Dispatcher {
    let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network());
    builder.metadata_max_age(Duration::from_secs(10)).connect().await.unwrap()
}

/// Whoever waits gives up and waits again all the time: nothing is lost by that either.
async fn told(stream: &mut dispatcher::CallbackErrors, count: usize) -> BTreeSet<String> {
    let (began, mut told) = (tokio::time::Instant::now(), BTreeSet::new());
    while told.len() < count {
        assert!(began.elapsed() < 6 * SOON, "{told:?}");
        let Ok(failure) = tokio::time::timeout(Duration::from_millis(7), stream.next()).await else { continue };
        let text = String::from_utf8_lossy(failure.value().unwrap()).into_owned();
        assert!(told.insert(text), "told twice");
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_helper_topic_that_grows_shrinks_or_is_made_again_is_followed_and_nothing_is_missed() {
    let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 6).seed(5).start().await.unwrap();
    cluster.create_topic("orders_ERR", 2, &[]).unwrap();
    let dispatcher = virtually(&cluster).await;
    let mut stream = dispatcher.callback_errors("orders").await.unwrap();
    let sent = fail_everywhere(&cluster, "at first").await;
    assert_eq!(told(&mut stream, 6).await, sent);

    cluster.add_partitions("orders_ERR", 6).unwrap();
    let sent = fail_everywhere(&cluster, "grown").await;
    assert!((0..6).all(|p| !cluster.records("orders_ERR", p).is_empty()));
    assert_eq!(told(&mut stream, 6).await, sent);

    // Fewer, the same number, more.
    for (round, count) in ["shrunk", "again", "larger"].into_iter().zip([2, 2, 6]) {
        assert!(cluster.delete_topic("orders_ERR"));
        let quiet = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        cluster.create_topic("orders_ERR", count, &[]).unwrap();
        let sent = fail_everywhere(&cluster, round).await;
        assert_eq!(told(&mut stream, 6).await, sent, "{round}");
    }
    let quiet = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn receipts_come_whatever_becomes_of_the_reply_topic() {
    let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 6).seed(5).start().await.unwrap();
    cluster.create_topic("orders_Reply", 6, &[]).unwrap();
    let sender = virtually(&cluster).await;
    // This one is not started anew: it follows too.
    let living = virtually(&cluster).await;
    let counter = consumer(&living, "counter").await;
    for (round, count) in ["as it was", "made again", "shrunk", "larger"].into_iter().zip([6, 6, 1, 12]) {
        if round != "as it was" {
            assert!(cluster.delete_topic("orders_Reply"));
            cluster.create_topic("orders_Reply", count, &[]).unwrap();
        }
        let receiver = virtually(&cluster).await;
        let kitchen = consumer(&receiver, "kitchen").await;
        for n in 0..6 {
            let sent = sender.send("orders", format!("{round} {n}")).partition(n).receipts(2, 2 * SOON);
            let receipts = sent.await.unwrap_or_else(|e| panic!("{round} {n}: {e}"));
            assert!(receipts.iter().all(|receipt| receipt.outcome() == &Outcome::Ok), "{receipts:?}");
        }
        kitchen.stop().await.unwrap();
    }
    counter.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_helper_topic_that_is_gone_costs_next_to_nothing() {
    let cluster = EmbeddedCluster::builder().brokers(1).topic("orders", 6).seed(5).start().await.unwrap();
    cluster.create_topic("orders_ERR", 6, &[]).unwrap();
    let dispatcher = virtually(&cluster).await;
    let mut stream = dispatcher.callback_errors("orders").await.unwrap();
    cluster.delete_topic("orders_ERR");
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    cluster.observe(move |_| *count.lock().unwrap() += 1);
    let quiet = tokio::time::timeout(Duration::from_secs(600), stream.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let asked = *asked.lock().unwrap();
    println!("{asked} requests");
    assert!(asked < 5 * 600, "{asked} requests in ten minutes");
}

#[tokio::test]
async fn what_cannot_come_back_is_refused_before_anything_is_sent() {
    let cluster = cluster().await;
    let dispatcher = dispatcher(&cluster).await;
    let raw = dispatcher.send("orders", "x").envelope(Envelope::Raw).receipt(SOON).await.unwrap_err();
    assert_eq!(raw.kind(), ErrorKind::InvalidArgument);
    let of_nobody = dispatcher.send("orders", "x").receipts(0, SOON).await.unwrap_err();
    assert_eq!(of_nobody.kind(), ErrorKind::InvalidArgument);
    let long = "x".repeat(249);
    cluster.create_topic(&long, 1, &[]).unwrap();
    let error = dispatcher.send(&long, "x").receipt(SOON).await.unwrap_err();
    assert!(error.to_string().contains("shorter topic name"), "{error}");
    assert!((0..6).all(|p| cluster.records("orders", p).is_empty()));
}

async fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < SOON, "it does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
