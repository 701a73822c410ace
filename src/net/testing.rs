//! Scripted brokers in memory, for tests of this room and those above it: a [`Net`] is a `Dial`, every address on it a
//! script that is run once per connection.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::env::{Dial, Transport, lock};
use crate::wire::header::{RequestHeader, encode_response};
use crate::wire::messages::api_versions::ApiVersion;
use crate::wire::messages::*;
use crate::wire::{Reader, Request};

type Script = Arc<dyn Fn(Peer) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Addresses and what answers there. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Net(Arc<Mutex<NetState>>);

#[derive(Default)]
struct NetState {
    scripts: BTreeMap<(String, u16), Script>,
    dialled: Vec<String>,
}

impl Net {
    /// Runs `script` for each connection to `host:port` from now on.
    pub(crate) fn listen<F>(&self, host: &str, port: u16, script: impl Fn(Peer) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let script: Script = Arc::new(move |peer| Box::pin(script(peer)));
        lock(&self.0).scripts.insert((host.into(), port), script);
    }

    /// Connections to it are refused from now on.
    pub(crate) fn refuse(&self, host: &str, port: u16) {
        lock(&self.0).scripts.remove(&(host.into(), port));
    }

    /// Every address that was dialled, in order.
    pub(crate) fn dialled(&self) -> Vec<String> {
        lock(&self.0).dialled.clone()
    }
}

#[async_trait::async_trait]
impl Dial for Net {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Transport> {
        let script = {
            let mut state = lock(&self.0);
            state.dialled.push(format!("{host}:{port}"));
            state.scripts.get(&(host.to_owned(), port)).cloned()
        };
        let script = script.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(script(Peer { stream: theirs }));
        Ok(Transport::new(ours))
    }
}

/// The broker's end of one connection.
pub(crate) struct Peer {
    pub(crate) stream: DuplexStream,
}

/// A request as the broker sees it.
pub(crate) struct Received {
    pub(crate) header: RequestHeader,
    body: Reader,
}

impl Received {
    pub(crate) fn decode<R: Request>(&self) -> R {
        R::decode(&mut self.body.clone(), self.header.api_version).unwrap()
    }
}

fn flexible(key: i16, version: i16) -> bool {
    version >= api(key).unwrap_or_else(|| panic!("no such API: {key}")).flexible
}

/// Every API of this crate at all its versions, those of SASL too.
pub(crate) fn all_versions() -> ApiVersionsResponse {
    let range = |a: &Api| ApiVersion { api_key: a.key, min_version: a.min, max_version: a.max };
    ApiVersionsResponse { api_keys: APIS.iter().chain(every::SASL_APIS).map(range).collect(), ..Default::default() }
}

impl Peer {
    /// The next request; `None` when the client has closed the stream.
    pub(crate) async fn request(&mut self) -> Option<Received> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        let mut body = Reader::new(Bytes::from(frame));
        let header = RequestHeader::decode(&mut body, flexible).unwrap();
        Some(Received { header, body })
    }

    pub(crate) async fn answer<R: Request>(&mut self, to: &Received, response: &R::Response) {
        assert_eq!(to.header.api_key, R::KEY);
        let frame = encode_response::<R>(response, to.header.api_version, to.header.correlation_id).unwrap();
        self.raw(&frame.into_bytes()).await;
    }

    /// Bytes as they are; it is no matter if the client has gone.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Answers ApiVersions with all that this crate knows.
    pub(crate) async fn negotiate(&mut self) {
        if let Some(request) = self.request().await {
            self.answer::<ApiVersionsRequest>(&request, &all_versions()).await;
        }
    }

    /// Keeps the stream open and says nothing.
    pub(crate) async fn silence(mut self) {
        while self.request().await.is_some() {}
    }
}
