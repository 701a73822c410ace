//! Brokers that die under a group.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_keeps_its_partitions_through_the_death_and_return_of_its_coordinator() {
    // A broker is let in again only when its former self has been given up.
    let builder = Kafka::builder().property("broker.session.timeout.ms", 6_000);
    let Some(kafka) = tokio::task::block_in_place(|| builder.start_or_skip()) else { return };
    let config = ClientConfig { brokers: vec![kafka.bootstrap()], ..ClientConfig::default() };
    let cluster = Cluster::connect(config, Env::system()).await.unwrap();
    create_topic(&cluster, "t", 2).await;
    let owners = Arc::new(Owners::default());
    let defaults =
        GroupConfig { heartbeat_interval: Duration::from_millis(500), ..GroupConfig::new("g", ["t".into()]) };
    let member = Member::start(&cluster, defaults, 0, &owners);
    owners.settle(&[(0, 2)]).await;
    let generation = owners.generation(0);

    kafka.broker(0).kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tp = TopicPartition::new("t", 0);
    let offset = CommitOffset { offset: 3, leader_epoch: -1, metadata: String::new() };
    let (handle, commit) = (member.handle.clone(), vec![(tp.clone(), offset)]);
    let commit = tokio::spawn(async move { handle.commit(commit).await });
    tokio::task::block_in_place(|| kafka.broker(0).restart());
    assert_eq!(commit.await.unwrap().unwrap(), [(tp.clone(), ErrorCode::NONE)], "sent again until it arrived");
    let committed = member.handle.committed(&[tp]).await.unwrap();
    assert_eq!(committed[0].1.as_ref().unwrap().as_ref().map(|c| c.offset), Some(3));
    assert_eq!((owners.counts(), owners.generation(0)), (BTreeMap::from([(0, 2)]), generation), "nothing was lost");

    kafka.broker(0).kill();
    let begun = Instant::now();
    member.leave().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "leaving a dead broker took {:?}", begun.elapsed());
}
