//! Commits and look-ups.

use super::*;

fn at(offset: i64, metadata: &str) -> CommitOffset {
    CommitOffset { offset, leader_epoch: -1, metadata: metadata.into() }
}

async fn look(member: &Member, of: &[TopicPartition]) -> Vec<(TopicPartition, Option<Committed>)> {
    member.handle.committed(of).await.unwrap().into_iter().map(|(tp, found)| (tp, found.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_the_owner_are_kept_and_those_of_others_refused() {
    let Some(kafka) = tokio::task::block_in_place(kafka) else { return };
    let cluster = cluster(kafka).await;
    let (topic, other, group) = (unique("t"), unique("other"), unique("g"));
    create_topic(&cluster, &topic, 2).await;
    create_topic(&cluster, &other, 1).await;
    let owners = Arc::new(Owners::default());
    let member = Member::start(&cluster, config(&group, &[&topic]), 0, &owners);
    owners.settle(&[(0, 2)]).await;
    let tp = |n| TopicPartition::new(topic.as_str(), n);
    let foreign = TopicPartition::new(other.as_str(), 0);

    let codes = member.handle.commit(vec![(tp(0), at(5, "five")), (foreign.clone(), at(1, ""))]).await.unwrap();
    let codes = BTreeMap::from_iter(codes);
    assert_eq!(codes, BTreeMap::from([(tp(0), ErrorCode::NONE), (foreign, ErrorCode::ILLEGAL_GENERATION)]));
    let committed = look(&member, &[tp(0), tp(1)]).await;
    let five = Committed { offset: 5, leader_epoch: -1, metadata: "five".into() };
    assert_eq!(committed, [(tp(0), Some(five)), (tp(1), None)]);

    let commits = (0..50).map(|n| member.handle.commit(vec![(tp(0), at(100 + n, "")), (tp(1), at(n, ""))]));
    for codes in futures_util::future::join_all(commits).await {
        assert!(codes.unwrap().iter().all(|(_, code)| *code == ErrorCode::NONE));
    }
    let committed = look(&member, &[tp(0), tp(1)]).await;
    let offsets: Vec<_> = committed.into_iter().map(|(_, c)| c.map(|c| c.offset)).collect();
    assert_eq!(offsets, [Some(149), Some(49)]);

    let too_long = member.handle.commit(vec![(tp(0), at(200, &"x".repeat(5000)))]).await.unwrap();
    assert_eq!(too_long, [(tp(0), ErrorCode::OFFSET_METADATA_TOO_LARGE)]);

    let handle = member.handle.clone();
    member.leave().await;
    assert_eq!(handle.commit(vec![(tp(0), at(201, ""))]).await.unwrap_err().kind(), ErrorKind::Closed);
}
