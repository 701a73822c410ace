//! A network other than TCP, such as the in-memory streams of an embedded cluster, that a dispatcher can be put on; and
//! the processes on it, pretended ones, which can be killed and whose clocks can jump.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use tokio::task::AbortHandle;

use super::{Dial, Transport, lock};

/// Where a dispatcher's connections lead instead of TCP: see [`Builder::network`](crate::Builder::network). Clones are
/// the same network.
#[derive(Clone)]
pub struct Network {
    dial: Arc<dyn Dial>,
    /// Set: whoever is put on this network takes its randomness from here, and its wall clock moves with tokio's clock,
    /// as one from this moment on.
    seeds: Option<(Arc<AtomicU64>, Instant)>,
    process: Arc<Process>,
}

impl Network {
    pub(crate) fn new(dial: impl Dial, seed: Option<u64>, now: Instant) -> Self {
        let seeds = seed.map(|seed| (Arc::new(AtomicU64::new(seed)), now));
        Self { dial: Arc::new(dial), seeds, process: Arc::default() }
    }

    /// The same network, for the dispatchers of a process of their own: what [`kill`](Self::kill) and
    /// [`shift_wall_clock`](Self::shift_wall_clock) do to it concerns no other.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// use dispatcher::{Dispatcher, embedded::EmbeddedCluster};
    ///
    /// let cluster = EmbeddedCluster::builder().topic("orders", 1).in_memory().start().await?;
    /// let process = cluster.network().process();
    /// let dispatcher = Dispatcher::builder(cluster.brokers()).network(&process).connect().await?;
    /// dispatcher.send("orders", "one espresso").await?;
    /// process.kill();
    /// // Nobody works for this dispatcher any more; the cluster has what it had.
    /// assert_eq!(cluster.records("orders", 0).len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn process(&self) -> Self {
        Self { process: Arc::default(), ..self.clone() }
    }

    /// Ends all dispatchers and subscriptions of this [`process`](Self::process) as `kill -9` would: none of their
    /// tasks runs on, handlers are dropped where they wait, connections close, and nobody says goodbye to the brokers.
    /// The process stays dead.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Sets the process's wall clock, which stamps messages, forward or back by so many milliseconds. Only where the
    /// clock is a virtual one, on the network of a cluster with a [`seed`](crate::embedded::EmbeddedBuilder::seed).
    pub fn shift_wall_clock(&self, ms: i64) {
        self.process.wall_shift.fetch_add(ms, Ordering::Relaxed);
    }

    /// Each who joins gets a seed of its own, in the order of joining.
    pub(super) fn next_seed(&self) -> Option<(u64, Instant)> {
        let (seeds, origin) = self.seeds.as_ref()?;
        // The step is odd, so that no seed comes twice.
        Some((seeds.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed), *origin))
    }

    pub(super) fn process_of(&self) -> Arc<Process> {
        self.process.clone()
    }
}

#[async_trait]
impl Dial for Network {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Transport> {
        if self.process.is_dead() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        self.dial.dial(host, port).await
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

/// The tasks of dispatchers that live and die together.
#[derive(Debug, Default)]
pub(super) struct Process {
    tasks: Mutex<Tasks>,
    wall_shift: AtomicI64,
}

#[derive(Debug, Default)]
struct Tasks {
    dead: bool,
    running: Vec<AbortHandle>,
    /// Length at which those that have ended are forgotten.
    sweep_at: usize,
}

impl Process {
    /// A task belongs to this process from now on; to a dead one only for a moment.
    pub(super) fn adopt(&self, task: AbortHandle) {
        let mut tasks = lock(&self.tasks);
        if tasks.dead {
            return task.abort();
        }
        if tasks.running.len() >= tasks.sweep_at {
            tasks.running.retain(|task| !task.is_finished());
            tasks.sweep_at = tasks.running.len() * 2 + 16;
        }
        tasks.running.push(task);
    }

    fn kill(&self) {
        let running = {
            let mut tasks = lock(&self.tasks);
            tasks.dead = true;
            std::mem::take(&mut tasks.running)
        };
        running.iter().for_each(AbortHandle::abort);
    }

    fn is_dead(&self) -> bool {
        lock(&self.tasks).dead
    }

    pub(super) fn wall_shift(&self) -> i64 {
        self.wall_shift.load(Ordering::Relaxed)
    }
}
