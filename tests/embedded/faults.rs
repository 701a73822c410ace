//! Each kind of fault, who meets it, and that the client lives with it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault, Rule};
use dispatcher::{Delivery, ErrorKind};
use tokio::time::Instant;

use super::{Reader, connect, eventually, numbers, on, read, send, single, start, values, within};

const SECOND: Duration = Duration::from_secs(1);

/// Everything that can happen to a request and leaves the client a way on.
fn troubles(rule: impl Fn() -> Rule, code: ErrorCode) -> Vec<(&'static str, Fault)> {
    vec![
        ("error", rule().error(code)),
        ("error_after", rule().error_after(code)),
        ("delay", rule().delay(3 * SECOND)),
        ("delay_after", rule().delay_after(3 * SECOND)),
        ("drop_before", rule().drop_before()),
        ("drop_after", rule().drop_after()),
        ("silence", rule().silence()),
        ("truncate in the length", rule().truncate(2)),
        ("truncate", rule().truncate(20)),
        ("corrupt length", rule().corrupt(0)),
        ("corrupt correlation id", rule().corrupt(5)),
        ("throttle", rule().throttle(3 * SECOND)),
    ]
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_a_produce_request_each_message_is_written_once_and_in_order() {
    for (name, fault) in troubles(|| Fault::on(Api::Produce).nth(3), ErrorCode::NOT_LEADER_OR_FOLLOWER) {
        let (cluster, dispatcher) = single().await;
        cluster.inject(fault);
        let mut deliveries: Vec<Delivery> = Vec::new();
        for n in 0..20 {
            deliveries.push(dispatcher.send("t", n.to_string()).partition(0).enqueue().await.unwrap());
            // So that they travel in many requests, some of them before the trouble, some behind it.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for (n, delivery) in deliveries.into_iter().enumerate() {
            let report = within(name, delivery).await.unwrap_or_else(|e| panic!("{name}: {n}: {e}"));
            assert!(report.offset().is_none_or(|offset| offset == n as i64), "{name}: {n} at {:?}", report.offset());
        }
        assert_eq!(values(&cluster, "t", 0), numbers(0..20), "I: {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_a_fetch_request_each_message_is_handled_once_and_in_order() {
    for (name, fault) in troubles(|| Fault::on(Api::Fetch).nth(2), ErrorCode::NOT_LEADER_OR_FOLLOWER) {
        let (cluster, dispatcher) = single().await;
        cluster.inject(fault);
        let reader = Reader::start(&dispatcher, "t", "g").await;
        for n in 0..20 {
            send(&dispatcher, n..n + 1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(reader.until(20).await, numbers(0..20), "{name}");
        assert_eq!(reader.stop().await.len(), 20, "{name}");
        assert_eq!(cluster.committed("g", "t", 0), Some(20), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_survives_trouble_with_each_of_its_requests() {
    let apis = [
        Api::FindCoordinator,
        Api::JoinGroup,
        Api::SyncGroup,
        Api::OffsetFetch,
        Api::ListOffsets,
        Api::Heartbeat,
        Api::OffsetCommit,
    ];
    for api in apis {
        let code = if api == Api::ListOffsets { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::NOT_COORDINATOR };
        for (name, fault) in troubles(|| Fault::on(api), code) {
            let (cluster, dispatcher) = single().await;
            send(&dispatcher, 0..3).await;
            cluster.inject(fault);
            let reader = Reader::start(&dispatcher, "t", "g").await;
            reader.until(3).await;
            tokio::time::sleep(60 * SECOND).await;
            send(&dispatcher, 3..6).await;
            eventually("the commit", 120 * SECOND, || cluster.committed("g", "t", 0) == Some(6)).await;
            let mut seen = reader.stop().await;
            // At least once: what a lost membership had not committed comes again.
            seen.sort();
            seen.dedup();
            assert_eq!(seen, numbers(0..6), "L: {api} {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_request_may_be_lost_by_chance_while_all_goes_on() {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 3)).await;
    cluster.inject(Fault::on_any().always().chance(0.05).drop_before());
    cluster.inject(Fault::on_any().always().chance(0.05).drop_after());
    let dispatcher = within("connect()", on(&cluster).connect()).await.unwrap();
    let reader = Reader::start(&dispatcher, "t", "g").await;
    for n in 0..300 {
        within("send()", async { dispatcher.send("t", n.to_string()).key(n.to_string()).await }).await.unwrap();
    }
    eventually("all handled", 600 * SECOND, || reader.seen().len() >= 300).await;
    cluster.clear_faults();
    let mut seen = reader.stop().await;
    seen.sort_by_key(|n| n.parse::<usize>().unwrap());
    seen.dedup();
    assert_eq!(seen, numbers(0..300));
    let mut stored: Vec<_> = (0..3).flat_map(|p| values(&cluster, "t", p)).collect();
    stored.sort_by_key(|n| n.parse::<usize>().unwrap());
    assert_eq!(stored, numbers(0..300), "I");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_retrying_cannot_help_is_reported_and_nothing_is_written() {
    let (cluster, dispatcher) = single().await;
    cluster.inject(Fault::on(Api::Produce).error(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let error = dispatcher.send("t", "x").partition(0).await.unwrap_err();
    assert_eq!((error.kind(), error.kafka_code()), (ErrorKind::NotWritten, Some(29)), "{error}");
    assert!(values(&cluster, "t", 0).is_empty());
    send(&dispatcher, 0..1).await;
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_its_time_before_or_after_the_work() {
    let (cluster, dispatcher) = single().await;
    send(&dispatcher, 0..1).await;
    for (fault, stored_meanwhile) in
        [(Fault::on(Api::Produce).delay(5 * SECOND), false), (Fault::on(Api::Produce).delay_after(5 * SECOND), true)]
    {
        let before = values(&cluster, "t", 0).len();
        cluster.inject(fault);
        let started = Instant::now();
        let delivery = dispatcher.send("t", "x").partition(0).enqueue().await.unwrap();
        tokio::time::sleep(SECOND).await;
        assert_eq!(values(&cluster, "t", 0).len() > before, stored_meanwhile);
        delivery.await.unwrap();
        assert!((5 * SECOND..6 * SECOND).contains(&started.elapsed()), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_client_keeps_silent_for_as_long_as_it_is_told() {
    let (cluster, dispatcher) = single().await;
    cluster.inject(Fault::on(Api::Produce).throttle(7 * SECOND));
    let started = Instant::now();
    send(&dispatcher, 0..1).await;
    assert!(started.elapsed() < SECOND, "the answer itself is not late: {:?}", started.elapsed());
    send(&dispatcher, 1..2).await;
    assert!((7 * SECOND..8 * SECOND).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_spoilt_on_its_way_is_never_handed_out_nor_passed() {
    let (cluster, dispatcher) = single().await;
    send(&dispatcher, 0..5).await;
    // Where the last message lies in an answer: no key (length −1), a value of length 1 (both zigzag), the value.
    let place = Arc::new(Mutex::new(None));
    let into = place.clone();
    cluster.observe(move |event| {
        let response = event.response.as_deref().filter(|_| event.api == Api::Fetch).unwrap_or_default();
        let found = response.windows(3).rposition(|bytes| bytes == b"\x01\x024");
        let mut place = into.lock().unwrap();
        *place = place.or(found.map(|at| 4 + at + 2));
    });
    read(&dispatcher, "t", "scout").await;
    cluster.inject(Fault::on(Api::Fetch).always().corrupt(place.lock().unwrap().unwrap()));
    let reader = Reader::start(&dispatcher, "t", "g").await;
    let mut errors = reader.subscription.errors();
    tokio::time::sleep(60 * SECOND).await;
    assert!(reader.seen().len() < 5, "{:?}", reader.seen());
    let handled = reader.seen().len() as i64;
    let error = within("an error", errors.next()).await.unwrap().error().clone();
    assert_eq!(error.kind(), ErrorKind::CorruptBatch, "{error}");
    let _ended = within("stop()", reader.subscription.stop()).await;
    assert!(cluster.committed("g", "t", 0).is_none_or(|next| next <= handled), "C");
    cluster.clear_faults();
    let rest = read(&dispatcher, "t", "g").await;
    assert_eq!([&numbers(0..handled as usize)[..], &rest].concat(), numbers(0..5));
}

/// Which brokers got Produce requests, in order, and whether they answered.
fn produce_log(cluster: &EmbeddedCluster) -> Arc<Mutex<Vec<(i32, bool)>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let into = log.clone();
    cluster.observe(move |event| {
        if event.api == Api::Produce {
            into.lock().unwrap().push((event.broker, event.response.is_some()));
        }
    });
    log
}

#[tokio::test(start_paused = true)]
async fn nth_and_times_choose_which_requests_meet_a_fault() {
    let (cluster, dispatcher) = single().await;
    let log = produce_log(&cluster);
    cluster.inject(Fault::on(Api::Produce).nth(2).times(2).drop_before());
    send(&dispatcher, 0..3).await;
    let answered: Vec<bool> = log.lock().unwrap().iter().map(|&(_, answered)| answered).collect();
    assert_eq!(answered, [true, false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn faults_are_met_in_the_order_of_arming_one_at_a_time_until_they_are_cleared() {
    let (cluster, dispatcher) = single().await;
    let log = produce_log(&cluster);
    cluster.inject(Fault::on(Api::Produce).error(ErrorCode::NOT_ENOUGH_REPLICAS));
    cluster.inject(Fault::on(Api::Produce).always().drop_after());
    let sending = tokio::spawn({
        let dispatcher = dispatcher.clone();
        async move { send(&dispatcher, 0..1).await }
    });
    tokio::time::sleep(5 * SECOND).await;
    assert!(!sending.is_finished());
    {
        let log = log.lock().unwrap();
        assert!(log[0].1 && log.len() > 2 && log[1..].iter().all(|(_, answered)| !answered), "{log:?}");
    }
    cluster.clear_faults();
    within("send()", sending).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), ["0"], "I: written once, whatever was lost");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_one_broker_or_connection_leaves_the_others_alone() {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 3)).await;
    let dispatcher = connect(&cluster).await;
    let leaders: Vec<i32> = (0..3).map(|p| cluster.leader("t", p).unwrap()).collect();
    let mut sorted = leaders.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3], "leaders go round the brokers");

    let log = produce_log(&cluster);
    cluster.inject(Fault::on_any().broker(leaders[0]).always().delay(10 * SECOND));
    for (partition, slow) in [(0, true), (1, false), (2, false)] {
        let started = Instant::now();
        dispatcher.send("t", "x").partition(partition).await.unwrap();
        assert_eq!(started.elapsed() >= 10 * SECOND, slow, "{partition}: {:?}", started.elapsed());
    }
    assert_eq!(log.lock().unwrap().iter().map(|(b, _)| *b).collect::<Vec<_>>(), leaders);
    cluster.clear_faults();

    let other = connect(&cluster).await;
    let connections = Arc::new(Mutex::new(Vec::new()));
    let into = connections.clone();
    cluster.observe(move |event| {
        if event.api == Api::Produce {
            into.lock().unwrap().push(event.connection);
        }
    });
    dispatcher.send("t", "x").partition(1).await.unwrap();
    let number = connections.lock().unwrap()[0];
    cluster.inject(Fault::on(Api::Produce).connection(number).always().delay(10 * SECOND));
    let started = Instant::now();
    other.send("t", "x").partition(1).await.unwrap();
    assert!(started.elapsed() < SECOND);
    dispatcher.send("t", "x").partition(1).await.unwrap();
    assert!(started.elapsed() >= 10 * SECOND);
    let connections = connections.lock().unwrap().clone();
    assert!(connections[1] != number && connections[2] == number, "{connections:?}");
}

#[tokio::test(start_paused = true)]
async fn chance_is_about_what_it_says_and_the_same_for_the_same_seed() {
    let run = || async {
        let (cluster, dispatcher) = single().await;
        let log = produce_log(&cluster);
        cluster.inject(Fault::on(Api::Produce).always().chance(0.25).drop_before());
        send(&dispatcher, 0..200).await;
        assert_eq!(values(&cluster, "t", 0), numbers(0..200));
        std::mem::take(&mut *log.lock().unwrap())
    };
    let first = run().await;
    let lost = first.iter().filter(|(_, answered)| !answered).count();
    assert!((40..100).contains(&lost), "{lost} of {}", first.len());
    assert_eq!(run().await, first);
}

/// Found by the simulation: batches that failed on their way waited for the deadline of one that was sent after them.
#[tokio::test(start_paused = true)]
async fn batches_that_fail_on_their_way_run_out_of_time_at_their_own_deadline() {
    let cluster = start(EmbeddedCluster::builder().topic("t", 1)).await;
    let sender = on(&cluster).batch_size(1).request_timeout(8 * SECOND).delivery_timeout(10 * SECOND);
    let dispatcher = sender.connect().await.unwrap();
    send(&dispatcher, 0..1).await;
    cluster.inject(Fault::on(Api::Produce).silence());
    let began = Instant::now();
    let mut early = Vec::new();
    for n in 1..=5 {
        early.push(dispatcher.send("t", n.to_string()).partition(0).enqueue().await.unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep_until(began + 5 * SECOND).await;
    let late = dispatcher.send("t", "6").partition(0).enqueue().await.unwrap();
    tokio::time::sleep_until(began + 7 * SECOND).await;
    cluster.stop_broker(1);
    for delivery in early {
        within("an early delivery", delivery).await.unwrap_err();
        assert!(began.elapsed() < 11 * SECOND, "after {:?}", began.elapsed());
    }
    within("the late delivery", late).await.unwrap_err();
    assert!(began.elapsed() >= 15 * SECOND && began.elapsed() < 16 * SECOND, "after {:?}", began.elapsed());
}
