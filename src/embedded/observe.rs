//! Watching what clients ask and get, for tests that count requests or compare whole runs.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::Api;
use crate::env::lock;

/// A request and what became of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RequestEvent {
    /// The broker's node id.
    pub broker: i32,
    /// Numbers the cluster's connections in the order in which they were opened, from 1.
    pub connection: u64,
    /// What was asked for.
    pub api: Api,
    /// The version of the API.
    pub version: i16,
    /// The request frame, header included, without its length.
    pub request: Bytes,
    /// The response frame likewise; `None` if none was sent.
    pub response: Option<Bytes>,
}

type Observer = Arc<dyn Fn(&RequestEvent) + Send + Sync>;

#[derive(Default)]
pub(super) struct Observers(Mutex<Vec<Observer>>);

impl Observers {
    pub(super) fn add(&self, observer: impl Fn(&RequestEvent) + Send + Sync + 'static) {
        lock(&self.0).push(Arc::new(observer));
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    pub(super) fn tell(&self, event: &RequestEvent) {
        let observers = lock(&self.0).clone();
        observers.iter().for_each(|observer| observer(event));
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observers")
    }
}
