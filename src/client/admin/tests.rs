#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use dispatcher_testcontainers::Kafka;

use super::*;
use crate::client::ClientConfig;
use crate::env::Env;
use crate::error::ErrorKind;

/// A real cluster, if there can be one.
async fn real() -> Option<NativeAdmin> {
    let kafka = tokio::task::block_in_place(|| Kafka::builder().shared_or_skip())?;
    let brokers = kafka.bootstrap().split(',').map(Into::into).collect();
    let config = ClientConfig { brokers, ..ClientConfig::default() };
    Some(NativeAdmin::new(Cluster::connect(config, Env::system()).await.unwrap()))
}

fn unique(name: &str) -> String {
    let env = Env::system();
    format!("admin-{name}-{:08x}", env.random(|rng| rng.u32(..)))
}

fn new_topic(name: &str, partitions: i32) -> NewTopic {
    let configs = vec![("retention.ms".into(), "123456".into())];
    NewTopic { name: name.into(), partitions: Some(partitions), replicas: Some(1), configs }
}

fn only<K, T>(mut each: Each<K, T>) -> Result<T> {
    assert_eq!(each.len(), 1);
    each.pop().unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_lives_and_dies_on_a_real_cluster() {
    let Some(admin) = real().await else { return };
    let name = unique("topic");
    let topic: TopicName = name.as_str().into();
    assert_eq!(admin.cluster.find_topic(&name).await.unwrap(), None);
    only(admin.create_topics(&[new_topic(&name, 3)]).await.unwrap()).unwrap();
    let again = only(admin.create_topics(&[new_topic(&name, 3)]).await.unwrap()).unwrap_err();
    assert_eq!(again.code(), Some(crate::wire::ErrorCode::TOPIC_ALREADY_EXISTS));

    let meta = admin.cluster.topic(&name).await.unwrap();
    assert_eq!(meta.partitions.len(), 3);
    assert!(!meta.id.is_zero());
    let listed = admin.list_topics(Some(std::slice::from_ref(&topic))).await.unwrap();
    assert_eq!((listed[0].partitions, listed[0].replicas, listed[0].id), (3, 1, meta.id));
    assert!(admin.list_topics(None).await.unwrap().iter().any(|t| t.name == topic));
    let configs = admin.describe_configs(&ConfigsOf::Topic(topic.clone()), Some(&["retention.ms"])).await.unwrap();
    assert_eq!(configs["retention.ms"].as_deref(), Some("123456"));

    let partitions: Vec<_> = (0..3).map(|p| TopicPartition::new(topic.clone(), p)).collect();
    for at in [OffsetAt::Earliest, OffsetAt::Latest] {
        for (_, found) in admin.list_offsets(&partitions, at, Isolation::ReadCommitted).await.unwrap() {
            let position = found.unwrap().unwrap();
            assert_eq!((position.offset, position.topic_id), (0, meta.id));
        }
    }
    let none = admin.list_offsets(&partitions, OffsetAt::Timestamp(0), Isolation::ReadUncommitted).await.unwrap();
    assert!(none.into_iter().all(|(_, found)| found.unwrap().is_none()));
    let beyond = [TopicPartition::new(topic.clone(), 7)];
    let error = only(admin.list_offsets(&beyond, OffsetAt::Latest, Isolation::ReadCommitted).await.unwrap());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::UnknownTopic);
    let asked: Vec<_> = partitions.iter().map(|tp| (tp.clone(), 0)).collect();
    for (_, end) in admin.epoch_ends(&asked).await.unwrap() {
        assert_eq!(end.unwrap().end_offset, 0);
    }

    let begun = admin.cluster.env().now();
    only(admin.delete_topics(std::slice::from_ref(&topic)).await.unwrap()).unwrap();
    let gone = only(admin.delete_topics(std::slice::from_ref(&topic)).await.unwrap());
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::UnknownTopic);
    // A broker's metadata trails the controller's by a moment.
    while admin.cluster.wait_for_topic(&name, Duration::from_millis(100)).await.is_ok() {
        assert!(admin.cluster.env().now() - begun < Duration::from_secs(10), "the deleted topic stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let begun = admin.cluster.env().now();
    let error = admin.cluster.wait_for_topic(&name, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    assert!(admin.cluster.env().now() - begun < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_committed_for_described_and_deleted_on_a_real_cluster() {
    let Some(admin) = real().await else { return };
    let (group, name) = (unique("group"), unique("group-topic"));
    only(admin.create_topics(&[new_topic(&name, 2)]).await.unwrap()).unwrap();
    admin.cluster.topic(&name).await.unwrap();
    let partitions: Vec<_> = (0..2).map(|p| TopicPartition::new(name.as_str(), p)).collect();
    let before = admin.committed_offsets(&group, Some(&partitions), true).await.unwrap();
    assert!(before.len() == 2 && before.iter().all(|(_, c)| matches!(c, Ok(None))), "{before:?}");

    let offset = CommittedOffset { offset: 7, leader_epoch: 0, metadata: "m".into() };
    only(admin.commit_offsets(&group, &[(partitions[1].clone(), offset.clone())]).await.unwrap()).unwrap();
    let all = admin.committed_offsets(&group, None, false).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1.as_ref().unwrap(), &Some(offset));

    assert!(admin.list_groups().await.unwrap().iter().any(|g| g.group == group));
    let described = only(admin.describe_groups(std::slice::from_ref(&group)).await.unwrap()).unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Empty", 0));
    only(admin.delete_groups(std::slice::from_ref(&group)).await.unwrap()).unwrap();
    let described = only(admin.describe_groups(std::slice::from_ref(&group)).await.unwrap()).unwrap();
    assert_eq!(described.state, "Dead");
    let topic: TopicName = Arc::from(name.as_str());
    only(admin.delete_topics(&[topic]).await.unwrap()).unwrap();
}

/// One partition has no leader, the leader of another does not answer.
#[tokio::test(start_paused = true)]
async fn offsets_that_are_asked_for_once_do_not_wait_for_those_that_cannot_be_had() {
    use crate::client::testing::Fake;
    use crate::wire::messages::list_offsets::{ResponsePartition, ResponseTopic};
    use crate::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

    let fake = Fake::new(3);
    fake.topic("t", 1, &[(1, 0), (-1, 0), (2, 0)]);
    fake.on(|_, request: ListOffsetsRequest| {
        let topic = |t: crate::wire::messages::list_offsets::RequestTopic| ResponseTopic {
            name: t.name,
            partitions: t
                .partitions
                .into_iter()
                .map(|p| ResponsePartition { partition_index: p.partition_index, offset: 7, ..Default::default() })
                .collect(),
        };
        ListOffsetsResponse { topics: request.topics.into_iter().map(topic).collect(), ..Default::default() }
    });
    let cluster = fake.connect().await;
    // It takes connections and says nothing.
    fake.kill(9002);
    fake.net.listen("kafka", 9002, |peer| async move {
        let _open = peer;
        std::future::pending::<()>().await;
    });
    let (env, admin) = (cluster.env().clone(), NativeAdmin::new(cluster));
    let partitions: Vec<_> = (0..3).map(|p| TopicPartition::new("t", p)).collect();
    let begun = env.now();
    let patience = Duration::from_secs(1);
    let found =
        admin.list_offsets_once(&partitions, OffsetAt::Latest, Isolation::ReadUncommitted, patience).await.unwrap();
    let took = env.now() - begun;
    assert!((patience..patience + patience / 10).contains(&took), "{took:?}");
    let offsets: Vec<_> = found.iter().map(|(_, f)| f.as_ref().map(|f| f.map(|p| p.offset)).ok()).collect();
    assert_eq!(offsets, [Some(Some(7)), None, None]);
    assert!(found[1..].iter().all(|(_, f)| f.as_ref().is_err_and(crate::Error::is_retriable)));
    // Without a silent leader it takes no time at all.
    let begun = env.now();
    let two = &partitions[..2];
    admin.list_offsets_once(two, OffsetAt::Latest, Isolation::ReadUncommitted, patience).await.unwrap();
    assert!(env.now() - begun < patience / 10);
}
