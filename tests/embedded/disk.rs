//! A data directory: what the next cluster on it finds.

use std::path::PathBuf;
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedBuilder, EmbeddedCluster, Fault};
use dispatcher::{Dispatcher, ErrorKind};

use super::{numbers, read, send, values, within};

/// Removed with everything in it at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dispatcher-embedded-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    async fn start(&self) -> (EmbeddedCluster, Dispatcher) {
        self.start_with(EmbeddedCluster::builder()).await
    }

    async fn start_with(&self, builder: EmbeddedBuilder) -> (EmbeddedCluster, Dispatcher) {
        let cluster = builder.in_memory().topic("t", 1).data_dir(&self.0).start().await.unwrap();
        let dispatcher = super::connect(&cluster).await;
        (cluster, dispatcher)
    }

    fn log(&self) -> PathBuf {
        self.0.join("logs").join("t-0")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn topics_records_and_commits_are_found_again() {
    let dir = Dir::new("again");
    let (cluster, dispatcher) =
        dir.start_with(EmbeddedCluster::builder().topic_with("u", 2, 1, &[("retention.ms", "-1")])).await;
    send(&dispatcher, 0..5).await;
    dispatcher.send("u", "x").key("k").header("h", "v").partition(1).await.unwrap();
    assert_eq!(read(&dispatcher, "t", "g").await.len(), 5);
    send(&dispatcher, 5..8).await;
    let id = dispatcher.describe_topic("u").await.unwrap().id();
    let before = cluster.records("u", 1);
    drop((cluster, dispatcher));

    let (cluster, dispatcher) = dir.start().await;
    assert_eq!(values(&cluster, "t", 0), numbers(0..8));
    assert_eq!(cluster.records("u", 1), before);
    let info = dispatcher.describe_topic("u").await.unwrap();
    assert_eq!((info.id(), info.partitions()), (id, 2));
    assert_eq!(cluster.committed("g", "t", 0), Some(5));
    assert_eq!(read(&dispatcher, "t", "g").await, numbers(5..8));
    assert_eq!(dispatcher.send("t", "8").await.unwrap().offset(), Some(8));

    assert!(cluster.delete_topic("u"));
    drop((cluster, dispatcher));
    let (cluster, _) = dir.start().await;
    assert_eq!(cluster.partition("u", 0), None);
    assert_eq!(values(&cluster, "t", 0), numbers(0..9));
}

#[tokio::test]
async fn files_that_are_not_its_own_stay() {
    let dir = Dir::new("strangers");
    std::fs::create_dir_all(&dir.0).unwrap();
    let strange = dir.0.join("service-1.log");
    std::fs::write(&strange, "not ours").unwrap();
    let (cluster, dispatcher) = dir.start().await;
    send(&dispatcher, 0..1).await;
    assert!(cluster.delete_topic("t"));
    drop((cluster, dispatcher));
    dir.start().await;
    assert_eq!(std::fs::read_to_string(strange).unwrap(), "not ours");
}

#[tokio::test]
async fn more_partitions_than_files_may_be_open_and_names_as_long_as_they_may_be() {
    let dir = Dir::new("many");
    let long = "n".repeat(249);
    let (cluster, dispatcher) = dir.start_with(EmbeddedCluster::builder().topic(&long, 300)).await;
    for round in 0..2 {
        for partition in 0..300 {
            dispatcher.send(&long, round.to_string()).partition(partition).await.unwrap();
        }
    }
    drop((cluster, dispatcher));
    let (cluster, _) = dir.start().await;
    assert!((0..300).all(|partition| values(&cluster, &long, partition) == numbers(0..2)));
}

#[tokio::test]
async fn one_cluster_at_a_time_uses_it() {
    let dir = Dir::new("lock");
    let (cluster, _) = dir.start().await;
    let error = EmbeddedCluster::builder().in_memory().data_dir(&dir.0).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("another cluster is using it"), "{error}");
    drop(cluster);
    dir.start().await;
}

/// A retry that comes after the restart is recognised: the client outlives the broker.
#[tokio::test]
async fn a_producer_goes_on_over_a_restart_and_writes_nothing_twice() {
    let dir = Dir::new("idempotent");
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let builder = || EmbeddedCluster::builder().topic("t", 1).listen(&listen).data_dir(&dir.0);
    let cluster = builder().start().await.unwrap();
    let dispatcher = Dispatcher::builder([&*listen]).create_topics(false).connect().await.unwrap();
    send(&dispatcher, 0..5).await;
    cluster.inject(Fault::on(Api::Produce).silence());
    cluster.inject(Fault::on(Api::Produce).always().drop_after());
    // Written, and not acknowledged before the cluster ends.
    cluster.clear_faults();
    cluster.inject(Fault::on(Api::Produce).times(3).drop_after());
    let delivery = dispatcher.send("t", "5").partition(0).enqueue().await.unwrap();
    super::eventually("it is written", Duration::from_secs(10), || cluster.records("t", 0).len() == 6).await;
    drop(cluster);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let cluster = super::within("a start", async {
        loop {
            match builder().start().await {
                Ok(cluster) => break cluster,
                Err(e) if e.kind() == ErrorKind::Connection => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(e) => panic!("{e}"),
            }
        }
    })
    .await;
    let report = within("the delivery", delivery).await.unwrap();
    assert!(report.offset().is_none_or(|offset| offset == 5), "{report:?}");
    send(&dispatcher, 6..10).await;
    assert_eq!(values(&cluster, "t", 0), numbers(0..10), "I");
}

