//! Subscriptions that are kept up, in virtual time: a cluster that is down at the start or for hours, and failures that are
//! counted. Needs nothing but Rust.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, ErrorKind, Resubscription};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    cluster: EmbeddedCluster,
    dispatcher: Dispatcher,
    handled: Arc<Mutex<Vec<String>>>,
    /// What the backoff was asked for.
    failures: Arc<Mutex<Vec<u32>>>,
}

impl Scene {
    async fn new() -> Self {
        let cluster = EmbeddedCluster::builder().brokers(2).topic("orders", 2).seed(7).start().await.unwrap();
        let builder = Dispatcher::builder(cluster.brokers()).network(&cluster.network());
        let dispatcher = builder.connect_lazily().unwrap();
        Self { cluster, dispatcher, handled: Arc::default(), failures: Arc::default() }
    }

    fn down(&self) {
        assert!((1..=2).all(|broker| self.cluster.stop_broker(broker)));
    }

    async fn up(&self) {
        for broker in 1..=2 {
            let _ = self.cluster.start_broker(broker).await;
        }
    }

    fn keep_up(&self, limit: u32) -> Resubscription {
        let (handled, failures) = (self.handled.clone(), self.failures.clone());
        let handler = move |text: String| {
            let bad = text.contains("bad");
            handled.lock().unwrap().push(text);
            std::future::ready(if bad { Err(std::io::Error::other("no beans")) } else { Ok(()) })
        };
        let backoff = move |count| {
            failures.lock().unwrap().push(count);
            Duration::from_secs(10)
        };
        let subscribe = self.dispatcher.subscribe("orders", handler).group("kitchen").stop_on_error();
        subscribe.resubscribe(limit, backoff).start().unwrap()
    }

    async fn until_handled(&self, count: usize) {
        let began = Instant::now();
        while self.handled.lock().unwrap().len() < count {
            assert!(began.elapsed() < HOUR, "{count} were not handled");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_may_be_down_at_the_start_and_for_hours() {
    let scene = Scene::new().await;
    scene.down();
    let kept = scene.keep_up(u32::MAX);
    assert_eq!(kept.group_id(), "kitchen:orders");
    tokio::time::sleep(2 * HOUR).await;
    assert!(!kept.is_ended() && !scene.failures.lock().unwrap().is_empty());
    scene.up().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    scene.dispatcher.send("orders", "one").await.unwrap();
    scene.until_handled(1).await;

    scene.down();
    tokio::time::sleep(3 * HOUR).await;
    scene.up().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    scene.dispatcher.send("orders", "two").await.unwrap();
    scene.until_handled(2).await;
    assert!(kept.stop().await.unwrap().is_some());
    assert_eq!(scene.cluster.group_state("kitchen:orders"), Some("Empty"));
}

#[tokio::test(start_paused = true)]
async fn the_limit_counts_failures_in_a_row_and_ends_with_the_last() {
    let scene = Scene::new().await;
    scene.down();
    let kept = scene.keep_up(3);
    let mut errors = kept.errors();
    let error = kept.join().await.unwrap_err();
    assert!(kept.is_ended());
    assert!(matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout), "{error}");
    assert_eq!(*scene.failures.lock().unwrap(), [1, 2]);
    let mut told = 0;
    let mut last = String::new();
    while let Some(failure) = errors.next().await {
        told += 1;
        last = failure.error().to_string();
    }
    assert_eq!(last, error.to_string());
    assert_eq!(told, 3, "each try, the last one too");
}

#[tokio::test(start_paused = true)]
async fn it_can_be_stopped_between_two_tries() {
    let scene = Scene::new().await;
    scene.down();
    let kept = scene.keep_up(100);
    while scene.failures.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    assert!(kept.stop().await.unwrap().is_none());
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_under_stop_ends_it_for_good() {
    let scene = Scene::new().await;
    let kept = scene.keep_up(100);
    scene.dispatcher.send("orders", "a bad one").await.unwrap();
    let error = kept.join().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert!(scene.failures.lock().unwrap().is_empty());
}

/// The topic would have three replicas, and one broker is up.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_half_up_is_waited_for_as_one_that_is_down() {
    let cluster = EmbeddedCluster::builder().brokers(3).seed(7).start().await.unwrap();
    let dispatcher = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).connect_lazily().unwrap();
    assert!(cluster.stop_broker(2) && cluster.stop_broker(3));
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |text: String| std::future::ready(told.send(text).map_err(|_| std::io::Error::other("gone")));
    let subscribe = dispatcher.subscribe("orders", handler).group("kitchen");
    let kept = subscribe.resubscribe(1_000, |_| Duration::from_secs(10)).start().unwrap();
    let mut errors = kept.errors();
    for _ in 0..3 {
        let failure = errors.next().await.unwrap();
        assert_eq!(failure.error().kind(), ErrorKind::InvalidConfig, "{failure:?}");
    }
    for broker in [2, 3] {
        cluster.start_broker(broker).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    dispatcher.send("orders", "one").await.unwrap();
    assert_eq!(hears.recv().await.unwrap(), "one");
    kept.stop().await.unwrap();
    while errors.next().await.is_some() {}

    // The same is final when it is the last of a row.
    let again = dispatcher.subscribe("other", async |_: String| Ok::<(), std::io::Error>(())).group("kitchen");
    assert!(cluster.stop_broker(2) && cluster.stop_broker(3));
    tokio::time::sleep(Duration::from_secs(120)).await;
    let kept = again.resubscribe(2, |_| HOUR).start().unwrap();
    assert_eq!(kept.join().await.unwrap_err().kind(), ErrorKind::InvalidConfig);
}

/// What its handlers say while it stops is told, and then the streams end.
#[tokio::test(start_paused = true)]
async fn its_errors_end_with_it_however_it_ends() {
    let scene = Scene::new().await;
    let handler = async |_: String| {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Err(std::io::Error::other("no beans"))
    };
    let subscribe = || scene.dispatcher.subscribe("orders", handler).group("kitchen");
    let kept = subscribe().resubscribe(5, |_| HOUR).start().unwrap();
    scene.dispatcher.send("orders", "one").await.unwrap();
    while kept.current().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    let mut errors = kept.errors();
    kept.stop().await.unwrap();
    assert!(errors.next().await.is_some_and(|e| e.error().to_string().contains("no beans")));
    assert!(errors.next().await.is_none());

    // Dropped: between two tries, and while it runs.
    scene.down();
    let kept = subscribe().resubscribe(5, |_| HOUR).start().unwrap();
    let mut errors = kept.errors();
    assert!(errors.next().await.is_some());
    drop(kept);
    assert!(errors.next().await.is_none());
    scene.up().await;
    let kept = subscribe().resubscribe(5, |_| HOUR).start().unwrap();
    let mut errors = kept.errors();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(kept.current().is_some());
    drop(kept);
    while errors.next().await.is_some() {}
    let kept = subscribe().resubscribe(5, |_| HOUR).start().unwrap();
    let mut errors = kept.errors();
    drop(kept);
    assert!(errors.next().await.is_none(), "before it began");
}

#[tokio::test(start_paused = true)]
async fn what_can_never_work_is_refused_at_once() {
    let scene = Scene::new().await;
    let handler = async |_: String| Ok::<(), std::io::Error>(());
    let never = scene.dispatcher.subscribe("orders", handler).resubscribe(0, |_| HOUR).start();
    assert_eq!(never.unwrap_err().kind(), ErrorKind::InvalidConfig);
    let bad = scene.dispatcher.subscribe("no such name", handler).resubscribe(1, |_| HOUR).start();
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::InvalidArgument);
}
