//! One GET on a connection of its own, without a task: request and connection are driven together and dropped together.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::address::Address;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};

/// An answer is a number.
const MAX_BODY: usize = 64 << 10;
const MAX_HEAD: usize = 64 << 10;

/// What a monitor answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Asks once. The caller limits the time. Cancel-safe.
pub(super) async fn get(address: &Address, env: &Env, connect_timeout: Duration) -> Result<Answer> {
    let unreachable = |what: String| {
        Error::new(ErrorKind::Connection, format!("the monitor at {} {what}: check monitor_host", address.authority()))
    };
    let stream = match env.timeout(connect_timeout, env.dial(address.host(), address.port())).await {
        Some(Ok(stream)) => stream,
        Some(Err(e)) => return Err(unreachable("cannot be reached".into()).with_source(e)),
        None => return Err(unreachable(format!("does not accept a connection within {connect_timeout:?}"))),
    };
    let broken = |e: hyper::Error| {
        let text = format!("the monitor did not answer {address} properly: check monitor_host");
        let kind = if e.is_parse() { ErrorKind::Protocol } else { ErrorKind::Connection };
        Error::new(kind, text).with_source(e)
    };
    let io = TokioIo::new(tokio::io::join(stream.reader, stream.writer));
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(io).await.map_err(broken)?;
    let request = Request::get(address.path_and_query())
        .header(HOST, address.authority())
        .header(USER_AGENT, concat!("dispatcher/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| Error::new(ErrorKind::InvalidConfig, format!("{address} cannot be asked for")).with_source(e))?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|e| match e.downcast::<hyper::Error>() {
            Ok(e) => broken(*e),
            Err(_) => {
                let text = format!("the monitor's answer to {address} is over {MAX_BODY} bytes: check monitor_host");
                Error::new(ErrorKind::Protocol, text)
            }
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        // All that came is in the exchange's hands, which now ends by itself.
        _ = connection => {}
    }
    exchange.await
}
