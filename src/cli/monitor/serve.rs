//! The HTTP server: a task per connection, all of them bounded in number, size and time. What is answered is decided in
//! `route`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Shared;
use super::route::respond;
use crate::cli::signals::Stop;
use crate::env::lock;

/// Beyond these, clients wait to be let in.
const MAX_CONNECTIONS: usize = 256;
/// For a request's head; a connection without one ends then, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// A request's head, at most; it is answered with 431 beyond.
const MAX_HEAD: usize = 16 << 10;
/// A connection gets no new request after this, and ends, however slow its client is, after [`LAST_ANSWER`] more.
const LIFETIME: Duration = Duration::from_secs(120);
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// What answers that are on their way get when the program ends.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves until the first signal.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: Stop) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = stop.raised() => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = accept => match accepted {
                Ok((stream, _)) => {
                    let (shared, stop) = (shared.clone(), stop.clone());
                    connections.spawn(async move {
                        connection(stream, shared, stop).await;
                        drop(permit);
                    });
                }
                // No more files, for example: that passes.
                Err(error) => {
                    tracing::warn!(target: "dispatcher::cli", "no connection could be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, all).await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, stop: Stop) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let now_ms = shared.clock.now_ms();
        let state = lock(&shared.state);
        let response = respond(request.method(), request.uri(), &shared.base, &state, now_ms);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        _ = &mut connection => return,
        () = stop.raised() => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
}
