//! Senders and consumers of one host, in processes of their own: each sender gets the receipts of its own messages and of no
//! others, whatever becomes of a consumer.
#![cfg(feature = "cli")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dispatcher::Dispatcher;
use serde_json::Value;

use crate::common::{eventually, ours, scaled};
use crate::{SOON, Scene};

/// Long enough for the messages of a killed consumer, which come to another one when its session has ended.
const RECEIPT_WITHIN: &str = "60s";
const SESSION: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_get_exactly_their_own_receipts_while_a_consumer_is_killed() {
    let Some(scene) = Scene::or_skip("fleet").await else { return };
    let each = scaled(1_000);
    scene.dispatcher.create_topics([&scene.topic]).partitions(9).await.unwrap();
    let mut consumers: Vec<_> = (0..3).map(|_| Process::consumer(&scene)).collect();
    let mut group = String::new();
    eventually("the default group", SOON, async || {
        let groups = scene.dispatcher.groups().await.unwrap();
        let ours = groups.iter().find(|group| group.group().ends_with(&format!(":{}", scene.topic)));
        group = ours.map(|group| group.group().to_owned()).unwrap_or_default();
        !group.is_empty()
    })
    .await;
    ours::until_shared(&scene.dispatcher, &scene.topic, &group, 3).await;
    let mut senders = ["a", "b"].map(|name| Sender::start(&scene, name));
    for sender in &mut senders {
        sender.feed(0..each / 2);
    }
    for sender in &senders {
        eventually("first receipts", SOON, async || sender.answered.load(Ordering::Relaxed) > each / 20).await;
    }
    consumers[0].kill();
    for sender in &mut senders {
        sender.feed(each / 2..each);
    }
    let mut ids = BTreeSet::new();
    for sender in senders {
        let (name, rows) = tokio::task::spawn_blocking(|| sender.finish()).await.unwrap();
        let late = rows.iter().filter(|row| row["receipt"]["outcome"] == "timeout").count();
        println!("sender {name}: {} receipts, {late} time-outs", rows.len() - late);
        let lines: BTreeSet<_> = rows.iter().map(|row| row["line"].as_u64().unwrap()).collect();
        assert_eq!((rows.len(), lines.len()), (each, each), "one outcome for each line");
        // What the killed one had not told it had not committed either.
        assert_eq!(late, 0);
        for row in &rows {
            let (line, receipt) = (row["line"].as_u64().unwrap() as usize - 1, &row["receipt"]);
            assert_eq!(row["id"], receipt["id"]);
            assert!(ids.insert(row["id"].as_str().unwrap().to_owned()), "twice: {row}");
            match receipt["outcome"].as_str().unwrap() {
                "timeout" => {}
                "ok" => assert!(!fails(line), "{row}"),
                // The error names the message: a receipt of another would show.
                _ => assert_eq!(receipt["error"], refusal(&format!("{name} {line}")), "{row}"),
            }
            assert!(receipt["group"].is_null() || receipt["group"] == group.as_str(), "{row}");
        }
    }
    assert_eq!(ids.len(), 2 * each);
    for consumer in consumers.drain(1..) {
        consumer.stop();
    }
}

const HANDLERS: usize = 32;

fn fails(line: usize) -> bool {
    line.is_multiple_of(7)
}

fn refusal(text: &str) -> String {
    format!("{text} is refused")
}

/// Not a test: a consumer in a process of its own, when [`Process::consumer`] asks for it. Ends when stdin does.
#[tokio::test(flavor = "multi_thread")]
async fn consumer_process() {
    let Ok(of) = std::env::var("FLEET") else { return };
    let (bootstrap, topic) = of.split_once(' ').unwrap();
    let builder = Dispatcher::builder(bootstrap.split(',')).session_timeout(SESSION);
    let dispatcher = builder.connect().await.unwrap();
    let handler = async |text: String| {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..10_000))).await;
        let line: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
        if fails(line) { Err(std::io::Error::other(refusal(&text))) } else { Ok(()) }
    };
    let subscription = dispatcher.subscribe(topic, handler).concurrency(HANDLERS).start().await.unwrap();
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.unwrap().unwrap();
    subscription.stop().await.unwrap();
}

struct Process(Child);

impl Process {
    fn consumer(scene: &Scene) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "fleet::consumer_process", "--nocapture", "--test-threads=1"]);
        command.env("FLEET", format!("{} {}", scene.kafka.bootstrap(), scene.topic));
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// kill -9.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn stop(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command line's `send`, fed line by line.
struct Sender {
    name: &'static str,
    process: Process,
    reading: std::thread::JoinHandle<Vec<Value>>,
    answered: Arc<AtomicUsize>,
}

impl Sender {
    fn start(scene: &Scene, name: &'static str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dispatcher"));
        command.args(["send", &scene.topic, "--receipt", RECEIPT_WITHIN, "--json", "-b", scene.kafka.bootstrap()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (rows, answered) = (BufReader::new(child.stdout.take().unwrap()), Arc::new(AtomicUsize::new(0)));
        let count = answered.clone();
        let row = move |line: std::io::Result<String>| {
            count.fetch_add(1, Ordering::Relaxed);
            serde_json::from_str(&line.unwrap()).unwrap()
        };
        let reading = std::thread::spawn(move || rows.lines().map(row).collect());
        Self { name, process: Process(child), reading, answered }
    }

    fn feed(&mut self, lines: std::ops::Range<usize>) {
        let text: String = lines.map(|line| format!("{} {line}\n", self.name)).collect();
        self.process.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn finish(mut self) -> (&'static str, Vec<Value>) {
        drop(self.process.0.stdin.take());
        let rows = self.reading.join().unwrap();
        let mut errors = String::new();
        self.process.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let ended = self.process.0.wait().unwrap();
        assert!(ended.success() || errors.contains("were not answered in time"), "{errors}");
        (self.name, rows)
    }
}
