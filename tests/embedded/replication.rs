//! Followers that do not copy: what senders and consumers get to see of it.

use std::sync::Arc;
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault};
use dispatcher::{Delivery, Dispatcher, ErrorKind};
use tokio::time::Instant;

use super::{Reader, connect, numbers, on, send, start, values, within};

const SECOND: Duration = Duration::from_secs(1);

async fn three() -> (EmbeddedCluster, Dispatcher) {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 1)).await;
    let dispatcher = connect(&cluster).await;
    (cluster, dispatcher)
}

#[tokio::test(start_paused = true)]
async fn while_replication_pauses_sends_wait_and_consumers_see_nothing() {
    let (cluster, dispatcher) = three().await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..1).await;
    reader.until(1).await;
    cluster.pause_replication("t", 0);
    let delivery = dispatcher.send("t", "1").partition(0).enqueue().await.unwrap();
    let waiting = tokio::spawn(delivery);
    tokio::time::sleep(5 * SECOND).await;
    let stands = cluster.partition("t", 0).unwrap();
    assert_eq!((stands.high_watermark, stands.last_stable, stands.log_end), (1, 1, 2));
    assert!(!waiting.is_finished() && reader.seen() == ["0"]);
    cluster.resume_replication("t", 0);
    let report = within("the delivery", waiting).await.unwrap().unwrap();
    assert_eq!(report.offset(), Some(1));
    assert_eq!(reader.until(2).await, numbers(0..2));
    assert_eq!(cluster.partition("t", 0).unwrap().high_watermark, 2);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_lacks_what_was_not_copied_and_it_is_sent_again() {
    let (cluster, dispatcher) = three().await;
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..3).await;
    cluster.pause_replication("t", 0);
    let mut deliveries = Vec::new();
    for n in 3..8 {
        deliveries.push(dispatcher.send("t", n.to_string()).partition(0).enqueue().await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(SECOND).await;
    let before = cluster.partition("t", 0).unwrap();
    assert!(before.log_end > 3 && before.high_watermark == 3, "{before:?}");
    assert!(cluster.move_leader("t", 0, before.leader.unwrap() % 3 + 1));
    assert_eq!(cluster.partition("t", 0).unwrap().log_end, 3, "lost");
    cluster.resume_replication("t", 0);
    for delivery in deliveries {
        within("a delivery", delivery).await.unwrap();
    }
    assert_eq!(values(&cluster, "t", 0), numbers(0..8), "I: once and in order, though the first copies are lost");
    assert_eq!(reader.until(8).await, numbers(0..8));
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_comes_back_before_anyone_else_lacks_nothing() {
    let (cluster, dispatcher) = three().await;
    cluster.pause_replication("t", 0);
    let delivery = dispatcher.send("t", "0").partition(0).enqueue().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let leader = cluster.leader("t", 0).unwrap();
    // The others first, so that nobody takes over.
    [1, 2, 3].into_iter().filter(|id| *id != leader).for_each(|id| assert!(cluster.stop_broker(id)));
    assert!(cluster.stop_broker(leader));
    assert_eq!(cluster.leader("t", 0), None);
    cluster.start_broker(leader).await.unwrap();
    assert_eq!((cluster.leader("t", 0), values(&cluster, "t", 0)), (Some(leader), numbers(0..1)));
    cluster.resume_replication("t", 0);
    within("the delivery", delivery).await.unwrap();
    assert_eq!(values(&cluster, "t", 0), numbers(0..1), "I: once");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_no_follower_ever_copies_ends_as_maybe_written() {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 1)).await;
    let dispatcher = on(&cluster).delivery_timeout(40 * SECOND).connect().await.unwrap();
    cluster.pause_replication("t", 0);
    let error = within("send()", async { dispatcher.send("t", "x").await }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MaybeWritten, "{error}");
    assert_eq!(values(&cluster, "t", 0), ["x"], "and so it is");
}

#[tokio::test(start_paused = true)]
async fn with_too_few_replicas_in_sync_nothing_is_written() {
    let builder = EmbeddedCluster::builder().brokers(3);
    let cluster = start(builder.topic_with("t", 1, 3, &[("min.insync.replicas", "2")])).await;
    let dispatcher = on(&cluster).delivery_timeout(20 * SECOND).connect().await.unwrap();
    cluster.stop_broker(1);
    send(&dispatcher, 0..1).await;
    cluster.stop_broker(2);
    let error = within("send()", async { dispatcher.send("t", "x").await }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotWritten, "{error}");
    cluster.start_broker(1).await.unwrap();
    send(&dispatcher, 1..2).await;
    assert_eq!(values(&cluster, "t", 0), numbers(0..2));
}

/// Each request had what its oldest batch had left, and its end was that of the connection: answers that took longer never came.
#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_written_does_not_take_the_time_of_the_others() {
    let builder = EmbeddedCluster::builder().brokers(3).topic("t", 3);
    let cluster = start(builder.topic_with("stuck", 1, 3, &[("min.insync.replicas", "2")])).await;
    let sender = on(&cluster).delivery_timeout(20 * SECOND).request_timeout(15 * SECOND);
    let dispatcher = Arc::new(sender.connect().await.unwrap());
    send(&dispatcher, 0..1).await;
    cluster.stop_broker(1);
    cluster.stop_broker(2);
    cluster.inject(Fault::on(Api::Produce).always().delay(5 * SECOND));
    let stuck = dispatcher.clone();
    let stuck = tokio::spawn(async move {
        let mut sends = tokio::task::JoinSet::new();
        for _ in 0..150 {
            sends.spawn(stuck.send("stuck", "x").enqueue().await.unwrap());
            tokio::time::sleep(SECOND / 2).await;
        }
        sends.join_all().await
    });
    // From here on there is always one that runs out of time.
    tokio::time::sleep(25 * SECOND).await;
    for n in 1..6 {
        within("send()", async { dispatcher.send("t", n.to_string()).partition(0).await }).await.unwrap();
    }
    for sent in within("the others", stuck).await.unwrap() {
        sent.unwrap_err();
    }
    assert_eq!(values(&cluster, "t", 0), numbers(0..6));
}

