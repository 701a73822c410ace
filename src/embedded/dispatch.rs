//! From a request frame to a response frame: decodes, lets a fault have its way, serves, encodes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Api;
use super::apis;
use super::faults::Action;
use super::groups::Client;
use super::observe::RequestEvent;
use super::refuse::Refuse;
use super::shared::Shared;
use super::state::State;
use crate::wire::header::{RequestHeader, encode_response};
use crate::wire::messages::every::{api, for_each_api};
use crate::wire::messages::*;
use crate::wire::primitives::Frame;
use crate::wire::{ErrorCode, Reader, Request};

/// A request's circumstances.
pub(super) struct Call {
    pub(super) cluster: Arc<Shared>,
    /// The broker that was asked.
    pub(super) broker: i32,
    pub(super) version: i16,
    pub(super) client: Client,
    pub(super) now: Instant,
    /// Ms since 1970.
    pub(super) wall_ms: i64,
}

/// What comes of a request.
pub(super) enum Answer<T> {
    Ready(T),
    /// It has to wait. The connection's next request waits behind it, as on Kafka.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
    /// Produce with `acks=0`.
    None,
    /// The broker hangs up.
    Close,
}

/// A request that this broker can carry out.
pub(super) trait Serve: Refuse + Clone {
    /// Carries it out under the lock of the state.
    fn serve(self, call: &Call, state: &mut State) -> Answer<Self::Response>;
}

/// What the connection has to do.
pub(super) enum Reply {
    Send(Frame),
    /// Write so many bytes of it, then hang up.
    Cut(Frame, usize),
    Nothing,
    Close,
    /// Never answer again, and stay.
    Silence,
}

/// Answers one request frame (without its length).
pub(super) async fn answer(cluster: &Arc<Shared>, broker: i32, connection: u64, host: &str, frame: Bytes) -> Reply {
    let mut body = Reader::new(frame.clone());
    let flexible = |key, version| api(key).is_some_and(|a| version >= a.flexible);
    let Ok(header) = RequestHeader::decode(&mut body, flexible) else { return Reply::Close };
    let Some(kind) = Api::from_key(header.api_key) else { return Reply::Close };
    let (now, wall_ms) = (cluster.env.now(), cluster.env.wall_ms());
    let client_id = header.client_id.as_deref().unwrap_or_default().to_owned();
    let client = Client { client_id, host: host.to_owned() };
    let version = header.api_version;
    let mut call = Call { cluster: cluster.clone(), broker, version, client, now, wall_ms };
    let (offered, action) = {
        let mut state = cluster.state();
        let action = state.faults.pick(kind, broker, connection, || cluster.env.random(|r| r.f64()));
        (state.settings.version.range(header.api_key), action)
    };
    if !offered.is_some_and(|(min, max)| (min..=max).contains(&version)) {
        if kind != Api::ApiVersions {
            tracing::debug!(target: "dispatcher::embedded", %kind, version, "asked for a version that is not offered");
            return Reply::Close;
        }
        // The client reads error 35 and the range of ApiVersions in the form of v0, and asks again (KIP-511).
        let response = apis::offered(&cluster.state(), ErrorCode::UNSUPPORTED_VERSION);
        return encode::<ApiVersionsRequest>(&response, 0, header.correlation_id);
    }
    macro_rules! typed {
        ($($request:ident)*) => {
            match header.api_key {
                $($request::KEY => typed::<$request>(&mut call, body, header.correlation_id, action).await,)*
                _ => Reply::Close,
            }
        };
    }
    let reply = for_each_api!(typed);
    if !cluster.observers.is_empty() {
        let response = match &reply {
            Reply::Send(sent) => Some(without_length(sent)),
            Reply::Cut(sent, at) => Some(without_length(sent)).map(|b| b.slice(..b.len().min(at.saturating_sub(4)))),
            _ => None,
        };
        cluster.observers.tell(&RequestEvent { broker, connection, api: kind, version, request: frame, response });
    }
    reply
}

fn without_length(frame: &Frame) -> Bytes {
    frame.clone().into_bytes().slice(4..)
}

