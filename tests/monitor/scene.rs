//! A cluster with groups in every state, and the monitor that watches it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Message, OnFailure, RetryPolicy};
use serde_json::Value;

/// Keeps its groups going until it is dropped.
pub(crate) struct Scene {
    pub(crate) brokers: Vec<String>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Scene {
    /// Returns when all groups run.
    pub(crate) fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ready, started) = std::sync::mpsc::channel();
        let ended = over.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(groups(ready, ended));
        });
        let brokers = started.recv_timeout(Duration::from_secs(30)).expect("the groups do not start");
        Self { brokers, over, thread: Some(thread) }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

async fn send(dispatcher: &Dispatcher, topic: &str, partitions: i32, messages: i32) {
    let topic = dispatcher.topic(topic).await.unwrap();
    for i in 0..messages {
        let _delivery = topic.send(format!("{i}")).partition(i % partitions).enqueue().await.unwrap();
    }
    dispatcher.flush().await;
}

async fn groups(ready: std::sync::mpsc::Sender<Vec<String>>, over: Arc<AtomicBool>) {
    let builder = EmbeddedCluster::builder().topic("clicks", 3).topic("orders", 2).topic("mails", 2);
    let cluster = builder.topic("old", 1).topic("bills", 2).start().await.unwrap();
    let dispatcher = Dispatcher::builder(cluster.brokers()).client_id("scene").connect().await.unwrap();
    let each = |pause: Duration| {
        move |_: Message| async move {
            tokio::time::sleep(pause).await;
            Ok::<(), dispatcher::Error>(())
        }
    };
    // 20 messages a second of 200.
    let growing =
        dispatcher.subscribe("clicks", each(Duration::from_millis(50))).group("growing").start().await.unwrap();
    send(&dispatcher, "orders", 2, 50_000).await;
    let draining =
        dispatcher.subscribe("orders", each(Duration::from_millis(2))).group("draining").start().await.unwrap();
    // The first message of partition 0 fails; those behind it are handled.
    send(&dispatcher, "mails", 2, 100).await;
    let handler = async |message: Message| match (message.partition(), message.offset()) {
        (0, 3) => Err("the mail server says no"),
        _ => Ok(()),
    };
    let stuck = dispatcher.subscribe("mails", handler).group("stuck").hold_on_error().start().await.unwrap();
    // All fail, and wait in a retry topic.
    send(&dispatcher, "bills", 2, 20).await;
    let later = OnFailure::Retry(RetryPolicy::new(0).through_topics([Duration::from_secs(600)]));
    let handler = async |_: Message| Err::<(), _>("the bank is closed");
    let patient = dispatcher.subscribe("bills", handler).group("patient").on_failure(later).start().await.unwrap();
    send(&dispatcher, "old", 1, 30).await;
    let gone = dispatcher.subscribe("old", each(Duration::ZERO)).group("abandoned").count(10).start().await.unwrap();
    gone.join().await.unwrap();
    // Names are shown as they are.
    let odd = dispatcher.subscribe("old", each(Duration::ZERO)).group("<b onload=x>odd & \"long\"</b>/".repeat(3));
    let odd = odd.start().await.unwrap();
    ready.send(cluster.brokers()).unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        send(&dispatcher, "clicks", 3, 20).await;
    }
    for subscription in [growing, draining, stuck, patient, odd] {
        drop(subscription);
    }
}

/// One scene for all tests of this binary: groups need a while to get into their states.
pub(crate) fn shared() -> &'static (Scene, Monitor) {
    static SHARED: OnceLock<(Scene, Monitor)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let scene = Scene::start();
        let monitor = Monitor::start_shared(&scene.brokers, "--interval 1s --stuck-after 4s --history 2m");
        (scene, monitor)
    })
}

/// A running `dispatcher monitor`.
pub(crate) struct Monitor {
    child: Child,
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) url: String,
}

impl Monitor {
    pub(crate) fn start(brokers: &[String], options: &str) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_dispatcher")), brokers, options)
    }

    /// One that ends with this process, which drops nothing that is static.
    fn start_shared(brokers: &[String], options: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#""$0" "$@" </dev/null & read -r _; kill -9 $!"#, env!("CARGO_BIN_EXE_dispatcher")]);
        Self::run(shell, brokers, options)
    }

    fn run(mut command: Command, brokers: &[String], options: &str) -> Self {
        let mut child = command
            .args(["--brokers", &brokers.join(","), "monitor", "--listen", "127.0.0.1:0"])
            .args(options.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let address =
            url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("no address").to_owned();
        Self { child, address, url }
    }

    /// Asks as a plain HTTP client does: status, head and body.
    pub(crate) fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The group in the list of all.
    pub(crate) fn group(&self, name: &str) -> Option<Value> {
        let all = self.json("/api/groups");
        all["groups"].as_array().unwrap().iter().find(|g| g["group"] == name).cloned()
    }

    pub(crate) fn wait_for(&self, group: &str, status: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.group(group);
            match &found {
                Some(found) if found["status"] == status => return found.clone(),
                _ => assert!(Instant::now() < deadline, "{group} is not {status}: {found:?}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Exit status and stderr, which must come soon.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the monitor does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
