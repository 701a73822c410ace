//! The library as the tests use it: members of a group that log every handler call, a sender that notes every
//! acknowledgement, and what our own status says. Members may be processes of their own, so that they can be killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dispatcher::{Assignor, Backend, Delivery, Dispatcher, GroupMember, Message, OnFailure, Order, Subscription};

use super::check::Place;
use super::log::{HandlerLog, What};
use super::process;

/// How a member reads.
#[derive(Debug, Clone)]
pub struct Reading {
    pub order: Order,
    pub concurrency: usize,
    pub on_failure: OnFailure,
    /// Handlers fail for messages whose sequence number is a multiple of this; 0: never.
    pub fail_every: usize,
    /// How long a handler takes.
    pub work: Duration,
    pub session_timeout: Duration,
    /// How soon the others' comings and goings are noticed.
    pub heartbeat_interval: Duration,
    pub assignors: Vec<Assignor>,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub backend: Backend,
    /// Bytes of fetched messages that wait for their handlers, at most.
    pub fetch_memory: usize,
    /// In a process of its own: glibc gives freed blocks of 1 MiB and more back at once, as long as it is not told to learn
    /// otherwise. What is resident is what is in use then, not what each thread's arena keeps.
    pub exact_memory: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            order: Order::Key,
            concurrency: 32,
            on_failure: OnFailure::Skip,
            fail_every: 0,
            work: Duration::ZERO,
            session_timeout: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(3),
            assignors: vec![Assignor::Range],
            instance_id: None,
            client_id: "dispatcher".into(),
            backend: Backend::Native,
            fetch_memory: 64 << 20,
            exact_memory: false,
        }
    }
}

pub async fn connect(bootstrap: &str) -> Dispatcher {
    Dispatcher::builder(bootstrap.split(',')).connect().await.unwrap()
}

/// A member of `group` with a dispatcher, and so connections, of its own.
pub struct Member {
    pub dispatcher: Dispatcher,
    pub subscription: Subscription,
    pub log: HandlerLog,
}

impl Member {
    pub async fn start(bootstrap: &str, topic: &str, group: &str, reading: &Reading) -> Self {
        Self::start_logging(bootstrap, topic, group, reading, HandlerLog::new()).await
    }

    pub async fn start_logging(bootstrap: &str, topic: &str, group: &str, reading: &Reading, log: HandlerLog) -> Self {
        let builder = Dispatcher::builder(bootstrap.split(',')).client_id(&reading.client_id).backend(reading.backend);
        let builder = builder.session_timeout(reading.session_timeout).heartbeat_interval(reading.heartbeat_interval);
        let dispatcher = builder.fetch_memory(reading.fetch_memory).connect().await.unwrap();
        let (order, concurrency, on_failure) = (reading.order, reading.concurrency, reading.on_failure.clone());
        let (assignors, instance_id) = (reading.assignors.clone(), reading.instance_id.clone());
        let (events, reading) = (log.clone(), reading.clone());
        let handler = move |message: Message| {
            let (events, reading) = (events.clone(), reading.clone());
            async move { handle(&message, &events, &reading).await }
        };
        let mut subscribe = dispatcher
            .subscribe(topic, handler)
            .group_exact(group)
            .concurrency(concurrency)
            .order(order)
            .on_failure(on_failure)
            .assignors(assignors);
        if let Some(id) = instance_id {
            subscribe = subscribe.instance_id(id);
        }
        let subscription = subscribe.start().await.unwrap();
        Self { dispatcher, subscription, log }
    }

    /// A clean stop: running handlers end, commits are made, the group is left.
    pub async fn stop(self) {
        super::within(Duration::from_secs(40), "stop()", self.subscription.stop()).await.unwrap();
    }
}

async fn handle(message: &Message, log: &HandlerLog, reading: &Reading) -> Result<(), std::io::Error> {
    let (partition, offset, key) = (message.partition(), message.offset(), message.key());
    log.record(What::Start, partition, offset, key, message.value().unwrap_or_default());
    if !reading.work.is_zero() {
        tokio::time::sleep(reading.work).await;
    }
    let sequence = super::parse_payload(message.value().unwrap_or_default()).map(|(_, sequence)| sequence);
    if reading.fail_every > 0 && sequence.is_some_and(|s| s % reading.fail_every == 0) {
        log.record(What::Failed, partition, offset, key, message.value().unwrap_or_default());
        return Err(std::io::Error::other("made to fail"));
    }
    log.record(What::Done, partition, offset, key, message.value().unwrap_or_default());
    Ok(())
}

