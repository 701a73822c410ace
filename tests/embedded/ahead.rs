//! How far a consumer reads ahead of its handlers, where the broker is slow to answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, Fault};
use dispatcher::{Error, Message};

use super::{connect, eventually, start, within};

const MESSAGES: usize = 200;
const SIZE: usize = 250_000;

/// In how many requests how many bytes were fetched by the time so many messages were handled.
async fn handle(work: Duration, messages: usize) -> (usize, usize) {
    let cluster = start(EmbeddedCluster::builder().topic("t", 4)).await;
    let dispatcher = connect(&cluster).await;
    for n in 0..MESSAGES {
        within("send()", async { dispatcher.send("t", vec![b'x'; SIZE]).partition(n as i32 % 4).await }).await.unwrap();
    }
    cluster.inject(Fault::on(Api::Fetch).always().delay(Duration::from_millis(80)));
    let fetched = Arc::new(Mutex::new((0, 0)));
    let into = fetched.clone();
    cluster.observe(move |event| {
        if event.api == Api::Fetch {
            let mut fetched = into.lock().unwrap();
            fetched.0 += 1;
            fetched.1 += event.response.as_ref().map_or(0, |response| response.len());
        }
    });
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let handler = move |_: Message| {
        let count = count.clone();
        async move {
            tokio::time::sleep(work).await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(())
        }
    };
    let subscription = dispatcher.subscribe("t", handler).group_exact("g").concurrency(4).start().await.unwrap();
    eventually("enough is handled", Duration::from_secs(600), || handled.load(Ordering::SeqCst) >= messages).await;
    let (requests, bytes) = *fetched.lock().unwrap();
    within("stop()", subscription.stop()).await.unwrap();
    (requests, bytes)
}

#[tokio::test(start_paused = true)]
async fn answers_grow_where_handlers_wait_for_them() {
    let (requests, bytes) = handle(Duration::ZERO, MESSAGES).await;
    // Of 2 MiB each there would be 24.
    assert!(requests <= 16, "{requests} requests for {bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn slow_handlers_are_not_read_ahead_of() {
    let (requests, bytes) = handle(Duration::from_secs(1), MESSAGES / 10).await;
    let handled = MESSAGES / 10 * SIZE;
    assert!(bytes < handled + 20_000_000, "{bytes} bytes were fetched in {requests} requests, {handled} handled");
}
