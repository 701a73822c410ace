//! Who owns what as members come, go and die.

use super::*;
use crate::wire::messages::{CreatePartitionsRequest, create_partitions};

#[tokio::test(flavor = "multi_thread")]
async fn members_share_all_partitions_as_they_come_leave_and_die() {
    let Some(kafka) = tokio::task::block_in_place(kafka) else { return };
    let cluster = cluster(kafka).await;
    let (a, b, group) = (unique("a"), unique("b"), unique("g"));
    create_topic(&cluster, &a, 6).await;
    create_topic(&cluster, &b, 6).await;
    let (topics, owners) = ([&*a, &*b], Arc::new(Owners::default()));
    let first = Member::start(&cluster, config(&group, &topics), 0, &owners);
    owners.settle(&[(0, 12)]).await;
    let second = Member::start(&cluster, config(&group, &topics), 1, &owners);
    let joined = owners.settle(&[(0, 6), (1, 6)]).await;

    // The third dies with its runtime: no LeaveGroup, its connections just end.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (mortal, its_config, its_owners) = (super::cluster(kafka), config(&group, &topics), owners.clone());
    runtime.spawn(async move {
        let cluster = mortal.await;
        let _member = Member::start(&cluster, its_config, 2, &its_owners);
        std::future::pending::<()>().await
    });
    owners.settle(&[(0, 4), (1, 4), (2, 4)]).await;
    runtime.shutdown_background();
    owners.bury(2);
    let died = owners.settle(&[(0, 6), (1, 6)]).await;

    let begun = Instant::now();
    second.leave().await;
    owners.settle(&[(0, 12)]).await;
    let left = begun.elapsed();
    eprintln!("joined in {joined:?}, took over from the dead in {died:?}, from one that left in {left:?}");
    assert!(joined < Duration::from_secs(5) && died < Duration::from_secs(12) && left < Duration::from_secs(5));
    first.leave().await;
    assert!(owners.counts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_handle_leaves_the_group_in_the_background() {
    let Some(kafka) = tokio::task::block_in_place(kafka) else { return };
    let cluster = cluster(kafka).await;
    let (topic, group) = (unique("t"), unique("g"));
    create_topic(&cluster, &topic, 2).await;
    let owners = Arc::new(Owners::default());
    let dropped = Member::start(&cluster, config(&group, &[&topic]), 0, &owners);
    owners.settle(&[(0, 2)]).await;
    drop(dropped.handle);
    dropped.worker.await.unwrap();
    let begun = Instant::now();
    let _next = Member::start(&cluster, config(&group, &[&topic]), 1, &owners);
    owners.settle(&[(1, 2)]).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "no session had to expire");
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_deals_uneven_subscriptions_and_topics_that_appear_or_grow_are_taken_up() {
    let Some(kafka) = tokio::task::block_in_place(kafka) else { return };
    let cluster = cluster(kafka).await;
    let (early, late, group) = (unique("early"), unique("late"), unique("g"));
    create_topic(&cluster, &early, 2).await;
    let owners = Arc::new(Owners::default());
    let assignors = vec![Assignor::RoundRobin, Assignor::Range];
    let start = |number| {
        let config = GroupConfig { assignors: assignors.clone(), ..config(&group, &[&early, &late]) };
        Member::start(&cluster, config, number, &owners)
    };
    let (_first, _second) = (start(0), start(1));
    owners.settle(&[(0, 1), (1, 1)]).await;
    create_topic(&cluster, &late, 2).await;
    let appeared = owners.settle(&[(0, 2), (1, 2)]).await;
    let topic = create_partitions::TopicPartitions { name: early.as_str().into(), count: 6, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let connection = cluster.any_connection().await.unwrap();
    let response = connection.ask(&request, Duration::from_secs(30)).await.unwrap();
    assert_eq!(response.results[0].error_code, ErrorCode::NONE);
    let grew = owners.settle(&[(0, 4), (1, 4)]).await;
    eprintln!("appeared after {appeared:?}, grew after {grew:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_to_its_partitions_without_a_rebalance() {
    let Some(kafka) = tokio::task::block_in_place(kafka) else { return };
    let cluster = cluster(kafka).await;
    let (topic, group) = (unique("t"), unique("g"));
    create_topic(&cluster, &topic, 4).await;
    let owners = Arc::new(Owners::default());
    let start = |number: usize, instance: &str| {
        let config = GroupConfig { instance_id: Some(instance.into()), ..config(&group, &[&topic]) };
        Member::start(&cluster, config, number, &owners)
    };
    let leader = start(0, "one");
    owners.settle(&[(0, 4)]).await;
    let _follower = start(1, "two");
    owners.settle(&[(0, 2), (1, 2)]).await;
    let generation = owners.generation(1);
    leader.leave().await;
    assert_eq!(owners.counts(), BTreeMap::from([(1, 2)]));
    let _returned = start(0, "one");
    owners.settle(&[(0, 2), (1, 2)]).await;
    assert_eq!((owners.generation(0), owners.generation(1)), (generation, generation));

    // A second process under the same instance id fences the first.
    let _usurper = start(2, "two");
    let error = owners.failure().await;
    assert_eq!(error.code(), Some(ErrorCode::FENCED_INSTANCE_ID));
    assert!(error.is_fatal() && error.to_string().contains("two"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_coordinator_refuses_for_good_fails_with_advice() {
    let Some(kafka) = tokio::task::block_in_place(kafka) else { return };
    let cluster = cluster(kafka).await;
    let (topic, group) = (unique("t"), unique("g"));
    create_topic(&cluster, &topic, 1).await;

    // Beyond the broker's group.max.session.timeout.ms of 30 minutes.
    let long = Arc::new(Owners::default());
    let session_timeout = Duration::from_secs(3_600);
    let _long = Member::start(&cluster, GroupConfig { session_timeout, ..config(&group, &[&topic]) }, 0, &long);
    let error = long.failure().await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Group, Some(ErrorCode::INVALID_SESSION_TIMEOUT)));

    let owners = Arc::new(Owners::default());
    let _range = Member::start(&cluster, config(&group, &[&topic]), 0, &owners);
    owners.settle(&[(0, 1)]).await;
    let assignors = vec![Assignor::RoundRobin];
    let stranger = Member::start(&cluster, GroupConfig { assignors, ..config(&group, &[&topic]) }, 1, &owners);
    let error = owners.failure().await;
    assert_eq!(error.code(), Some(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
    assert!(error.to_string().contains("[roundrobin]"), "{error}");
    stranger.handle.leave().await;
    assert_eq!(stranger.handle.committed(&[]).await.unwrap_err().kind(), ErrorKind::Closed);
}