/// What became of the sends.
#[derive(Debug, Default)]
pub struct Sent {
    pub places: Vec<Place>,
    pub payloads: Vec<String>,
    pub failed: Vec<dispatcher::Error>,
}

/// Sends `count` messages of `size` bytes over `keys` keys (0: no keys), as fast as acknowledgements allow.
pub async fn send_all(dispatcher: &Dispatcher, topic: &str, count: usize, keys: usize, size: usize) -> Sent {
    send_while(dispatcher, topic, keys, size, |n| (n < count).then_some(Duration::ZERO)).await
}

/// Sends until `pace` of the number sent gives None; waits as long as it says between two.
pub async fn send_while(
    dispatcher: &Dispatcher,
    topic: &str,
    keys: usize,
    size: usize,
    pace: impl Fn(usize) -> Option<Duration>,
) -> Sent {
    let mut sent = Sent::default();
    let mut window: std::collections::VecDeque<(Delivery, usize)> = Default::default();
    let mut n = 0;
    loop {
        let next = pace(n);
        while window.len() >= 20_000 || (next.is_none() && !window.is_empty()) {
            let (delivery, sequence) = window.pop_front().unwrap();
            settle(delivery.await, sequence, size, &mut sent);
        }
        let Some(pause) = next else { return sent };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let mut send = dispatcher.send(topic, super::payload(1, n, size));
        if keys > 0 {
            send = send.key(format!("k{}", n % keys));
        }
        match send.enqueue().await {
            Ok(delivery) => window.push_back((delivery, n)),
            Err(error) => sent.failed.push(error),
        }
        n += 1;
    }
}

fn settle(result: dispatcher::Result<dispatcher::SendReport>, sequence: usize, size: usize, sent: &mut Sent) {
    match result {
        Ok(ack) => {
            sent.places.extend(ack.offset().map(|offset| (ack.partition(), offset)));
            sent.payloads.push(String::from_utf8(super::payload(1, sequence, size)).unwrap());
        }
        Err(error) => sent.failed.push(error),
    }
}

/// A load that goes on in the background until it is told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    pub count: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Sent>,
}

impl Load {
    pub fn start(dispatcher: Dispatcher, topic: &str, keys: usize, pause: Duration) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted, topic) = (stop.clone(), count.clone(), topic.to_owned());
        let pace = move |n: usize| {
            counted.store(n, Ordering::Relaxed);
            let pause = if n.is_multiple_of(50) { pause } else { Duration::ZERO };
            (!stopped.load(Ordering::Relaxed)).then_some(pause)
        };
        let task = tokio::spawn(async move { send_while(&dispatcher, &topic, keys, 100, pace).await });
        Self { stop, count, task }
    }

    pub async fn finish(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        super::within(Duration::from_secs(180), "the last acknowledgements", self.task).await.unwrap()
    }
}

/// What the group has committed, as our own admin calls see it; partitions without a commit are left out.
pub async fn committed(dispatcher: &Dispatcher, topic: &str, group: &str) -> BTreeMap<i32, i64> {
    let status = dispatcher.consume_status_exact(topic, group).await.unwrap();
    status.partitions().iter().filter_map(|p| Some((p.partition(), p.committed()?))).collect()
}

pub async fn lag(dispatcher: &Dispatcher, topic: &str, group: &str) -> i64 {
    dispatcher.consume_status_exact(topic, group).await.unwrap().total_lag()
}

/// Waits until the group is stable with this many members, each with its share.
pub async fn until_shared(dispatcher: &Dispatcher, topic: &str, group: &str, members: usize) {
    let shared = async || {
        let status = dispatcher.consume_status_exact(topic, group).await.unwrap();
        let all = status.members();
        status.state() == Some("Stable") && all.len() == members && all.iter().all(|m| !m.partitions().is_empty())
    };
    super::eventually("every member has its share", Duration::from_secs(60), shared).await;
}

/// Whether the group is stable with this many members, each with a share, and each of the partitions with one owner.
pub fn is_settled(state: &str, all: &[GroupMember], members: usize, partitions: usize) -> bool {
    let mut owned: Vec<_> = all.iter().flat_map(|m| m.partitions()).collect();
    owned.sort();
    owned.dedup();
    let shares: usize = all.iter().map(|m| m.partitions().len()).sum();
    let each = all.len() == members && all.iter().all(|m| !m.partitions().is_empty());
    state == "Stable" && each && owned.len() == partitions && shares == partitions
}

