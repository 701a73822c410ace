//! `monitor`: one task looks at the cluster at intervals, and what it has seen is served over HTTP: a page, JSON,
//! Prometheus metrics, and the endpoint of the Go dispatcher. No request reaches the cluster.

mod metrics;
mod route;
mod seen;
mod serve;
mod state;
mod views;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

use super::args::Common;
use super::args_monitor::MonitorArgs;
use super::connect;
use super::exit::{Exit, Outcome};
use super::output::print_row;
use super::signals::Stop;
use crate::Dispatcher;
use crate::env::lock;
use state::{Settings, State};

/// What the polling task and the connections share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: Clock,
    base: String,
}

/// Milliseconds since 1970 that never go back.
#[derive(Debug)]
struct Clock {
    began: Instant,
    began_ms: i64,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), began_ms: since.as_millis() as i64 }
    }

    fn now_ms(&self) -> i64 {
        self.began_ms + self.began.elapsed().as_millis() as i64
    }
}

#[derive(Serialize)]
struct Row<'a> {
    v: u8,
    url: &'a str,
}

/// Serves until the first signal.
pub(super) async fn run(all: &Common, args: MonitorArgs) -> Outcome {
    let stop = Stop::listen();
    let taken = |e: std::io::Error| {
        Exit::failed(format!("{} cannot be listened on: {e}: choose another address with --listen", args.listen))
    };
    let listener = TcpListener::bind(&args.listen).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    let dispatcher = connect::connect_admin(all).await?;
    let ms = |d: Duration| d.as_millis() as i64;
    let settings =
        Settings { interval_ms: ms(args.interval), history_ms: ms(args.history), stuck_after_ms: ms(args.stuck_after) };
    let state = Mutex::new(State::new(settings));
    let shared = Arc::new(Shared { state, clock: Clock::new(), base: args.base });
    let polling = tokio::spawn(poll(dispatcher.clone(), args.groups, args.interval, shared.clone()));
    let url = format!("http://{address}{}/", shared.base);
    print_row(all.json, &Row { v: 1, url: &url }, || url.clone())?;
    serve::serve(listener, shared, stop).await;
    polling.abort();
    connect::close(dispatcher).await;
    Ok(())
}

/// Looks at the cluster for ever. A look that takes longer than the interval delays the next one.
async fn poll(dispatcher: Dispatcher, only: Vec<String>, interval: Duration, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = seen::look(&dispatcher, &only).await;
        let now_ms = shared.clock.now_ms();
        let mut state = lock(&shared.state);
        match looked {
            Ok(groups) => state.observe(now_ms, groups),
            Err(error) => {
                tracing::warn!(target: "dispatcher::cli", "the groups could not be listed: {error}");
                state.failed(error.to_string());
            }
        }
    }
}
