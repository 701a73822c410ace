//! SIGINT and SIGTERM, on Windows Ctrl-C, Ctrl-Break, the closed console and the shutdown: the first asks for an orderly
//! end, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Raised by the first signal.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    raised: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// Listens from now on.
    pub(super) fn listen() -> Self {
        let stop = Self::default();
        let on_signal = stop.clone();
        tokio::spawn(async move {
            let mut signals = Signals::new();
            let first = signals.next().await;
            tracing::debug!(target: "dispatcher::cli", "signal {first}: stopping");
            on_signal.raise();
            let second = signals.next().await;
            std::process::exit(128 + second);
        });
        stop
    }

    fn raise(&self) {
        self.0.raised.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Waits for the first signal. Cancel-safe.
    pub(super) async fn raised(&self) {
        let mut notified = std::pin::pin!(self.0.notify.notified());
        notified.as_mut().enable();
        if !self.is_raised() {
            notified.await;
        }
    }
}

/// Waits for a signal that may not be had. Each kind has a type of its own on Windows.
macro_rules! one {
    ($signal:expr) => {
        async {
            let come = match &mut $signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if come.is_none() {
                std::future::pending::<()>().await;
            }
        }
    };
}

#[cfg(unix)]
struct Signals {
    int: Option<tokio::signal::unix::Signal>,
    term: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { int: signal(SignalKind::interrupt()).ok(), term: signal(SignalKind::terminate()).ok() }
    }

    /// The signal's number.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            biased;
            () = one!(self.int) => 2,
            () = one!(self.term) => 15,
        }
    }
}

#[cfg(windows)]
struct Signals {
    c: Option<tokio::signal::windows::CtrlC>,
    brk: Option<tokio::signal::windows::CtrlBreak>,
    close: Option<tokio::signal::windows::CtrlClose>,
    shutdown: Option<tokio::signal::windows::CtrlShutdown>,
}

#[cfg(windows)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        Self { c: ctrl_c().ok(), brk: ctrl_break().ok(), close: ctrl_close().ok(), shutdown: ctrl_shutdown().ok() }
    }

    /// The number of the signal that means the same on Unix. After the last two Windows ends the process by itself
    /// within seconds, done or not.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            biased;
            () = one!(self.c) => 2,
            () = one!(self.brk) => 2,
            () = one!(self.close) => 15,
            () = one!(self.shutdown) => 15,
        }
    }
}
