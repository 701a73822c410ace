//! Messages that fail, on the embedded cluster and in virtual time: attempts in place, retry topics with delays, dead
//! letters, and what their headers tell.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault};
use dispatcher::{Dispatcher, Error, ErrorKind, Message, OnFailure, RetryPolicy, Subscription};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Each call of a handler: the message's text, its attempt, the topic it was read from, and when.
type Calls = Arc<Mutex<Vec<(String, u32, String, Duration)>>>;

async fn start() -> (EmbeddedCluster, Dispatcher) {
    let cluster = EmbeddedCluster::builder().brokers(2).topic("t", 2).seed(1).start().await.unwrap();
    let dispatcher = connect(&cluster).await;
    (cluster, dispatcher)
}

/// With the default of 3 replicas: helper topics have to do with 2.
async fn connect(cluster: &EmbeddedCluster) -> Dispatcher {
    let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network());
    builder.metadata_max_age(5 * SECOND).connect().await.unwrap()
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned()
}

/// Handles what `fails` says otherwise for a text and an attempt.
async fn subscribe(
    dispatcher: &Dispatcher,
    policy: impl Into<OnFailure>,
    calls: &Calls,
    fails: impl Fn(&str, u32) -> bool + Send + Sync + 'static,
) -> Subscription {
    let (calls, began) = (calls.clone(), Instant::now());
    let handler = move |message: Message| {
        let call = (text(&message), message.attempt(), message.topic().to_owned(), began.elapsed());
        let failed = fails(&call.0, call.1);
        calls.lock().unwrap().push(call);
        async move { if failed { Err("as told") } else { Ok(()) } }
    };
    dispatcher.subscribe("t", handler).group("g").concurrency(4).on_failure(policy.into()).start().await.unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..6_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(SECOND / 50).await;
    }
    panic!("{what}: not within two minutes");
}

async fn lag(dispatcher: &Dispatcher, topic: &str) -> i64 {
    dispatcher.consume_status_exact(topic, "g:t").await.map_or(-1, |status| status.total_lag())
}

/// All messages of a topic.
async fn read(dispatcher: &Dispatcher, topic: &str) -> Vec<Message> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let subscribe = dispatcher.subscribe(topic, move |message: Message| {
        into.lock().unwrap().push(message.detach());
        async { Ok::<_, Error>(()) }
    });
    subscribe.group("reader").until_end().start().await.unwrap().join().await.unwrap();
    std::mem::take(&mut *seen.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_the_message_as_it_was_with_the_cause_in_headers() {
    let (_cluster, dispatcher) = start().await;
    let calls = Calls::default();
    let policy = OnFailure::Retry(RetryPolicy::new(2).dead_letter("dead"));
    let subscription = subscribe(&dispatcher, policy, &calls, |text, _| text == "bad").await;
    for n in 0..10 {
        dispatcher.send("t", format!("good {n}")).key("k").await.unwrap();
    }
    let send =
        dispatcher.send("t", "bad").key("k").header("shop", "7").header("shop", "8").timestamp(1_600_000_000_000);
    let sent = send.header("dispatcher-origin-topic", "a-lie").await.unwrap();
    dispatcher.send("t", "last").key("k").await.unwrap();
    eventually("all is committed", async || lag(&dispatcher, "t").await == 0).await;

    let letters = read(&dispatcher, "dead").await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.value(), letter.key()), (Some(&b"bad"[..]), Some(&b"k"[..])));
    assert_eq!((letter.id().as_deref(), letter.timestamp()), (sent.id(), 1_600_000_000_000));
    let users: Vec<_> = letter.user_headers().collect();
    assert_eq!(users, [(&b"shop"[..], Some(&b"7"[..])), (&b"shop"[..], Some(&b"8"[..]))]);
    let origin = letter.origin().unwrap();
    assert_eq!((origin.topic(), origin.partition(), Some(origin.offset())), ("t", sent.partition(), sent.offset()));
    assert_eq!((origin.timestamp(), origin.attempts(), origin.group()), (1_600_000_000_000, 3, Some("g:t")));
    assert!(origin.error().unwrap().contains("as told") && origin.failed_ms() > Some(1_600_000_000_000));
    assert!(letter.headers().filter(|(name, _)| *name == b"dispatcher-origin-topic").count() == 1);

    // In place, in the key's order.
    let order: Vec<_> = calls.lock().unwrap().iter().map(|c| (c.0.clone(), c.1)).collect();
    let good = (0..10).map(|n| (format!("good {n}"), 1));
    let rest = [("bad", 1), ("bad", 2), ("bad", 3), ("last", 1)].map(|(text, attempt)| (text.to_owned(), attempt));
    assert_eq!(order, good.chain(rest).collect::<Vec<_>>());
    let failure = subscription.errors().next().await.unwrap();
    assert_eq!(failure.offset(), sent.offset());
    assert_eq!(dispatcher.describe_topic("dead").await.unwrap().replicas(), 2);
    assert_eq!(subscription.stop().await.unwrap().unfinished(), 0);
    assert!(subscription.errors().next().await.is_none(), "attempts before the last are not told");
}

