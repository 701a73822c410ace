//! One suite for the seam, whatever stands behind it: each scenario asks the native backend and rskafka's the same and
//! writes down what came of it. Both must do the same, on the embedded cluster and on real Kafka, but for what stands in
//! the table `differences`, which README repeats; an entry that is no longer true fails as well.
#![cfg(all(
    feature = "embedded",
    feature = "rskafka",
    feature = "tls",
    feature = "gzip",
    feature = "snappy",
    feature = "lz4",
    feature = "zstd"
))]

mod differences;
mod faults;
mod offsets;
mod reading;
mod settings;
mod transactions;
mod world;
mod writing;

use std::fmt::Display;

use dispatcher_testcontainers::{Kafka, SharedKafka, or_skip};

use self::differences::{DIFFERENCES, Line};
use self::world::{Side, World};
use crate::embedded::EmbeddedCluster;

/// What one backend did, line by line.
#[derive(Default)]
struct Transcript(Vec<(String, String)>);

impl Transcript {
    /// Writes down what was asked, and what came of it.
    fn say(&mut self, asked: impl Display, came: impl Display) {
        self.0.push((asked.to_string(), came.to_string()));
    }
}

/// A scenario that cannot go on shows how far it came.
impl Drop for Transcript {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.iter().rev().take(6).rev().for_each(|(asked, came)| eprintln!("  {asked}: {came}"));
        }
    }
}

/// What is not as it should be. `embedded`: so is the cluster.
fn compare(native: &Transcript, rskafka: &Transcript, embedded: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = DIFFERENCES.iter().flat_map(|difference| difference.lines);
    let mut meant: Vec<&Line> = lines.filter(|line| embedded || !line.faults).collect();
    for ((asked, ours), (theirs_asked, theirs)) in native.0.iter().zip(&rskafka.0) {
        assert_eq!(asked, theirs_asked);
        let known = meant.iter().position(|line| line.asked == asked && line.native == ours && line.rskafka == theirs);
        match known {
            _ if ours == theirs => {}
            Some(at) => drop(meant.remove(at)),
            None => wrong.push(format!("- {asked}\n    native:  {ours}\n    rskafka: {theirs}")),
        }
    }
    if native.0.len() != rskafka.0.len() {
        wrong.push(format!("{} lines of the native backend, {} of rskafka", native.0.len(), rskafka.0.len()));
    }
    wrong.extend(meant.iter().map(|gone| format!("{:?} does not differ as the table says: {gone:?}", gone.asked)));
    wrong
}

/// All scenarios that any cluster can play.
async fn play(world: &World, t: &mut Transcript) {
    settings::play(world, t).await;
    writing::play(world, t).await;
    reading::play(world, t).await;
    offsets::play(world, t).await;
    transactions::play(world, t).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_do_the_same_on_the_embedded_cluster_but_for_what_the_table_says() {
    let cluster = || EmbeddedCluster::builder().brokers(3).start();
    // One each, since faults are a cluster's.
    let (one, other) = (cluster().await.unwrap(), cluster().await.unwrap());
    let (native, rskafka) =
        (World::new(Side::Native, &one.bootstrap()).await, World::new(Side::Rskafka, &other.bootstrap()).await);
    let (mut a, mut b) = (Transcript::default(), Transcript::default());
    let run = async |world: &World, cluster: &EmbeddedCluster, t: &mut Transcript| {
        play(world, t).await;
        faults::play(world, cluster, t).await;
    };
    tokio::join!(run(&native, &one, &mut a), run(&rskafka, &other, &mut b));
    let wrong = compare(&a, &b, true);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn on_kafka(version: &str) {
    if std::env::var("KAFKA_BROKERS").is_ok_and(|brokers| !brokers.is_empty()) {
        return;
    }
    let Some(kafka): Option<SharedKafka> = or_skip(Kafka::builder().brokers(3).version(version).shared()) else {
        return;
    };
    let (native, rskafka) =
        (World::new(Side::Native, kafka.bootstrap()).await, World::new(Side::Rskafka, kafka.bootstrap()).await);
    let (mut a, mut b) = (Transcript::default(), Transcript::default());
    tokio::join!(play(&native, &mut a), play(&rskafka, &mut b));
    let wrong = compare(&a, &b, false);
    assert!(wrong.is_empty(), "Kafka {version}:\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_do_the_same_on_kafka_4_but_for_what_the_table_says() {
    on_kafka("4.2.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_do_the_same_on_kafka_3_but_for_what_the_table_says() {
    on_kafka("3.9.1").await;
}

#[test]
fn a_difference_that_is_gone_or_is_another_one_is_told() {
    let told = |ours: &str, theirs: &str| {
        let (mut native, mut rskafka) = (Transcript::default(), Transcript::default());
        native.say("TLS, as a setting", ours);
        rskafka.say("TLS, as a setting", theirs);
        compare(&native, &rskafka, false).iter().any(|line| line.contains("TLS, as a setting"))
    };
    assert!(!told("taken", "InvalidConfig"), "as the table has it");
    assert!(told("taken", "taken") && told("InvalidConfig", "InvalidConfig"));
    assert!(told("taken", "Tls"));
}

#[test]
fn readme_repeats_the_table_of_differences() {
    let readme = include_str!("../../../README.md");
    let table = readme.split_once("| with rskafka's partition clients |").expect("README has the table").1;
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<_> = DIFFERENCES.iter().map(|d| format!("| {} | {} |", d.what, d.remedy)).collect();
    assert_eq!(rows, expected);
}
