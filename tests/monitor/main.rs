//! `dispatcher monitor` as a process, over an embedded cluster with a growing, a draining, a stuck and an abandoned
//! group: what scripts, Prometheus, the Go dispatcher, our own client and a browser get of it.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod browser;
mod endpoints;
mod page;
mod scene;
mod server;