#[tokio::test(start_paused = true)]
async fn through_retry_topics_a_message_comes_again_when_its_delay_is_over_and_holds_up_nobody() {
    let (_cluster, dispatcher) = start().await;
    let calls = Calls::default();
    let policy = RetryPolicy::new(1).through_topics([10 * SECOND, 600 * SECOND]).dead_letter("dead");
    let subscription =
        subscribe(&dispatcher, OnFailure::Retry(policy), &calls, |text, attempt| match text.split_once(' ') {
            Some(("once", _)) => attempt < 3,
            Some(("never", _)) => true,
            _ => false,
        })
        .await;
    for n in 0..5 {
        for what in ["good", "once", "never"] {
            dispatcher.send("t", format!("{what} {n}")).partition(n % 2).await.unwrap();
        }
    }
    eventually("the topic itself is committed", async || lag(&dispatcher, "t").await == 0).await;
    let topics: Vec<_> = dispatcher.topics().await.unwrap().iter().map(|t| t.name().to_owned()).collect();
    let retries: Vec<_> = topics.iter().filter(|t| t.starts_with("t.g-t-")).cloned().collect();
    assert!(retries.len() == 2 && retries[0].ends_with(".retry.1") && retries[1].ends_with(".retry.2"), "{topics:?}");
    tokio::time::sleep(1_000 * SECOND).await;
    for topic in [&retries[0], &retries[1]] {
        eventually("a retry topic is committed", async || lag(&dispatcher, topic).await == 0).await;
    }

    let mut by: BTreeMap<String, Vec<(u32, String, Duration)>> = BTreeMap::new();
    for (text, attempt, topic, at) in calls.lock().unwrap().clone() {
        by.entry(text).or_default().push((attempt, topic, at));
    }
    assert_eq!(by.len(), 15);
    for (text, calls) in &by {
        let attempts: Vec<_> = calls.iter().map(|c| c.0).collect();
        let topics: Vec<_> = calls.iter().map(|c| c.1.as_str()).collect();
        let [first, second] = [retries[0].as_str(), retries[1].as_str()];
        match text.split(' ').next().unwrap() {
            "good" => assert_eq!((&attempts[..], &topics[..]), (&[1][..], &["t"][..])),
            "once" => assert_eq!((&attempts[..], &topics[..]), (&[1, 2, 3][..], &["t", "t", first][..])),
            _ => {
                assert_eq!(attempts, [1, 2, 3, 4, 5, 6]);
                assert_eq!(topics, ["t", "t", first, first, second, second]);
                let wait = calls[4].2 - calls[3].2;
                assert!(wait >= 600 * SECOND && wait < 602 * SECOND, "{wait:?}");
            }
        }
        if let (Some(before), Some(after)) = (calls.get(1), calls.get(2)) {
            let wait = after.2 - before.2;
            assert!(wait >= 10 * SECOND && wait < 12 * SECOND, "{text}: {wait:?}");
        }
    }
    let letters = read(&dispatcher, "dead").await;
    assert_eq!(letters.len(), 5);
    for letter in letters {
        let origin = letter.origin().unwrap();
        assert_eq!((origin.topic(), origin.attempts()), ("t", 6));
        assert_eq!(text(&letter).split_once(' ').unwrap().1.parse::<i32>().unwrap() % 2, origin.partition());
    }
    assert_eq!(subscription.stop().await.unwrap().unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_retry_topic_survives_its_member() {
    let (cluster, dispatcher) = start().await;
    let calls = Calls::default();
    let policy = || OnFailure::Retry(RetryPolicy::new(0).through_topics([60 * SECOND]));
    let first = subscribe(&dispatcher, policy(), &calls, |_, attempt| attempt == 1).await;
    let began = Instant::now();
    dispatcher.send("t", "one").await.unwrap();
    eventually("it has failed and is passed on", async || lag(&dispatcher, "t").await == 0).await;
    drop(first);
    tokio::time::sleep(5 * SECOND).await;
    let other = connect(&cluster).await;
    let second = subscribe(&other, policy(), &calls, |_, attempt| attempt == 1).await;
    eventually("it is handled", async || calls.lock().unwrap().len() == 2).await;
    assert!(began.elapsed() >= 60 * SECOND && began.elapsed() < 63 * SECOND, "{:?}", began.elapsed());
    assert_eq!(calls.lock().unwrap()[1].1, 2);
    assert_eq!(second.stop().await.unwrap().unfinished(), 0);
}

/// As after an outage of what handlers need: every partition of the retry topic has a backlog that waits for an hour.
#[tokio::test(start_paused = true)]
async fn backlogs_that_wait_in_many_retry_partitions_leave_memory_for_the_rest() {
    let cluster = EmbeddedCluster::builder().brokers(2).topic("t", 20).seed(1).start().await.unwrap();
    let dispatcher = connect(&cluster).await;
    let calls = Calls::default();
    let policy = || OnFailure::Retry(RetryPolicy::new(0).through_topics([3_600 * SECOND]));
    let bad = |text: &str, _| text.starts_with("bad");
    let first = subscribe(&dispatcher, policy(), &calls, bad).await;
    let large = format!("bad {}", "x".repeat(20_000));
    for n in 0..400 {
        let _sent = dispatcher.send("t", &*large).partition(n % 20).enqueue().await.unwrap();
    }
    eventually("all have failed and are passed on", async || lag(&dispatcher, "t").await == 0).await;
    first.stop().await.unwrap();

    // Eight megabytes wait, four times as much as there is room for.
    let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).fetch_memory(2 << 20);
    let other = builder.connect().await.unwrap();
    let second = subscribe(&other, policy(), &calls, bad).await;
    tokio::time::sleep(30 * SECOND).await;
    for n in 0..200 {
        dispatcher.send("t", format!("good {n}")).partition(n % 20).await.unwrap();
    }
    let good = || calls.lock().unwrap().iter().filter(|call| call.0.starts_with("good")).count();
    eventually("what is new is handled", async || good() == 200).await;
    second.stop().await.unwrap();
}

/// Beside its commit, once, and until that is over.
#[tokio::test(start_paused = true)]
async fn who_looks_from_outside_learns_until_when_a_retry_topic_waits() {
    let (cluster, dispatcher) = start().await;
    let policy = OnFailure::Retry(RetryPolicy::new(0).through_topics([600 * SECOND, 5 * SECOND]));
    let subscription = subscribe(&dispatcher, policy, &Calls::default(), |_, attempt| attempt == 1).await;
    dispatcher.send("t", "one").await.unwrap();
    let commits = Arc::new(Mutex::new(0));
    let count = commits.clone();
    cluster.observe(move |request| *count.lock().unwrap() += u32::from(request.api == Api::OffsetCommit));
    let topics: Vec<_> = dispatcher.topics().await.unwrap().iter().map(|t| t.name().to_owned()).collect();
    let retry = topics.iter().find(|name| name.ends_with(".retry.1")).unwrap();
    let waits = async || {
        let status = dispatcher.consume_status_exact(retry, "g:t").await.unwrap();
        let waits = status.partitions().iter().filter_map(|p| p.waits_until_ms()).collect::<Vec<_>>();
        (status.total_lag(), waits)
    };
    tokio::time::sleep(10 * SECOND).await;
    let records: Vec<_> = (0..10).flat_map(|p| cluster.records(retry, p)).collect();
    assert_eq!(waits().await, (1, vec![records[0].timestamp + 600_000]));
    tokio::time::sleep(500 * SECOND).await;
    assert_eq!(waits().await, (1, vec![records[0].timestamp + 600_000]));
    assert!(*commits.lock().unwrap() <= 2, "{commits:?}");
    tokio::time::sleep(200 * SECOND).await;
    assert_eq!(waits().await, (0, vec![]));
    assert!(*commits.lock().unwrap() <= 4, "{commits:?}");
    subscription.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_topic_of_a_subscription_has_retry_topics_of_its_own() {
    let cluster = EmbeddedCluster::builder().topic("a", 1).topic("b", 1).seed(1).start().await.unwrap();
    let dispatcher = connect(&cluster).await;
    let calls = Calls::default();
    let handler = |name: &'static str| {
        let calls = calls.clone();
        move |message: Message| {
            let call = (name.to_owned(), message.attempt(), message.topic().to_owned(), Duration::ZERO);
            calls.lock().unwrap().push(call);
            async move { if message.attempt() == 1 { Err("as told") } else { Ok(()) } }
        }
    };
    // Where the group begins is not for retry topics.
    let subscribe = dispatcher.subscribe("a", handler("a")).and("b", handler("b")).group_exact("g").skip_existing();
    let policy = RetryPolicy::new(0).through_topics([5 * SECOND]);
    let subscription = subscribe.on_failure(OnFailure::Retry(policy)).start().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    dispatcher.send("a", "1").await.unwrap();
    dispatcher.send("b", "2").await.unwrap();
    eventually("both are handled", async || calls.lock().unwrap().len() == 4).await;
    let mut seen: Vec<_> = calls.lock().unwrap().iter().map(|c| (c.0.clone(), c.1, c.2.clone())).collect();
    seen.sort();
    let call = |name: &str, attempt, topic: &str| (name.to_owned(), attempt, topic.to_owned());
    let retried = [call("a", 1, "a"), call("a", 2, "a.g.retry.1"), call("b", 1, "b"), call("b", 2, "b.g.retry.1")];
    assert_eq!(seen, retried);
    subscription.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn forged_headers_neither_shift_a_delay_nor_break_the_counting() {
    let (_cluster, dispatcher) = start().await;
    let calls = Calls::default();
    let policy = RetryPolicy::new(0).through_topics([20 * SECOND]).dead_letter("dead");
    let subscription = subscribe(&dispatcher, OnFailure::Retry(policy), &calls, |_, _| true).await;
    let topics = dispatcher.topics().await.unwrap();
    let retry = topics.iter().map(|t| t.name()).find(|name| name.ends_with(".retry.1")).unwrap();
    // As far ahead as a broker lets it be; the virtual clock began at 1,700,000,000 s.
    let ahead = 1_700_000_000_000 + 3_000_000;
    let forged = dispatcher.send(retry, "forged").timestamp(ahead).header("dispatcher-failed-attempts", "4294967295");
    forged.header("dispatcher-origin-topic", "../etc").header("dispatcher-origin-offset", "x").await.unwrap();
    eventually("it is handled", async || !calls.lock().unwrap().is_empty()).await;
    let (_, attempt, _, at) = calls.lock().unwrap()[0].clone();
    assert_eq!(attempt, 2);
    assert!(at < 25 * SECOND, "{at:?}");
    eventually("it is committed", async || lag(&dispatcher, retry).await == 0).await;
    let letters = read(&dispatcher, "dead").await;
    assert_eq!(letters[0].origin().unwrap().topic(), retry, "the place it says cannot be one");
    subscription.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_fit_goes_to_the_dead_letters_at_once() {
    let (_cluster, dispatcher) = start().await;
    let policy = RetryPolicy::new(5).through_topics([60 * SECOND]).dead_letter("dead");
    let subscription = dispatcher
        .subscribe("t", async |_: String| Ok::<(), Error>(()))
        .group("g")
        .on_failure(OnFailure::Retry(policy))
        .start()
        .await
        .unwrap();
    dispatcher.send("t", &b"\xff\xfe"[..]).await.unwrap();
    eventually("it is committed", async || lag(&dispatcher, "t").await == 0).await;
    let letters = read(&dispatcher, "dead").await;
    assert_eq!((letters.len(), letters[0].origin().unwrap().attempts()), (1, 1));
    subscription.stop().await.unwrap();
}

/// Of what tells of the failure only as much goes along as there is room for.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_would_be_too_large_leaves_out_what_it_need_not_say() {
    let why = "because ".repeat(200);
    let mut seen = Vec::new();
    for room in [2_500, 1_600, 1_350, 1_200] {
        let (cluster, dispatcher) = start().await;
        cluster.create_topic("dead", 1, &[("max.message.bytes", &room.to_string())]).unwrap();
        let why = why.clone();
        let handler = move |_: Message| std::future::ready(Err::<(), _>(why.clone()));
        let subscribe = dispatcher.subscribe("t", handler).group("g").on_failure(OnFailure::DeadLetter("dead".into()));
        let subscription = subscribe.start().await.unwrap();
        dispatcher.send("t", "x".repeat(950)).await.unwrap();
        eventually("all is committed", async || lag(&dispatcher, "t").await == 0).await;
        let letters = read(&dispatcher, "dead").await;
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!(letter.value().map(<[u8]>::len), Some(950));
        let error = |origin: &dispatcher::Origin| (origin.attempts(), origin.error().map_or(0, str::len));
        seen.push(letter.origin().as_ref().map(error));
        subscription.stop().await.unwrap();
    }
    assert_eq!(seen, [Some((1, 1_024)), Some((1, 100)), Some((1, 0)), None]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_the_dead_letters_is_held_until_that_is_put_right() {
    let (cluster, dispatcher) = start().await;
    cluster.create_topic("dead", 1, &[("max.message.bytes", "900")]).unwrap();
    let (calls, policy) = (Calls::default(), || OnFailure::DeadLetter("dead".into()));
    let subscription = subscribe(&dispatcher, policy(), &calls, |text, _| text.starts_with('x')).await;
    dispatcher.send("t", "x".repeat(950)).partition(0).await.unwrap();
    for n in 0..20 {
        dispatcher.send("t", format!("good {n}")).partition(0).await.unwrap();
    }
    eventually("the others are handled", async || calls.lock().unwrap().len() == 21).await;
    let mut errors = subscription.errors();
    let told = [errors.next().await.unwrap(), errors.next().await.unwrap()].map(|e| e.error().clone());
    assert_eq!((told[0].kind(), told[1].kind()), (ErrorKind::Handler, ErrorKind::MessageTooLarge));
    let text = told[1].to_string();
    assert!(
        text.contains("held") && text.contains("too large for dead") && text.contains("raise max.message.bytes"),
        "{text}"
    );
    assert_eq!(subscription.stop().await.unwrap().unfinished(), 0);
    assert_eq!(cluster.committed("g:t", "t", 0), Some(0));

    assert!(cluster.delete_topic("dead"));
    cluster.create_topic("dead", 1, &[]).unwrap();
    let fresh = connect(&cluster).await;
    let subscription = subscribe(&fresh, policy(), &calls, |text, _| text.starts_with('x')).await;
    eventually("all is committed", async || lag(&fresh, "t").await == 0).await;
    assert_eq!(read(&fresh, "dead").await.len(), 1);
    assert_eq!(calls.lock().unwrap().len(), 22, "the others are not handled again");
    subscription.stop().await.unwrap();
}

/// Waits until brokers have the topic.
async fn made(cluster: &EmbeddedCluster, topic: &str) {
    eventually(topic, async || cluster.leader(topic, 0).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn topics_for_failed_messages_that_somebody_removes_are_made_again_soon() {
    let (cluster, dispatcher) = start().await;
    let calls = Calls::default();
    let policy = RetryPolicy::new(1).through_topics([SECOND]).dead_letter("dead");
    let subscription = subscribe(&dispatcher, OnFailure::Retry(policy), &calls, |_, _| true).await;
    dispatcher.send("t", "first").partition(0).await.unwrap();
    let letters = || (0..12).map(|p| cluster.records("dead", p).len()).sum::<usize>();
    eventually("a dead letter", async || letters() == 1).await;
    let names: Vec<_> = dispatcher.topics().await.unwrap().iter().map(|t| t.name().to_owned()).collect();
    let retry = names.into_iter().find(|name| name.ends_with(".retry.1")).unwrap();

    let asked = Arc::new(Mutex::new(Vec::new()));
    let requests = asked.clone();
    cluster.observe(move |request| {
        if request.api == Api::CreateTopics {
            requests.lock().unwrap().push(String::from_utf8_lossy(&request.request).into_owned());
        }
    });
    for (gone, text) in [("dead", "second"), (&*retry, "third")] {
        let began = Instant::now();
        let before = letters() * usize::from(gone != "dead");
        assert!(cluster.delete_topic(gone));
        dispatcher.send("t", text).partition(0).await.unwrap();
        made(&cluster, gone).await;
        eventually("a dead letter", async || letters() == before + 1).await;
        assert!(began.elapsed() < 30 * SECOND, "{gone}: {:?}", began.elapsed());
    }
    let asked = asked.lock().unwrap().clone();
    let (asked, retention) = (&asked[asked.len() - 1], (7 * 24 * 3600 * 1000 + 1000).to_string());
    assert!(asked.contains(&retry) && asked.contains("retention.ms") && asked.contains(&retention), "{asked}");
    let mut texts: Vec<_> = read(&dispatcher, "dead").await.iter().map(text).collect();
    texts.sort();
    assert_eq!(texts, ["second", "third"], "once each");
    subscription.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn topics_made_again_with_fewer_partitions_are_written_to_by_those_who_knew_them_before() {
    let (cluster, dispatcher) = start().await;
    cluster.create_topic("dead", 8, &[]).unwrap();
    cluster.create_topic("keyed", 8, &[]).unwrap();
    let calls = Calls::default();
    let policy = OnFailure::DeadLetter("dead".into());
    let subscription = subscribe(&dispatcher, policy, &calls, |_, _| true).await;
    let keyed = dispatcher.topic("keyed").await.unwrap();
    let total = |topic: &str| (0..8).map(|p| cluster.records(topic, p).len()).sum::<usize>();
    for count in [8, 2, 5, 1] {
        for topic in ["dead", "keyed"] {
            assert!(cluster.delete_topic(topic));
            cluster.create_topic(topic, count, &[]).unwrap();
        }
        let (began, mut failed) = (Instant::now(), 0);
        for n in 0..40 {
            dispatcher.send("t", format!("{count} {n}")).key(format!("{n}")).await.unwrap();
            match keyed.send("x").key(format!("{n}")).await {
                Ok(report) => assert!(report.partition() < count),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotWritten, "{error}");
                    failed += 1;
                }
            }
        }
        assert!(failed <= 1, "{failed} after the topic had become smaller");
        assert_eq!(total("keyed"), 40 - failed);
        eventually("all dead letters", async || total("dead") == 40).await;
        assert!(began.elapsed() < 30 * SECOND, "{count}: {:?}", began.elapsed());
    }
    assert_eq!(subscription.stop().await.unwrap().unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_must_not_be_written_are_tried_for_a_while_and_then_held() {
    let (cluster, dispatcher) = start().await;
    let (calls, policy) = (Calls::default(), || OnFailure::DeadLetter("dead".into()));
    let subscription = subscribe(&dispatcher, policy(), &calls, |text, _| text == "bad").await;
    dispatcher.send("t", "bad").partition(0).await.unwrap();
    cluster.inject(Fault::on(Api::Produce).always().error(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let (mut errors, mut last) = (subscription.errors(), String::new());
    let (mut told, began) = (0, tokio::time::Instant::now());
    while !last.contains("held") {
        last = tokio::time::timeout(120 * SECOND, errors.next()).await.expect("it ends").unwrap().error().to_string();
        told += 1;
    }
    assert!(told >= 11 && last.contains("TOPIC_AUTHORIZATION_FAILED"), "{told} {last}");
    assert!((29 * SECOND..60 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(subscription.stop().await.unwrap().unfinished(), 0);
    cluster.clear_faults();
    let subscription = subscribe(&dispatcher, policy(), &calls, |text, _| text == "bad").await;
    eventually("all is committed", async || lag(&dispatcher, "t").await == 0).await;
    assert_eq!(read(&dispatcher, "dead").await.len(), 1);
    subscription.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_time_the_topic_does_not_take_gets_ours() {
    let (cluster, dispatcher) = start().await;
    cluster.create_topic("dead", 1, &[("message.timestamp.before.max.ms", "60000")]).unwrap();
    let policy = OnFailure::DeadLetter("dead".into());
    let subscription = subscribe(&dispatcher, policy, &Calls::default(), |_, _| true).await;
    dispatcher.send("t", "old").timestamp(1_600_000_000_000).await.unwrap();
    eventually("all is committed", async || lag(&dispatcher, "t").await == 0).await;
    let letters = read(&dispatcher, "dead").await;
    assert!(letters[0].timestamp() > 1_600_000_000_000);
    assert_eq!(letters[0].origin().unwrap().timestamp(), 1_600_000_000_000);
    subscription.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_would_come_back_and_policies_that_cannot_work_are_refused() {
    let (_cluster, dispatcher) = start().await;
    let refused = async |policy: OnFailure| {
        let handler = async |_: Message| Ok::<(), Error>(());
        let started = dispatcher.subscribe("t", handler).group("g").on_failure(policy).start().await;
        started.map(|_| ()).unwrap_err()
    };
    let error = refused(OnFailure::DeadLetter("t".into())).await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("come back"), "{error}");
    let error = refused(OnFailure::Retry(RetryPolicy::new(1).dead_letter("t"))).await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let error = refused(OnFailure::DeadLetter("no/name".into())).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let nested = OnFailure::Retry(RetryPolicy::new(1).then(OnFailure::Retry(RetryPolicy::new(1))));
    assert_eq!(refused(nested).await.kind(), ErrorKind::InvalidConfig);
}
