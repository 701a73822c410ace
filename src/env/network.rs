//! A network other than TCP, such as the in-memory streams of an embedded cluster, that a dispatcher can be put on.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::{Dial, Transport};

/// Where a dispatcher's connections lead instead of TCP: see [`Builder::network`](crate::Builder::network). Clones are
/// the same network.
#[derive(Clone)]
pub struct Network {
    dial: Arc<dyn Dial>,
    /// Set: whoever is put on this network takes its randomness from here, and its wall clock moves with tokio's clock.
    seeds: Option<Arc<AtomicU64>>,
}

impl Network {
    pub(crate) fn new(dial: impl Dial, seed: Option<u64>) -> Self {
        Self { dial: Arc::new(dial), seeds: seed.map(|seed| Arc::new(AtomicU64::new(seed))) }
    }

    /// Each who joins gets a seed of its own, in the order of joining.
    pub(super) fn next_seed(&self) -> Option<u64> {
        let seeds = self.seeds.as_ref()?;
        // The step is odd, so that no seed comes twice.
        Some(seeds.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }
}

#[async_trait]
impl Dial for Network {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Transport> {
        self.dial.dial(host, port).await
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}
