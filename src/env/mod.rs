//! The only door to time, randomness, tasks and sockets. Every driver takes an [`Env`], so that a run under
//! tokio's paused clock, with a seed and an in-memory [`Dial`], is deterministic. Machines take `now` as an argument.
#![allow(clippy::disallowed_methods)]

#[cfg(feature = "embedded")]
mod network;
mod stamp;
mod tcp;
pub(crate) mod watch;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "embedded")]
pub use network::Network;
#[cfg(feature = "embedded")]
pub(crate) use tcp::Listener;
use tcp::TcpDial;

/// A byte stream to a broker, in two halves so that a caller can write while the connection's driver reads.
pub(crate) struct Transport {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Transport {
    /// Of any stream: in-memory pipes, and whatever cannot be split without a lock.
    #[cfg_attr(not(any(test, feature = "embedded")), allow(dead_code, reason = "for in-memory streams"))]
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader: Box::new(reader), writer: Box::new(writer) }
    }
}

/// Opens byte streams: TCP in production, in-memory pipes in simulation.
#[async_trait]
pub(crate) trait Dial: Send + Sync + 'static {
    /// Connects to `host:port`, trying every address the name resolves to. The caller limits the time.
    async fn dial(&self, host: &str, port: u16) -> io::Result<Transport>;
}

/// Clock, randomness, task spawning and dialling, in one cheap handle.
#[derive(Clone)]
pub(crate) struct Env(Arc<Inner>);

struct Inner {
    rng: Mutex<fastrand::Rng>,
    dial: Box<dyn Dial>,
    wall: Wall,
    /// Whose tasks it spawns, if they can be killed.
    #[cfg(feature = "embedded")]
    process: Option<Arc<network::Process>>,
}

/// Where the wall clock comes from; a virtual one moves with the tokio clock.
enum Wall {
    System(stamp::Stamps),
    #[cfg(any(test, feature = "embedded"))]
    Virtual {
        origin: Instant,
    },
}

impl Env {
    /// The real clock, the operating system's randomness, TCP.
    pub(crate) fn system() -> Self {
        Self::build(system_seed(), Box::new(TcpDial), Wall::System(stamp::Stamps::default()))
    }

    /// Deterministic under `tokio::time::pause()`: `seed` decides every random choice, `dial` every connection.
    #[cfg(any(test, feature = "embedded"))]
    pub(crate) fn simulated(seed: u64, dial: impl Dial) -> Self {
        let origin = tokio::time::Instant::now().into_std();
        Self::build(seed, Box::new(dial), Wall::Virtual { origin })
    }

    /// The real clock and randomness, but connections by `network`; one with a seed decides all of it.
    #[cfg(feature = "embedded")]
    pub(crate) fn on(network: &Network) -> Self {
        let (seed, wall) = match network.next_seed() {
            Some((seed, origin)) => (seed, Wall::Virtual { origin }),
            None => (system_seed(), Wall::System(stamp::Stamps::default())),
        };
        let inner = Inner::new(seed, Box::new(network.clone()), wall);
        Self(Arc::new(Inner { process: Some(network.process_of()), ..inner }))
    }

    fn build(seed: u64, dial: Box<dyn Dial>, wall: Wall) -> Self {
        Self(Arc::new(Inner::new(seed, dial, wall)))
    }

    /// Monotonic time.
    pub(crate) fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_ms(&self) -> i64 {
        match self.0.wall {
            Wall::System(_) => system_ms(),
            #[cfg(any(test, feature = "embedded"))]
            Wall::Virtual { origin } => {
                1_700_000_000_000 + (self.now() - origin).as_millis() as i64 + self.0.wall_shift()
            }
        }
    }

    /// As [`wall_ms`](Self::wall_ms), for when a record was sent: those of a burst share readings.
    #[inline]
    pub(crate) fn stamp_ms(&self) -> i64 {
        match &self.0.wall {
            Wall::System(stamps) => stamps.now(system_ms),
            #[cfg(any(test, feature = "embedded"))]
            Wall::Virtual { .. } => self.wall_ms(),
        }
    }

    /// Waits. Cancel-safe.
    pub(crate) async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until `at`; returns at once if it has passed. Cancel-safe.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        tokio::time::sleep_until(at.into()).await;
    }

    /// Runs `future` for at most `limit`; `None` when time ran out. As cancel-safe as `future`.
    pub(crate) async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(limit, future).await.ok()
    }

    /// Starts a task. Its owner keeps the handle, or ties the task's life to a channel.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = tokio::spawn(future);
        #[cfg(feature = "embedded")]
        if let Some(process) = &self.0.process {
            process.adopt(task.abort_handle());
        }
        task
    }

    /// Whether connections are TCP.
    #[cfg(feature = "rskafka")]
    pub(crate) fn is_tcp(&self) -> bool {
        #[cfg(feature = "embedded")]
        return self.0.process.is_none();
        #[cfg(not(feature = "embedded"))]
        true
    }

    /// Threads that run tasks at once.
    pub(crate) fn workers(&self) -> usize {
        tokio::runtime::Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers())
    }

    /// Draws from the seeded generator.
    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut lock(&self.0.rng))
    }

    /// Fills `bytes` with what nobody can guess: from the operating system; under simulation from the seeded generator.
    pub(crate) fn unguessable(&self, bytes: &mut [u8]) -> Result<()> {
        #[cfg(any(test, feature = "embedded"))]
        if let Wall::Virtual { .. } = self.0.wall {
            self.random(|rng| rng.fill(bytes));
            return Ok(());
        }
        getrandom::fill(bytes).map_err(|e| {
            let message = "the operating system gives no random numbers: nothing can be kept secret without them";
            Error::new(ErrorKind::Connection, message).with_source(e)
        })
    }

    /// Opens a stream to `host:port`.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> io::Result<Transport> {
        self.0.dial.dial(host, port).await
    }
}

impl Inner {
    fn new(seed: u64, dial: Box<dyn Dial>, wall: Wall) -> Self {
        Self {
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            dial,
            wall,
            #[cfg(feature = "embedded")]
            process: None,
        }
    }

    /// How far the process's wall clock was moved.
    #[cfg(any(test, feature = "embedded"))]
    fn wall_shift(&self) -> i64 {
        #[cfg(feature = "embedded")]
        return self.process.as_ref().map_or(0, |p| p.wall_shift());
        #[cfg(not(feature = "embedded"))]
        0
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

/// Locks a mutex whose data stay consistent even if a holder panicked.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

fn system_seed() -> u64 {
    let mut seed = [0u8; 8];
    if getrandom::fill(&mut seed).is_err() {
        return fastrand::u64(..);
    }
    u64::from_le_bytes(seed)
}
