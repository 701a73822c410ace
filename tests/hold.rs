//! `Hold`: a failed message is never passed by a commit, and after a restart exactly the failed and unfinished come again.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::ours::{self, Member, Reading};
use common::{KAFKA_4, check, scaled, tools, unique};
use dispatcher::OnFailure;
use dispatcher_testcontainers::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_never_passes_a_held_message_and_only_held_ones_come_again() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let (topic, group) = (unique("hold"), unique("hold"));
    // More than max_held per partition would pause the intake.
    let count = scaled(100_000).min(100_000);
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 12, 1, &[]);
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    let sent = ours::send_all(&dispatcher, &topic, count, 5_000, 100).await;
    assert_eq!(sent.places.len(), count);

    let reading = Reading {
        concurrency: 64,
        on_failure: OnFailure::Hold,
        fail_every: 100,
        // Long enough for many looks at the commits.
        work: Duration::from_millis(5),
        ..Reading::default()
    };
    let first = Member::start(kafka.bootstrap(), &topic, &group, &reading).await;
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut polls = 0;
    while first.log.len() < 2 * count {
        assert!(Instant::now() < deadline, "{} events of {}", first.log.len(), 2 * count);
        let committed = ours::committed(&dispatcher, &topic, &group).await;
        check::commits_do_not_pass_unfinished(&committed, &sent.places, std::slice::from_ref(&first.log));
        polls += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let log = first.log.clone();
    first.stop().await;
    let committed = ours::committed(&dispatcher, &topic, &group).await;
    check::commits_do_not_pass_unfinished(&committed, &sent.places, std::slice::from_ref(&log));
    let done: BTreeSet<_> = check::finished(std::slice::from_ref(&log)).into_keys().collect();
    let left: BTreeSet<_> = sent.places.iter().copied().filter(|place| !done.contains(place)).collect();
    assert_eq!(left, check::failed(std::slice::from_ref(&log)));
    assert!(left.len() >= count / 100, "{} failed", left.len());
    println!("{polls} polls of the committed offsets; {} of {count} held", left.len());

    let reading = Reading { fail_every: 0, ..reading };
    let second = Member::start(kafka.bootstrap(), &topic, &group, &reading).await;
    ours::until_lag_is_zero(&dispatcher, &topic, &group, Duration::from_secs(60)).await;
    let again = check::finished(std::slice::from_ref(&second.log));
    assert_eq!(again.keys().copied().collect::<BTreeSet<_>>(), left, "exactly the held ones come again");
    assert!(again.values().all(|times| *times == 1));
    second.stop().await;
}
