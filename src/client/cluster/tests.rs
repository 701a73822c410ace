use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::testing::Fake;
use super::*;
use crate::client::topology::NewLeader;
use crate::client::types::{Isolation, TopicPartition};
use crate::wire::ErrorCode;
use crate::wire::messages::*;

const SECOND: Duration = Duration::from_secs(1);

fn dialled(fake: &Fake, port: u16) -> usize {
    fake.net.dialled().iter().filter(|a| **a == format!("kafka:{port}")).count()
}

#[tokio::test(start_paused = true)]
async fn when_no_seed_answers_the_error_names_each_with_its_reason() {
    let fake = Fake::new(0);
    fake.net.listen("kafka", 9002, |peer| peer.silence());
    let config = ClientConfig { brokers: vec!["kafka:9001".into(), "kafka:9002".into()], ..fake.config() };
    let env = Env::simulated(1, fake.net.clone());
    let begun = env.now();
    let error = Cluster::connect(config, env.clone()).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(text.contains("kafka:9001: ") && text.contains("kafka:9002 accepted"), "{text}");
    assert_eq!((env.now() - begun).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_answers_is_enough_and_becomes_its_brokers_control_connection() {
    let fake = Fake::new(3);
    fake.kill(9001);
    fake.kill(9002);
    let cluster = fake.connect().await;
    assert_eq!(cluster.topology().brokers().count(), 3);
    cluster.connection(3, Use::Control).await.unwrap();
    assert_eq!(dialled(&fake, 9003), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_seed_does_not_hold_up_the_next() {
    let fake = Fake::new(1);
    fake.net.listen("silent", 9000, |peer| peer.silence());
    let config = ClientConfig { brokers: vec!["silent:9000".into(), "kafka:9001".into()], ..fake.config() };
    for seed in 0..8 {
        let env = Env::simulated(seed, fake.net.clone());
        let begun = env.now();
        Cluster::connect(config.clone(), env.clone()).await.unwrap();
        assert!(env.now() - begun <= 2 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_for_topics_at_once_share_requests_that_name_only_those() {
    let fake = Fake::new(1);
    (0..10).for_each(|i| fake.topic(&format!("t{i}"), i, &[(1, 0)]));
    let cluster = fake.connect().await;
    let asks = (0..100).map(|i| {
        let cluster = cluster.clone();
        async move { cluster.topic(&format!("t{}", i % 5)).await.unwrap() }
    });
    join_all(asks).await;
    assert_eq!(fake.count::<MetadataRequest>(), 2, "one at the start, one for all who asked");
    assert_eq!(fake.with(|s| s.asked[1].clone()), ["t0", "t1", "t2", "t3", "t4"]);
    cluster.topic("t7").await.unwrap();
    assert_eq!(fake.with(|s| s.asked[2].clone()), ["t7"], "known topics are not asked for again");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_asked_for_every_minute_and_on_demand_with_pauses() {
    let fake = Fake::new(1);
    fake.topic("t", 1, &[(1, 0)]);
    let cluster = fake.connect().await;
    cluster.topic("t").await.unwrap();
    let before = fake.count::<MetadataRequest>();
    cluster.env().sleep(601 * SECOND).await;
    assert_eq!(fake.count::<MetadataRequest>() - before, 10);
    for _ in 0..1000 {
        cluster.refresh();
        cluster.env().sleep(SECOND / 100).await;
    }
    let on_demand = fake.count::<MetadataRequest>() - before - 10;
    assert!((10..20).contains(&on_demand), "{on_demand} requests in 10 s");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_waited_for_a_little_and_found_when_it_appears() {
    let fake = Fake::new(1);
    let cluster = fake.connect().await;
    let begun = cluster.env().now();
    let error = cluster.topic("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    let waited = cluster.env().now() - begun;
    assert!(3 * SECOND < waited && waited <= 6 * SECOND, "{waited:?}");
    assert_eq!(cluster.find_topic("t").await.unwrap(), None);

    let waiting = cluster.clone();
    let found = cluster.env().spawn(async move { waiting.topic("t").await });
    cluster.env().sleep(2 * SECOND).await;
    fake.topic("t", 1, &[(1, 0)]);
    assert_eq!(found.await.unwrap().unwrap().partitions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn topics_that_were_not_found_are_not_asked_for_again() {
    let fake = Fake::new(1);
    let cluster = fake.connect().await;
    cluster.find_topic("t").await.unwrap();
    cluster.refresh_now().await.unwrap();
    assert_eq!(fake.with(|s| s.asked.last().unwrap().len()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_asked_about_until_it_has_one() {
    let fake = Fake::new(2);
    fake.topic("t", 1, &[(-1, 0)]);
    let cluster = fake.connect().await;
    assert_eq!(cluster.topic("t").await.unwrap().partitions[0].leader, -1);
    let mut changes = cluster.changes();
    cluster.env().sleep(3 * SECOND).await;
    fake.topic("t", 1, &[(2, 1)]);
    let begun = cluster.env().now();
    changes.mark_unchanged();
    changes.changed().await.unwrap();
    assert_eq!(cluster.topology().topic("t").unwrap().partitions[0].leader, 2);
    assert!(cluster.env().now() - begun <= 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_connection_share_the_attempt_and_its_failure() {
    let fake = Fake::new(2);
    let config = ClientConfig { brokers: vec!["kafka:9001".into()], ..fake.config() };
    let cluster = Cluster::connect(config, Env::simulated(1, fake.net.clone())).await.unwrap();
    let before = dialled(&fake, 9002);
    let ask = || join_all((0..20).map(|_| cluster.connection(2, Use::Produce)));
    assert!(ask().await.iter().all(Result::is_ok));
    assert_eq!(dialled(&fake, 9002) - before, 1);
    fake.kill(9002);
    cluster.env().sleep(SECOND).await;
    let before = dialled(&fake, 9002);
    assert!(ask().await.iter().all(Result::is_err));
    // The first is refused before the others come; they share the second attempt.
    assert_eq!(dialled(&fake, 9002) - before, 2);
}

#[tokio::test(start_paused = true)]
async fn each_use_has_one_connection_of_its_own() {
    let fake = Fake::new(1);
    let cluster = fake.connect().await;
    let fetch = Use::Fetch(Isolation::ReadCommitted);
    for _ in 0..3 {
        for use_ in [Use::Control, Use::Produce, fetch.clone()] {
            cluster.connection(1, use_).await.unwrap();
        }
    }
    assert_eq!(fake.net.dialled().len(), 3);
    cluster.connection(1, Use::OneOff).await.unwrap();
    cluster.connection(1, Use::OneOff).await.unwrap();
    cluster.connection(1, Use::Join("g".into())).await.unwrap();
    cluster.connection(1, Use::Join("g".into())).await.unwrap();
    assert_eq!(fake.net.dialled().len(), 6);
    cluster.release(1, &Use::Join("g".into()));
    cluster.connection(1, Use::Join("g".into())).await.unwrap();
    assert_eq!(fake.net.dialled().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_is_dialled_with_growing_pauses() {
    let fake = Fake::new(2);
    let cluster = fake.connect().await;
    fake.kill(9002);
    let before = dialled(&fake, 9002);
    let until = cluster.env().now() + 20 * SECOND;
    while cluster.env().now() < until {
        let _ = cluster.connection(2, Use::Produce).await;
    }
    let attempts = dialled(&fake, 9002) - before;
    assert!((18..35).contains(&attempts), "{attempts} in 20 s");
    fake.start(2, 9002);
    cluster.connection(2, Use::Produce).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_moved_is_reached_at_its_new_address() {
    let fake = Fake::new(2);
    let cluster = fake.connect().await;
    let old = cluster.connection(2, Use::Produce).await.unwrap();
    fake.start(2, 9902);
    cluster.refresh_now().await.unwrap();
    let new = cluster.connection(2, Use::Produce).await.unwrap();
    assert_eq!((old.peer(), new.peer()), ("kafka:9002", "kafka:9902"));
}

#[tokio::test(start_paused = true)]
async fn after_300_seconds_without_a_broker_the_seeds_are_asked_again() {
    let fake = Fake::new(2);
    fake.net.listen("seed", 9092, {
        let fake = fake.clone();
        move |peer| fake.clone().serve_seed(peer)
    });
    let config = ClientConfig { brokers: vec!["seed:9092".into()], ..fake.config() };
    let cluster = Cluster::connect(config, Env::simulated(1, fake.net.clone())).await.unwrap();
    cluster.connection(1, Use::Control).await.unwrap();
    fake.kill(9001);
    fake.kill(9002);
    fake.start(1, 9101);
    fake.start(2, 9102);
    let begun = cluster.env().now();
    let mut changes = cluster.changes();
    changes.mark_unchanged();
    changes.changed().await.unwrap();
    let waited = cluster.env().now() - begun;
    assert!(299 * SECOND < waited && waited < 310 * SECOND, "{waited:?}");
    cluster.connection(2, Use::Control).await.unwrap();
    assert_eq!(dialled(&fake, 9102), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_can_order_a_rebootstrap_at_once() {
    let fake = Fake::new(1);
    fake.net.listen("seed", 9092, {
        let fake = fake.clone();
        move |peer| fake.clone().serve_seed(peer)
    });
    let config = ClientConfig { brokers: vec!["seed:9092".into()], ..fake.config() };
    let cluster = Cluster::connect(config, Env::simulated(1, fake.net.clone())).await.unwrap();
    fake.with(|s| s.metadata_error = ErrorCode::REBOOTSTRAP_REQUIRED);
    assert!(cluster.refresh_now().await.is_err(), "the seed says so as well");
    assert_eq!(fake.net.dialled().iter().filter(|a| *a == "seed:9092").count(), 2);
    fake.with(|s| s.metadata_error = ErrorCode::NONE);
    cluster.refresh_now().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_clusters_answer_is_refused() {
    let fake = Fake::new(1);
    fake.topic("t", 1, &[(1, 0)]);
    let cluster = fake.connect().await;
    cluster.topic("t").await.unwrap();
    let before = cluster.topology();
    fake.with(|s| s.cluster_id = "other".into());
    fake.topic("t", 2, &[(1, 0), (1, 0)]);
    let error = cluster.refresh_now().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("other") && error.to_string().contains("fake"), "{error}");
    assert_eq!(cluster.topology(), before);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_an_answer_named_is_published_at_once() {
    let fake = Fake::new(2);
    fake.topic("t", 1, &[(1, 3)]);
    let cluster = fake.connect().await;
    cluster.topic("t").await.unwrap();
    let mut changes = cluster.changes();
    let requests = fake.count::<MetadataRequest>();
    let tp = Arc::new(TopicPartition::new("t", 0));
    let named = |leader_epoch| [NewLeader { tp: tp.clone(), leader: 2, leader_epoch }];
    cluster.learn_leaders(&named(3), &[]);
    assert!(!changes.has_changed().unwrap(), "an old epoch teaches nothing");
    cluster.learn_leaders(&named(4), &[]);
    assert_eq!(changes.borrow_and_update().partition(&tp).unwrap().leader, 2);
    assert_eq!(fake.count::<MetadataRequest>(), requests);
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_is_asked_for_once_until_it_is_forgotten() {
    let fake = Fake::new(2);
    let cluster = fake.connect().await;
    let found = join_all((0..20).map(|_| cluster.coordinator("g"))).await;
    assert!(found.into_iter().all(|id| id.unwrap() == 1));
    assert_eq!(fake.count::<FindCoordinatorRequest>(), 1);
    cluster.forget_coordinator("g", 2);
    cluster.coordinator("g").await.unwrap();
    assert_eq!(fake.count::<FindCoordinatorRequest>(), 1, "it was not broker 2");
    fake.with(|s| s.coordinator = Ok(2));
    cluster.forget_coordinator("g", 1);
    assert_eq!(cluster.coordinator("g").await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_not_there_yet_is_waited_for_within_the_limit() {
    let fake = Fake::new(1);
    fake.with(|s| s.coordinator = Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    let cluster = fake.connect().await;
    let begun = cluster.env().now();
    let error = cluster.coordinator("g").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("COORDINATOR_NOT_AVAILABLE"), "{error}");
    assert!(cluster.env().now() - begun <= 30 * SECOND);
    fake.with(|s| s.coordinator = Err(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    assert_eq!(cluster.coordinator("g").await.unwrap_err().kind(), ErrorKind::Auth);
}

#[tokio::test(start_paused = true)]
async fn group_calls_follow_the_coordinator() {
    let fake = Fake::new(2);
    let cluster = fake.connect().await;
    let moved = fake.clone();
    fake.on::<HeartbeatRequest>(move |broker, _| {
        let error_code = if broker == 1 { ErrorCode::NOT_COORDINATOR } else { ErrorCode::NONE };
        moved.with(|s| s.coordinator = Ok(2));
        HeartbeatResponse { error_code, ..Default::default() }
    });
    let heartbeat = || {
        cluster.on_coordinator("beat", "g", 5 * SECOND, |connection| async move {
            let response = connection.ask(&HeartbeatRequest::default(), SECOND).await?;
            match response.error_code {
                ErrorCode::NONE => Ok(()),
                code => Err(Error::from_code(code, "Heartbeat")),
            }
        })
    };
    heartbeat().await.unwrap();
    assert_eq!(fake.count::<HeartbeatRequest>(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_does_not_hold_up_metadata() {
    let fake = Fake::new(3);
    let cluster = fake.connect().await;
    for id in 1..=3 {
        cluster.connection(id, Use::Control).await.unwrap();
    }
    // Broker 2 accepts connections and says nothing from now on.
    fake.kill(9002);
    fake.net.listen("kafka", 9002, |peer| peer.silence());
    for _ in 0..20 {
        let begun = cluster.env().now();
        cluster.refresh_now().await.unwrap();
        assert!(cluster.env().now() - begun <= 3 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn retrying_stops_at_the_limit_and_tells_the_last_reason() {
    let fake = Fake::new(1);
    let cluster = fake.connect().await;
    let tries = AtomicUsize::new(0);
    let code = |code: ErrorCode| {
        let tries = &tries;
        move || {
            tries.fetch_add(1, Ordering::Relaxed);
            async move { Err::<(), _>(Error::from_code(code, "Produce")) }
        }
    };
    let begun = cluster.env().now();
    let error = cluster.retrying("it", 5 * SECOND, code(ErrorCode::NOT_LEADER_OR_FOLLOWER)).await.unwrap_err();
    assert!(error.to_string().contains("NOT_LEADER_OR_FOLLOWER"), "{error}");
    assert!(cluster.env().now() - begun <= 5 * SECOND);
    assert!((6..15).contains(&tries.swap(0, Ordering::Relaxed)));
    assert!(fake.count::<MetadataRequest>() > 2, "leaders have moved, so metadata is asked for");
    cluster.retrying("it", 5 * SECOND, code(ErrorCode::INVALID_TOPIC_EXCEPTION)).await.unwrap_err();
    assert_eq!(tries.load(Ordering::Relaxed), 1);
    let begun = cluster.env().now();
    let stuck = cluster.retrying("it", 5 * SECOND, std::future::pending::<Result<()>>).await.unwrap_err();
    assert_eq!((stuck.kind(), (cluster.env().now() - begun).as_secs()), (ErrorKind::Timeout, 5));
}

#[tokio::test(start_paused = true)]
async fn with_the_last_handle_everything_ends() {
    let fake = Fake::new(1);
    let cluster = fake.connect().await;
    let connection = cluster.connection(1, Use::Produce).await.unwrap();
    let core = Arc::downgrade(&cluster.0.core);
    let env = cluster.env().clone();
    drop(cluster);
    drop(connection);
    env.sleep(SECOND).await;
    assert!(core.upgrade().is_none());
}
