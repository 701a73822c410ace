//! Retries and dead letters on real Kafka: attempts in place, a retry topic with a delay, dead letters that Kafka's own
//! brokers take.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{KAFKA_4, ours, tools, unique};
use dispatcher::{Error, Message, OnFailure, RetryPolicy};
use dispatcher_testcontainers::Kafka;

/// Attempts of each message, and when.
type Calls = Arc<Mutex<BTreeMap<String, Vec<(u32, Instant)>>>>;

#[tokio::test(flavor = "multi_thread")]
async fn failed_messages_come_again_after_their_delay_and_end_as_dead_letters() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let (topic, dead) = (unique("retry"), unique("dead"));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 3, 1, &[]);
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    let calls = Calls::default();
    let seen = calls.clone();
    let policy = RetryPolicy::new(1).through_topics([Duration::from_secs(3)]).dead_letter(&dead);
    let subscription = dispatcher
        .subscribe(&topic, move |message: Message| {
            let text = String::from_utf8_lossy(message.value().unwrap()).into_owned();
            let attempt = message.attempt();
            let fails = match text.as_bytes()[0] {
                b'a' => false,
                b'b' => attempt < 3,
                _ => true,
            };
            seen.lock().unwrap().entry(text).or_default().push((attempt, Instant::now()));
            async move { if fails { Err("as told") } else { Ok(()) } }
        })
        .group("g")
        .concurrency(16)
        .on_failure(OnFailure::Retry(policy))
        .start()
        .await
        .unwrap();
    for n in 0..300 {
        let text = format!("{}{n}", ["a", "b", "c"][n % 3]);
        let _delivery = dispatcher.send(&topic, text).key(format!("{}", n % 20)).enqueue().await.unwrap();
    }
    dispatcher.flush().await;

    let letters = Arc::new(Mutex::new(Vec::new()));
    let into = letters.clone();
    let reader = dispatcher
        .subscribe(&dead, move |message: Message| {
            into.lock().unwrap().push(message.detach());
            async { Ok::<_, Error>(()) }
        })
        .group("reader")
        .count(100)
        .start()
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(90), reader.join()).await.unwrap().unwrap();
    assert_eq!(subscription.stop().await.unwrap().unfinished(), 0);

    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 300);
    for (text, calls) in calls.iter() {
        let attempts: Vec<_> = calls.iter().map(|c| c.0).collect();
        match text.as_bytes()[0] {
            b'a' => assert_eq!(attempts, [1]),
            b'b' => assert_eq!(attempts, [1, 2, 3]),
            _ => assert_eq!(attempts, [1, 2, 3, 4]),
        }
        if attempts.len() > 2 {
            let wait = calls[2].1 - calls[1].1;
            assert!(wait >= Duration::from_millis(2_900) && wait < Duration::from_secs(20), "{text}: {wait:?}");
        }
    }
    for letter in letters.lock().unwrap().iter() {
        let origin = letter.origin().unwrap();
        assert_eq!((origin.topic(), origin.attempts(), letter.value().unwrap()[0]), (&*topic, 4, b'c'));
        assert!(origin.error().unwrap().contains("as told"));
    }
}