async fn typed<R: Serve>(call: &mut Call, mut body: Reader, correlation_id: i32, action: Option<Action>) -> Reply {
    let version = call.version;
    // Bytes behind it are no matter, as on Kafka: librdkafka sends some in Metadata v13.
    let request = match R::decode(&mut body, version) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(target: "dispatcher::embedded", api = R::NAME, version, %error, "a request cannot be read");
            return Reply::Close;
        }
    };
    let answers = request.wants_answer();
    match action {
        Some(Action::Error(_)) if !answers => return Reply::Close,
        Some(Action::Error(code)) => return encode::<R>(&request.refuse(version, code), version, correlation_id),
        Some(Action::Delay(time)) => {
            call.cluster.env.sleep(time).await;
            (call.now, call.wall_ms) = (call.cluster.env.now(), call.cluster.env.wall_ms());
        }
        Some(Action::DropBefore) => return Reply::Close,
        Some(Action::Silence) => return Reply::Silence,
        _ => {}
    }
    let asked = matches!(action, Some(Action::ErrorAfter(_))).then(|| request.clone());
    let answer = {
        let mut state = call.cluster.state();
        if !state.is_running(call.broker) {
            // Stopped since the request was read.
            return Reply::Close;
        }
        request.serve(call, &mut state)
    };
    let mut response = match answer {
        // Refused as a whole.
        Answer::Ready(_) if !answers => return Reply::Close,
        Answer::Ready(response) => response,
        Answer::Later(response) => response.await,
        Answer::None => {
            return match action {
                Some(Action::ErrorAfter(_) | Action::DropAfter | Action::Truncate(_)) => Reply::Close,
                _ => Reply::Nothing,
            };
        }
        Answer::Close => return Reply::Close,
    };
    if let (Some(Action::ErrorAfter(code)), Some(asked)) = (action, asked) {
        asked.overrule(version, code, &mut response);
    }
    if let Some(Action::Throttle(time)) = action {
        R::throttle(&mut response, millis(time));
    }
    let reply = encode::<R>(&response, version, correlation_id);
    match (action, reply) {
        (Some(Action::DropAfter), _) => Reply::Close,
        (Some(Action::DelayAfter(time)), reply) => {
            call.cluster.env.sleep(time).await;
            reply
        }
        (Some(Action::Truncate(at)), Reply::Send(frame)) => Reply::Cut(frame, at),
        (Some(Action::Corrupt(at)), Reply::Send(frame)) => {
            let mut bytes = frame.into_bytes().to_vec();
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << (at % 8);
            Reply::Send(Frame { parts: vec![bytes.into()] })
        }
        (_, reply) => reply,
    }
}

fn encode<R: Request>(response: &R::Response, version: i16, correlation_id: i32) -> Reply {
    match encode_response::<R>(response, version, correlation_id) {
        Ok(frame) => Reply::Send(frame),
        Err(error) => {
            tracing::error!(target: "dispatcher::embedded", api = R::NAME, version, %error, "a response cannot be encoded");
            Reply::Close
        }
    }
}

/// As Kafka's fields have it.
pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{EmbeddedCluster, Fault};
    use crate::wire::header::encode_request;
    use crate::wire::messages::produce::{PartitionData, TopicData};

    /// A Produce that wants no answer, to a topic that is there or not.
    async fn without_answer(fault: Option<Fault>, topic: &str) -> Reply {
        let cluster = EmbeddedCluster::builder().topic("t", 1).in_memory().start().await.unwrap();
        fault.into_iter().for_each(|fault| cluster.inject(fault));
        let mut log = crate::wire::records::BatchBuilder::new(usize::MAX, bytes::BytesMut::new());
        log.try_append(cluster.shared().env.wall_ms(), None, Some(b"x"), &[]).unwrap();
        let body = log.finish(crate::wire::records::Compression::None).unwrap();
        let batch = [&body.stamp(crate::wire::records::NO_PRODUCER)[..], body.body()].concat();
        let records = Some(crate::wire::Records(vec![batch.into()]));
        let data = PartitionData { index: 0, records };
        let topic = TopicData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: 0, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() };
        let frame = encode_request(&request, 9, 7, &"client".into()).unwrap().into_bytes().slice(4..);
        answer(cluster.shared(), 1, 1, "/host", frame).await
    }

    #[tokio::test]
    async fn who_wants_no_answer_gets_none_and_is_told_of_trouble_by_hanging_up() {
        let produce = || Fault::on(Api::Produce);
        assert!(matches!(without_answer(None, "t").await, Reply::Nothing));
        assert!(matches!(without_answer(Some(produce().throttle(Duration::from_secs(1))), "t").await, Reply::Nothing));
        assert!(matches!(without_answer(None, "unknown").await, Reply::Close));
        let refused = ErrorCode::NOT_ENOUGH_REPLICAS;
        for fault in
            [produce().error(refused), produce().error_after(refused), produce().drop_after(), produce().truncate(9)]
        {
            let name = format!("{fault:?}");
            assert!(matches!(without_answer(Some(fault), "t").await, Reply::Close), "{name}");
        }
    }
}