pub async fn until_settled(dispatcher: &Dispatcher, topic: &str, group: &str, members: usize, partitions: usize) {
    let settled = async || {
        let status = dispatcher.consume_status_exact(topic, group).await.unwrap();
        is_settled(status.state().unwrap_or_default(), status.members(), members, partitions)
    };
    super::eventually("every partition has one owner", Duration::from_secs(60), settled).await;
}

pub async fn until_lag_is_zero(dispatcher: &Dispatcher, topic: &str, group: &str, limit: Duration) {
    super::eventually("lag 0", limit, async || lag(dispatcher, topic, group).await == 0).await;
}

/// A member in a process of its own: this test binary, running only its `member_process` test.
pub struct MemberProcess {
    child: Child,
    log: PathBuf,
}

impl MemberProcess {
    pub fn start(bootstrap: &str, topic: &str, group: &str, reading: &Reading, log: &Path) -> Self {
        let order = match reading.order {
            Order::None => "none",
            Order::Partition => "partition",
            _ => "key",
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        if reading.exact_memory {
            process::exact_memory(&mut command);
        }
        let child = command
            .args(["--exact", "member_process", "--nocapture", "--test-threads=1"])
            .env("MEMBER_OF", format!("{bootstrap} {topic} {group}"))
            .env("MEMBER_ORDER", order)
            .env("MEMBER_CONCURRENCY", reading.concurrency.to_string())
            .env("MEMBER_WORK_US", reading.work.as_micros().to_string())
            .env("MEMBER_SESSION_MS", reading.session_timeout.as_millis().to_string())
            .env("MEMBER_HEARTBEAT_MS", reading.heartbeat_interval.as_millis().to_string())
            .env("MEMBER_COOPERATIVE", u8::from(reading.assignors == [Assignor::CooperativeSticky]).to_string())
            .env("MEMBER_INSTANCE", reading.instance_id.as_deref().unwrap_or_default())
            .env("MEMBER_CLIENT", &reading.client_id)
            .env("MEMBER_NATIVE", u8::from(reading.backend == Backend::Native).to_string())
            .env("MEMBER_FETCH_MEMORY", reading.fetch_memory.to_string())
            .env("MEMBER_LOG", log)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, log: log.to_owned() }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop cleanly and waits for that.
    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "a member process does not stop");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(self.child.wait().unwrap().success());
    }

    pub fn log(&self) -> HandlerLog {
        HandlerLog::read(&self.log)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for MemberProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one that is not the default, if it is built in.
pub fn other_backend() -> Backend {
    #[cfg(feature = "rskafka")]
    return Backend::Rskafka;
    #[cfg(not(feature = "rskafka"))]
    Backend::Native
}

/// What the test `member_process` of a binary runs: nothing, unless [`MemberProcess`] started it. Ends when stdin does.
pub async fn run_member_process() {
    let Ok(of) = std::env::var("MEMBER_OF") else { return };
    let of: Vec<_> = of.split(' ').collect();
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let reading = Reading {
        order: match std::env::var("MEMBER_ORDER").unwrap().as_str() {
            "none" => Order::None,
            "partition" => Order::Partition,
            _ => Order::Key,
        },
        concurrency: number("MEMBER_CONCURRENCY") as usize,
        work: Duration::from_micros(number("MEMBER_WORK_US")),
        session_timeout: Duration::from_millis(number("MEMBER_SESSION_MS")),
        heartbeat_interval: Duration::from_millis(number("MEMBER_HEARTBEAT_MS")),
        assignors: vec![if number("MEMBER_COOPERATIVE") == 1 { Assignor::CooperativeSticky } else { Assignor::Range }],
        instance_id: std::env::var("MEMBER_INSTANCE").ok().filter(|id| !id.is_empty()),
        client_id: std::env::var("MEMBER_CLIENT").unwrap(),
        backend: if number("MEMBER_NATIVE") == 1 { Backend::Native } else { other_backend() },
        fetch_memory: number("MEMBER_FETCH_MEMORY") as usize,
        ..Reading::default()
    };
    let log = HandlerLog::to_file(Path::new(&std::env::var("MEMBER_LOG").unwrap()));
    let member = Member::start_logging(of[0], of[1], of[2], &reading, log).await;
    let (ended, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = wait.await;
    member.stop().await;
}