#[tokio::test(start_paused = true)]
async fn a_send_is_reported_at_its_deadline_while_its_request_has_time_left() {
    let cluster = start(EmbeddedCluster::builder().topic("t", 1)).await;
    let sender = on(&cluster).delivery_timeout(20 * SECOND).request_timeout(15 * SECOND);
    let dispatcher = sender.connect().await.unwrap();
    send(&dispatcher, 0..1).await;
    cluster.inject(Fault::on(Api::Produce).times(200).error(ErrorCode::NOT_ENOUGH_REPLICAS));
    let begun = Instant::now();
    let delivery = dispatcher.send("t", "1").partition(0).enqueue().await.unwrap();
    tokio::time::sleep(15 * SECOND).await;
    cluster.clear_faults();
    cluster.inject(Fault::on(Api::Produce).delay(10 * SECOND));
    let error = within("the delivery", delivery).await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::MaybeWritten, 20), "{error}");
    // It is written after all, and what comes next waits for that, and is not held up by it.
    send(&dispatcher, 2..3).await;
    assert!(begun.elapsed() < 40 * SECOND);
    assert_eq!(values(&cluster, "t", 0), numbers(0..3));
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_former_leader_runs_out_of_time_at_its_own_deadline() {
    let cluster = start(EmbeddedCluster::builder().brokers(3).topic("t", 1).topic("another", 1)).await;
    let sender = on(&cluster).delivery_timeout(5 * SECOND).request_timeout(5 * SECOND);
    let dispatcher = sender.connect().await.unwrap();
    let leader = cluster.leader("t", 0).unwrap();
    let produce = || Fault::on(Api::Produce).broker(leader).always();
    cluster.inject(produce().error(ErrorCode::NOT_ENOUGH_REPLICAS));
    let begun = Instant::now();
    let first = dispatcher.send("t", "0").partition(0).enqueue().await.unwrap();
    tokio::time::sleep(SECOND).await;
    // A producer's first batch goes alone.
    let second = dispatcher.send("t", "1").partition(0).enqueue().await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    cluster.clear_faults();
    cluster.inject(produce().delay(60 * SECOND));
    let ends = async |delivery: Delivery, kind, deadline| {
        assert_eq!(within("a delivery", delivery).await.unwrap_err().kind(), kind);
        let ended = begun.elapsed();
        assert!(ended >= deadline && ended < deadline + SECOND / 100, "{kind:?} after {ended:?}");
    };
    ends(first, ErrorKind::MaybeWritten, 5 * SECOND).await;
    tokio::time::sleep(8 * SECOND / 10).await;
    assert!(cluster.move_leader("t", 0, leader % 3 + 1));
    // Has it ask for metadata.
    dispatcher.topic("another").await.unwrap();
    ends(second, ErrorKind::NotWritten, 6 * SECOND).await;
}
