//! Clocks, the process's own figures, and the guard against standing still.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// A run without progress for this long is given up.
const GIVE_UP: Duration = Duration::from_secs(30);

/// What a workload found.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) done: u64,
    pub(super) bytes: u64,
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    /// Sorted.
    pub(super) latencies_us: Vec<f64>,
}

impl Measured {
    pub(super) fn with_latencies(mut self, mut micros: Vec<f64>) -> Self {
        micros.sort_by(f64::total_cmp);
        self.latencies_us = micros;
        self
    }

    /// Exact: the smallest sample that at least this part of all samples do not exceed.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.latencies_us.len();
        let rank = (part * count as f64).ceil().max(1.0) as usize;
        self.latencies_us.get(rank.min(count).checked_sub(1)?).copied()
    }
}

/// Wall and CPU time from one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch {
    started: Instant,
    cpu: Option<ProcessTime>,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), cpu: ProcessTime::try_now().ok() }
    }

    pub(super) fn wall(&self) -> Duration {
        self.started.elapsed()
    }

    /// User and system time of this process since then.
    pub(super) fn cpu(&self) -> Duration {
        self.cpu.and_then(|start| start.try_elapsed().ok()).unwrap_or_default()
    }
}

/// Runs `work` while `done` grows; None if it stood still for 30 s.
pub(super) async fn while_it_moves<T>(done: &AtomicU64, work: impl Future<Output = T>) -> Option<T> {
    let still = async {
        let (mut last, mut since) = (done.load(Ordering::Relaxed), Instant::now());
        while since.elapsed() < GIVE_UP {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = done.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    };
    tokio::select! {
        biased;
        out = work => Some(out),
        () = still => None,
    }
}

/// The most memory this process has had at once, where the system tells.
pub(super) fn max_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let measured = Measured::default().with_latencies((1..=100).rev().map(f64::from).collect());
        assert_eq!(measured.quantile(0.5), Some(50.0));
        assert_eq!(measured.quantile(0.99), Some(99.0));
        assert_eq!(measured.quantile(1.0), Some(100.0));
        assert_eq!(Measured::default().quantile(0.5), None);
    }
}
