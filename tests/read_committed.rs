//! Topics that are not plain rows of messages: transactions with aborts, and compaction. Exactly the right messages come,
//! lag reaches 0, and nothing spins at the end.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use common::ours::{self, MemberProcess, Reading};
use common::tools::Stored;
use common::{KAFKA_3, KAFKA_4, check, librdkafka, tools, unique};
use dispatcher_testcontainers::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn aborted_messages_are_not_seen_and_lag_reaches_zero() {
    for version in [KAFKA_4, KAFKA_3] {
        let Some(python) = librdkafka::python_or_skip() else { return };
        let Some(kafka) = Kafka::builder().version(version).shared_or_skip() else { return };
        let topic = unique("transactions");
        tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 3, 1, &[]);
        let expected = librdkafka::write(&python, &["transactions", kafka.bootstrap(), &topic, "150"]);
        assert!(expected.len() > 500);
        exactly_these_come(kafka.bootstrap(), &topic, &expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_gives_what_is_left_of_it() {
    let Some(python) = librdkafka::python_or_skip() else { return };
    let kafka = Kafka::builder().version(KAFKA_4).property("log.cleaner.backoff.ms", 200);
    let Some(kafka) = kafka.start_or_skip() else { return };
    let topic = unique("compacted");
    let configs =
        ["cleanup.policy=compact", "segment.ms=200", "min.cleanable.dirty.ratio=0.01", "segment.bytes=1048576"];
    tools::create_topic(kafka.tools(), &kafka.bootstrap(), &topic, 2, 1, &configs);
    let written = librdkafka::write(&python, &["updates", &kafka.bootstrap(), &topic, "3000", "50"]);
    // A segment is cleaned once it is rolled, and rolled by the next write.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut left = written.len();
    while left > written.len() / 2 {
        assert!(Instant::now() < deadline, "the cleaner left {left} of {}", written.len());
        tokio::time::sleep(Duration::from_millis(500)).await;
        librdkafka::write(&python, &["updates", &kafka.bootstrap(), &topic, "50", "50"]);
        left = seen_by_kafka(&kafka, &topic).len();
    }
    // Let the cleaner come to rest: what Kafka's own consumer sees twice in a row is what there is.
    let mut expected = seen_by_kafka(&kafka, &topic);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let again = seen_by_kafka(&kafka, &topic);
        if again == expected {
            break;
        }
        expected = again;
    }
    exactly_these_come(&kafka.bootstrap(), &topic, &expected).await;
}

fn seen_by_kafka(kafka: &Kafka, topic: &str) -> Vec<Stored> {
    let mut seen = tools::read_to_end(kafka.tools(), &kafka.bootstrap(), topic, "read_committed");
    seen.sort();
    seen
}

async fn exactly_these_come(bootstrap: &str, topic: &str, expected: &[Stored]) {
    let group = unique("exactly");
    let log = std::env::temp_dir().join(unique("dispatcher-log"));
    // A process of its own, so that its CPU time is its own.
    let member = MemberProcess::start(bootstrap, topic, &group, &Reading::default(), &log);
    let dispatcher = ours::connect(bootstrap).await;
    let assigned = async || !ours::committed(&dispatcher, topic, &group).await.is_empty();
    common::eventually("the first commit", Duration::from_secs(60), assigned).await;
    ours::until_lag_is_zero(&dispatcher, topic, &group, Duration::from_secs(60)).await;
    let seen: BTreeSet<_> = check::finished(&[member.log()]).into_iter().collect();
    let wanted: BTreeSet<_> = expected.iter().map(|record| ((record.partition, record.offset), 1)).collect();
    assert_eq!(seen.len(), wanted.len());
    assert_eq!(seen, wanted);

    let idle = Duration::from_secs(5);
    let before = common::process::cpu(member.pid());
    tokio::time::sleep(idle).await;
    if let (Some(before), Some(after)) = (before, common::process::cpu(member.pid())) {
        let share = (after - before).as_secs_f64() / idle.as_secs_f64();
        println!("idle at the end of {topic}: {:.2} % of a core", share * 100.0);
        assert!(share < 0.03, "idle at the end, it takes {:.1} % of a core", share * 100.0);
    }
    tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    let _ = std::fs::remove_file(Path::new(&log));
}

/// Not a test: a member of the group in a process of its own, when [`MemberProcess`] asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn member_process() {
    ours::run_member_process().await;
}
