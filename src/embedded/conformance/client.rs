//! A bare client: a request to the broker of one's choice at the version of one's choice, and whatever comes back. No
//! retries, no leader search, nothing between a scenario and the wire.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::embedded::EmbeddedCluster;
use crate::env::{Env, Transport, lock};
use crate::wire::Request;
use crate::wire::header::{decode_response, encode_request};
use crate::wire::messages::{ApiVersionsRequest, MetadataRequest};

/// Longer than any answer may take.
const LIMIT: Duration = Duration::from_secs(8);
/// The correlation id of every request: there is one at a time on a connection.
pub(super) const CORRELATION: i32 = 7;

/// A cluster as a scenario sees it.
pub(super) struct World {
    side: &'static str,
    pub(super) env: Env,
    pub(super) brokers: BTreeMap<i32, (String, u16)>,
    idle: Mutex<BTreeMap<i32, Vec<Transport>>>,
    ranges: BTreeMap<i16, (i16, i16)>,
    /// The handle, if it is the embedded one.
    pub(super) embedded: Option<EmbeddedCluster>,
    tag: String,
    /// Ms since 1970: the time that timestamps of a scenario are relative to.
    pub(super) t0: i64,
}

impl World {
    pub(super) async fn new(side: &'static str, bootstrap: &str, tag: &str, embedded: Option<EmbeddedCluster>) -> Self {
        let env = Env::system();
        let first = bootstrap.split(',').next().and_then(|b| b.rsplit_once(':')).unwrap();
        let seed = BTreeMap::from([(0, (first.0.to_owned(), first.1.parse().unwrap()))]);
        let t0 = env.wall_ms() - 100_000;
        let (idle, ranges, tag) = (Mutex::default(), BTreeMap::new(), tag.to_owned());
        let mut world = Self { side, env, brokers: seed, idle, ranges, embedded, tag, t0 };
        let metadata = world.ask(0, &MetadataRequest::default(), 9).await;
        let offered = world.ask(0, &ApiVersionsRequest::default(), 0).await;
        world.brokers =
            metadata.brokers.iter().map(|b| (b.node_id, (b.host.to_string(), b.port.try_into().unwrap()))).collect();
        world.ranges = offered.api_keys.iter().map(|a| (a.api_key, (a.min_version, a.max_version))).collect();
        world
    }

    /// A name of this run's own.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{name}{}", self.tag)
    }

    /// The oldest and the newest version of an API that both speak; Produce's oldest is 3.
    pub(super) fn versions<R: Request>(&self) -> (i16, i16) {
        let (min, max) = self.ranges.get(&R::KEY).copied().unwrap_or((R::MIN, R::MIN));
        (min.max(R::MIN), max.min(R::MAX))
    }

    /// What a broker offers of an API, from what version to what.
    pub(super) fn range(&self, key: i16) -> (i16, i16) {
        self.ranges.get(&key).copied().unwrap_or((-1, -1))
    }

    /// The newest, but at most `cap`.
    pub(super) fn newest<R: Request>(&self, cap: i16) -> i16 {
        self.versions::<R>().1.min(cap)
    }

    /// All of `wanted` that are offered, the newest always.
    pub(super) fn each<R: Request>(&self, wanted: &[i16]) -> Vec<i16> {
        let (min, max) = self.versions::<R>();
        let mut all: Vec<i16> = wanted.iter().copied().filter(|v| (min..=max).contains(v)).collect();
        if !all.contains(&max) {
            all.push(max);
        }
        all
    }

    async fn connect(&self, broker: i32) -> Transport {
        let (host, port) = &self.brokers[&broker];
        self.env.dial(host, *port).await.unwrap()
    }

    /// Sends a frame and reads one, or says what the broker does instead of answering.
    pub(super) async fn exchange(&self, broker: i32, frame: &Bytes) -> Result<Bytes, &'static str> {
        let pooled = lock(&self.idle).entry(broker).or_default().pop();
        let mut transport = match pooled {
            Some(transport) => transport,
            None => self.connect(broker).await,
        };
        transport.writer.write_all(frame).await.map_err(|_| "hangs up")?;
        let answer = tokio::time::timeout(LIMIT, read(&mut transport)).await;
        let answer = answer.map_err(|_| "says nothing")?.ok_or("hangs up")?;
        lock(&self.idle).entry(broker).or_default().push(transport);
        Ok(answer)
    }

    /// Asks; the error is what the broker does instead of answering.
    pub(super) async fn try_ask<R: Request>(
        &self,
        broker: i32,
        request: &R,
        version: i16,
    ) -> Result<R::Response, &'static str> {
        let frame = encode_request(request, version, CORRELATION, &"conformance".into());
        let frame = frame.unwrap_or_else(|e| panic!("{} v{version}: {e}", R::NAME)).into_bytes();
        let answer = self.exchange(broker, &frame).await?;
        let decoded = decode_response::<R>(answer, version);
        Ok(decoded.unwrap_or_else(|e| panic!("{} answers {} v{version} with {e}", self.side, R::NAME)))
    }

    /// Asks.
    pub(super) async fn ask<R: Request>(&self, broker: i32, request: &R, version: i16) -> R::Response {
        let answer = self.try_ask(broker, request, version).await;
        answer.unwrap_or_else(|what| panic!("{} {what} when asked {} v{version}", self.side, R::NAME))
    }

    /// Sends what wants no answer. Whether the connection is of use after that.
    pub(super) async fn tell<R: Request>(&self, broker: i32, request: &R, version: i16) -> bool {
        let mut transport = self.connect(broker).await;
        let frame = encode_request(request, version, CORRELATION, &"conformance".into()).unwrap().into_bytes();
        let next = encode_request(&ApiVersionsRequest::default(), 0, CORRELATION, &"conformance".into()).unwrap();
        transport.writer.write_all(&frame).await.unwrap();
        let sent = transport.writer.write_all(&next.into_bytes()).await;
        let answer = tokio::time::timeout(LIMIT, read(&mut transport)).await;
        sent.is_ok() && answer.unwrap_or_else(|_| panic!("{} says nothing", self.side)).is_some()
    }

    /// Asks again and again until the answer is there: for what a broker does in the background.
    pub(super) async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        for _ in 0..1000 {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        panic!("{}: no {what}", self.side);
    }
}

async fn read(transport: &mut Transport) -> Option<Bytes> {
    let length = transport.reader.read_u32().await.ok()?;
    let mut frame = vec![0; length as usize];
    transport.reader.read_exact(&mut frame).await.ok()?;
    Some(frame.into())
}
