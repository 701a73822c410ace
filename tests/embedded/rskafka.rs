//! The other backend as a service would use it: what the library builds on top of partitions is there over it as well. In
//! real time, for rskafka makes its own connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dispatcher::embedded::{Api, EmbeddedCluster, Fault};
use dispatcher::{
    Backend, CallbackError, Compression, Dispatcher, Error, ErrorKind, Message, OnFailure, Outcome, RetryPolicy,
};

const SOON: Duration = Duration::from_secs(20);

async fn connect(cluster: &EmbeddedCluster) -> Dispatcher {
    let builder = Dispatcher::builder(cluster.brokers()).backend(Backend::Rskafka);
    builder.topic_compression("orders", Compression::Gzip).trace_context(true).connect().await.unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"));
}

/// Fails for every payload with `bad` in it.
async fn handle(message: Message) -> Result<(), std::io::Error> {
    let bad = String::from_utf8_lossy(message.value().unwrap_or_default()).contains("bad");
    if bad { Err(std::io::Error::other("no beans")) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_rskafka_receipts_callback_errors_retry_topics_and_dead_letters_are_what_they_are_elsewhere() {
    let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 6).start().await.unwrap();
    let dispatcher = connect(&cluster).await;
    let asked = Arc::new(Mutex::new(String::new()));
    let requests = asked.clone();
    cluster.observe(move |event| {
        if event.api == Api::CreateTopics {
            requests.lock().unwrap().push_str(&String::from_utf8_lossy(&event.request));
        }
    });
    let policy = RetryPolicy::new(1).through_topics([Duration::from_millis(200)]).dead_letter("dead");
    let subscribe = dispatcher.subscribe("orders", handle).group("kitchen").concurrency(8);
    let kitchen = subscribe.on_failure(OnFailure::Retry(policy)).start().await.unwrap();
    let asked = asked.lock().unwrap().clone();
    assert!(asked.contains(".retry.1") && asked.contains("retention.ms"), "{asked}");

    let receipt = dispatcher.send("orders", "espresso").key("table 4").receipt(SOON).await.unwrap();
    assert_eq!((receipt.group(), receipt.outcome()), ("kitchen:orders", &Outcome::Ok));
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = told.clone();
    let watch = move |failure: CallbackError| {
        into.lock().unwrap().push(failure.error().to_owned());
        std::future::ready(())
    };
    let bad = dispatcher.send("orders", "a bad one").header("shop", "7").watch_errors(watch);
    assert_eq!(bad.receipt(SOON).await.unwrap().outcome(), &Outcome::Failed("no beans".into()));
    eventually("the watcher is told", async || *told.lock().unwrap() == ["no beans"]).await;

    let letters = || (0..12).flat_map(|p| cluster.records("dead", p)).collect::<Vec<_>>();
    eventually("a dead letter", async || letters().len() == 1).await;
    // Removed while in use: made again, and written to.
    assert!(cluster.delete_topic("dead"));
    dispatcher.send("orders", "another bad one").await.unwrap();
    eventually("a dead letter in the topic made again", async || letters().len() == 1).await;
    let value = letters()[0].value.clone();
    assert_eq!(value.as_deref(), Some(&b"another bad one"[..]));
    eventually("no lag", async || {
        dispatcher.consume_status_exact("orders", "kitchen:orders").await.unwrap().total_lag() == 0
    })
    .await;
    assert_eq!(kitchen.stop().await.unwrap().unfinished(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_rskafka_a_topic_made_again_with_fewer_partitions_is_written_to_and_read_by_those_who_knew_it() {
    let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 8).start().await.unwrap();
    let dispatcher = connect(&cluster).await;
    let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let into = seen.clone();
    let handler = move |message: Message| {
        let text = String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned();
        *into.lock().unwrap().entry(text).or_default() += 1;
        async { Ok::<_, Error>(()) }
    };
    let reader = dispatcher.subscribe("orders", handler).group("g").start().await.unwrap();
    let topic = dispatcher.topic("orders").await.unwrap();
    for count in [8, 2, 5] {
        if count != 8 {
            assert!(cluster.delete_topic("orders"));
            cluster.create_topic("orders", count, &[]).unwrap();
        }
        let mut written = 0;
        for n in 0..40 {
            let text = format!("{count} {n}");
            // What waits for a partition that has gone fails; what comes after that does not.
            let Ok(report) = topic.send(text.clone()).key(text.clone()).await else { continue };
            assert!(report.partition() < count, "{report:?} of {count}");
            written += 1;
        }
        assert!(written >= 39, "{written} of 40 with {count} partitions");
        let all = async || seen.lock().unwrap().keys().filter(|text| text.starts_with(&format!("{count} "))).count();
        eventually("all are handled", async || all().await == written).await;
    }
    reader.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_rskafka_a_send_ends_at_its_deadline_and_says_whether_it_was_on_its_way() {
    let cluster = EmbeddedCluster::builder().topic("t", 1).start().await.unwrap();
    let limit = Duration::from_secs(2);
    let builder = Dispatcher::builder(cluster.brokers()).backend(Backend::Rskafka).create_topics(false);
    let dispatcher = builder.delivery_timeout(limit).request_timeout(limit).connect().await.unwrap();
    dispatcher.send("t", "0").await.unwrap();
    let ends = async |kind| {
        let begun = Instant::now();
        let error = tokio::time::timeout(SOON, async { dispatcher.send("t", "x").await }).await.unwrap().unwrap_err();
        let took = begun.elapsed();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(took >= limit && took < limit + Duration::from_millis(900), "{kind:?} after {took:?}");
    };
    cluster.inject(Fault::on(Api::Produce).always().silence());
    ends(ErrorKind::MaybeWritten).await;
    cluster.stop_broker(1);
    // What was on its way has ended by now, or does so soon.
    tokio::time::sleep(limit).await;
    ends(ErrorKind::NotWritten).await;
}
