//! Receipts where it counts: handlers that panic, waits that end in time, ten thousand of them at once.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dispatcher::{CallbackError, Dispatcher, ErrorKind, Message, OnFailure, Outcome};
use futures_util::future::join;

use crate::common::{eventually, process, unique};
use crate::{SOON, Scene, Seen, text};

/// In the Go library a panic was swallowed, and committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_handler_is_answered_watched_and_held_and_the_consumer_goes_on() {
    let Some(scene) = Scene::or_skip("panic").await else { return };
    let group = format!("kitchen:{}", scene.topic);
    let (told, handled) = (Seen::default(), Seen::default());
    let subscribe = |panics: bool| {
        let handled = handled.clone();
        let handler = move |message: Message| {
            let handled = handled.clone();
            async move {
                assert!(!panics || text(&message) != "panic", "there is a fly in it");
                handled.push(text(&message));
                Ok::<_, std::io::Error>(())
            }
        };
        scene.dispatcher.subscribe(&scene.topic, handler).group("kitchen").on_failure(OnFailure::Hold)
    };
    let kitchen = subscribe(true).start().await.unwrap();
    let mut errors = kitchen.errors();
    let watch = {
        let told = told.clone();
        move |failure: CallbackError| {
            told.push(format!("{} {}", failure.offset(), failure.error()));
            std::future::ready(())
        }
    };
    let send = |text: &'static str| scene.dispatcher.send(&scene.topic, text).partition(0);
    let panicked = send("panic").watch_errors(watch).receipt(SOON).await.unwrap();
    let said = "the handler panicked: there is a fly in it";
    assert_eq!((panicked.outcome(), panicked.group()), (&Outcome::Failed(said.into()), &*group));
    told.until(1).await;
    assert_eq!(told.all(), [format!("{} {said}", panicked.offset())]);
    assert!(errors.next().await.unwrap().error().to_string().contains(said));
    assert_eq!(send("fine").receipt(SOON).await.unwrap().outcome(), &Outcome::Ok);
    kitchen.stop().await.unwrap();
    let status = scene.dispatcher.consume_status(&scene.topic, "kitchen").await.unwrap();
    assert_eq!(status.total_lag(), 2, "nothing is committed from the panic on");

    // Its next start hands out what was held, and that only.
    let kitchen = subscribe(false).start().await.unwrap();
    handled.until(2).await;
    assert_eq!(handled.all(), ["fine", "panic"]);
    eventually("no lag", SOON, async || {
        scene.dispatcher.consume_status(&scene.topic, "kitchen").await.unwrap().total_lag() == 0
    })
    .await;
    kitchen.stop().await.unwrap();
    assert_eq!(told.all().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_receipts_end_within_fifty_ms_of_the_asked_time() {
    let Some(scene) = Scene::or_skip("late").await else { return };
    // Connections are taken there, and nothing is ever said.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = Dispatcher::builder([silent.local_addr().unwrap().to_string()]).connect_lazily().unwrap();
    let (mut excess, mut kinds) = (Vec::new(), Vec::new());
    for (n, ms) in [20, 150, 300, 700, 20, 150, 300, 700, 40].into_iter().cycle().take(27).enumerate() {
        let limit = Duration::from_millis(ms);
        // A topic that is to be made with that of its receipts, one that is there, and a silent cluster.
        let fresh = unique("late");
        let (dispatcher, topic) = match n % 3 {
            0 => (&scene.dispatcher, &fresh),
            1 => (&scene.dispatcher, &scene.topic),
            _ => (&nowhere, &fresh),
        };
        let began = Instant::now();
        let plain = async {
            tokio::time::sleep(limit).await;
            began.elapsed()
        };
        let asked = async {
            let error = dispatcher.send(topic, "x").receipts(1 + n % 2, limit).await.unwrap_err();
            (error, began.elapsed())
        };
        let (plain, (error, took)) = join(plain, asked).await;
        assert!(took >= limit, "{took:?} instead of {limit:?}: {error}");
        // What a busy machine adds to any timer is not ours.
        excess.push(took.saturating_sub(plain));
        kinds.push(error.kind());
        if n % 3 == 2 {
            assert_eq!(error.kind(), ErrorKind::NotWritten, "{error}");
        }
    }
    excess.sort();
    println!("27 time-outs: {:?} beyond a plain timer in the median, {:?} at most; {kinds:?}", excess[13], excess[26]);
    let told = [ErrorKind::NotWritten, ErrorKind::MaybeWritten, ErrorKind::Timeout];
    assert!(kinds.iter().all(|kind| told.contains(kind)) && kinds.contains(&ErrorKind::Timeout), "{kinds:?}");
    // One may meet a moment in which the machine did other things.
    assert!(excess[24] <= Duration::from_millis(50), "{excess:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_sends_wait_at_once_and_each_gets_its_own_receipt() {
    let Some(scene) = Scene::or_skip("many").await else { return };
    let handler = async |text: String| {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..5_000))).await;
        if text.ends_with('7') { Err(std::io::Error::other(format!("{text} is refused"))) } else { Ok(()) }
    };
    let subscribe = scene.dispatcher.subscribe(&scene.topic, handler).group("kitchen").concurrency(64);
    let kitchen = subscribe.start().await.unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "answers::waiting_process", "--nocapture", "--test-threads=1"]);
    command.env("WAITING", format!("{} {}", scene.kafka.bootstrap(), scene.topic)).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    said.lines().filter(|line| line.contains("receipts at once")).for_each(|line| println!("{line}"));
    kitchen.stop().await.unwrap();
}

/// Not a test: the sender of the one above, in a process whose memory is its own.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_process() {
    const WAITING: usize = 10_000;
    let Ok(of) = std::env::var("WAITING") else { return };
    let (bootstrap, topic) = of.split_once(' ').unwrap();
    let dispatcher = Dispatcher::builder(bootstrap.split(',')).connect().await.unwrap();
    let topic = dispatcher.topic(topic).await.unwrap();
    topic.send("the first").receipt(SOON).await.unwrap();
    let (before, began) = (process::peak_memory(), Instant::now());
    let mut pending = Vec::with_capacity(WAITING);
    for n in 0..WAITING {
        let text = format!("order {n}");
        pending.push((topic.send(&text).receipt(4 * SOON).enqueue().await.unwrap(), text));
    }
    let enqueued = began.elapsed();
    let waits = pending.into_iter().map(async |(mut pending, text)| {
        let report = pending.acknowledged().await.unwrap();
        let receipts = pending.receipts().await.unwrap();
        let receipt = &receipts[0];
        assert_eq!((receipts.len(), Some(receipt.id())), (1, report.id()));
        assert_eq!((receipt.partition(), Some(receipt.offset())), (report.partition(), report.offset()));
        let expected = match text.ends_with('7') {
            true => Outcome::Failed(format!("{text} is refused")),
            false => Outcome::Ok,
        };
        assert_eq!(receipt.outcome(), &expected, "another's");
    });
    futures_util::future::join_all(waits).await;
    let (took, after) = (began.elapsed(), process::peak_memory());
    let grown = after.zip(before).map(|(after, before)| (after - before) >> 10);
    println!(
        "{WAITING} receipts at once: enqueued in {enqueued:?}, all there after {took:?}, {grown:?} KiB more memory"
    );
    assert!(took < SOON, "{took:?}");
    assert!(grown.is_none_or(|kib| kib < 100 << 10), "{grown:?} KiB");
}