#[tokio::test]
async fn a_tail_that_was_not_written_whole_is_dropped() {
    for cut in [1, 30, 75] {
        let dir = Dir::new(&format!("torn-{cut}"));
        let (cluster, dispatcher) = dir.start().await;
        send(&dispatcher, 0..5).await;
        drop((cluster, dispatcher));
        let whole = std::fs::read(dir.log()).unwrap();
        std::fs::write(dir.log(), &whole[..whole.len() - cut]).unwrap();
        let (cluster, dispatcher) = dir.start().await;
        assert_eq!(values(&cluster, "t", 0), numbers(0..4), "{cut} bytes");
        send(&dispatcher, 4..6).await;
        drop((cluster, dispatcher));
        let (cluster, _) = dir.start().await;
        assert_eq!(values(&cluster, "t", 0), numbers(0..6), "{cut} bytes");
    }
}

#[tokio::test]
async fn a_batch_that_was_spoilt_ends_the_log() {
    let dir = Dir::new("spoilt");
    let (cluster, dispatcher) = dir.start().await;
    send(&dispatcher, 0..5).await;
    drop((cluster, dispatcher));
    let mut bytes = std::fs::read(dir.log()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(dir.log(), bytes).unwrap();
    let (cluster, _) = dir.start().await;
    assert_eq!(values(&cluster, "t", 0), numbers(0..4));
}

#[tokio::test]
async fn what_was_deleted_or_compacted_stays_so() {
    let dir = Dir::new("deleted");
    let (cluster, dispatcher) = dir.start().await;
    // One batch: the log begins in the middle of it.
    let mut deliveries = Vec::new();
    for n in 0..10 {
        deliveries.push(dispatcher.send("t", n.to_string()).partition(0).enqueue().await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    cluster.delete_records("t", 0, 5);
    assert_eq!(values(&cluster, "t", 0), numbers(5..10));
    drop((cluster, dispatcher));

    let (cluster, dispatcher) = dir.start().await;
    assert_eq!(values(&cluster, "t", 0), numbers(5..10));
    assert_eq!(read(&dispatcher, "t", "g").await, numbers(5..10));
    cluster.delete_records("t", 0, i64::MAX);
    drop((cluster, dispatcher));

    let (cluster, dispatcher) = dir.start().await;
    let stands = cluster.partition("t", 0).unwrap();
    assert_eq!((stands.log_start, stands.log_end), (10, 10));
    for n in 10..14 {
        dispatcher.send("t", n.to_string()).key("k").await.unwrap();
    }
    dispatcher.send("t", None::<&str>).key("k").await.unwrap();
    cluster.compact("t");
    drop((cluster, dispatcher));

    let (cluster, dispatcher) = dir.start().await;
    assert!(cluster.records("t", 0).is_empty());
    assert_eq!(dispatcher.send("t", "15").await.unwrap().offset(), Some(15), "no offset comes twice");
}

#[tokio::test]
async fn what_a_new_leader_lacked_does_not_come_back_and_epochs_go_on() {
    let dir = Dir::new("truncated");
    let (cluster, dispatcher) = dir.start_with(EmbeddedCluster::builder().brokers(3)).await;
    send(&dispatcher, 0..2).await;
    cluster.pause_replication("t", 0);
    let lost = dispatcher.send("t", "lost").partition(0).enqueue().await.unwrap();
    super::eventually("it is written", Duration::from_secs(10), || cluster.records("t", 0).len() == 3).await;
    drop((lost, dispatcher));
    let leader = cluster.leader("t", 0).unwrap();
    assert!(cluster.move_leader("t", 0, leader % 3 + 1));
    cluster.resume_replication("t", 0);
    (0..3).for_each(|n| _ = cluster.move_leader("t", 0, n + 1));
    let epoch = cluster.partition("t", 0).unwrap().leader_epoch;
    let kept = values(&cluster, "t", 0);
    let dispatcher = super::connect(&cluster).await;
    send(&dispatcher, 7..8).await;
    drop((cluster, dispatcher));

    let (cluster, _) = dir.start_with(EmbeddedCluster::builder().brokers(3)).await;
    assert_eq!(values(&cluster, "t", 0), [&kept[..], &["7".to_owned()]].concat());
    assert!(cluster.partition("t", 0).unwrap().leader_epoch > epoch);
}

#[tokio::test]
async fn what_had_to_go_for_memory_stays_away() {
    let dir = Dir::new("memory");
    let small = || EmbeddedCluster::builder().max_memory(50_000);
    let (cluster, dispatcher) = dir.start_with(small()).await;
    for _ in 0..200 {
        dispatcher.send("t", vec![b'x'; 1000]).await.unwrap();
    }
    let (stands, records) = (cluster.partition("t", 0).unwrap(), cluster.records("t", 0));
    assert!(stands.log_start > 100, "{stands:?}");
    drop((cluster, dispatcher));
    let (cluster, _) = dir.start_with(small()).await;
    let again = cluster.partition("t", 0).unwrap();
    assert_eq!((again.log_start, again.log_end), (stands.log_start, stands.log_end));
    assert_eq!(cluster.records("t", 0), records);
}

#[tokio::test]
async fn a_smaller_cluster_takes_over() {
    let dir = Dir::new("smaller");
    let (cluster, dispatcher) = dir.start_with(EmbeddedCluster::builder().brokers(3)).await;
    send(&dispatcher, 0..3).await;
    drop((cluster, dispatcher));
    let (cluster, dispatcher) = dir.start().await;
    assert_eq!(cluster.leader("t", 0), Some(1));
    send(&dispatcher, 3..4).await;
    assert_eq!(read(&dispatcher, "t", "g").await, numbers(0..4));
}
