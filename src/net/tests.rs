#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use super::testing::{Net, Peer, all_versions};
use super::*;
use crate::env::Env;
use crate::error::{Error, ErrorKind};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, Request};

const LIMIT: Duration = Duration::from_secs(30);

fn config() -> ConnectionConfig {
    ConnectionConfig {
        client_id: "test".into(),
        connect_timeout: Duration::from_secs(10),
        max_frame: 100 << 20,
        buffers: Default::default(),
        software: Default::default(),
        security: Default::default(),
    }
}

async fn open(net: &Net) -> Result<Connection, Error> {
    Connection::open(&Env::simulated(1, net.clone()), "kafka", 9092, &config()).await
}

async fn connected<F>(script: impl Fn(Peer) -> F + Send + Sync + 'static) -> (Connection, Env)
where
    F: Future<Output = ()> + Send + 'static,
{
    let net = Net::default();
    net.listen("kafka", 9092, script);
    let env = Env::simulated(1, net);
    (Connection::open(&env, "kafka", 9092, &config()).await.unwrap(), env)
}

fn heartbeat(group: &str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: group.into(), ..Default::default() }
}

/// Answers each heartbeat with the number in its group's name as error code.
async fn echo(mut peer: Peer) {
    peer.negotiate().await;
    while let Some(request) = peer.request().await {
        let code: i16 = request.decode::<HeartbeatRequest>().group_id.parse().unwrap();
        let response = HeartbeatResponse { error_code: ErrorCode(code), ..Default::default() };
        peer.answer::<HeartbeatRequest>(&request, &response).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_pipelined_and_answered_in_call_order() {
    let (connection, _env) = connected(echo).await;
    let version = connection.version::<HeartbeatRequest>(None).unwrap();
    let start = |n: i16| connection.start(&heartbeat(&n.to_string()), version, LIMIT).unwrap();
    let pending: Vec<_> = (0..500).map(start).collect();
    for (n, answer) in pending.into_iter().enumerate().rev() {
        assert_eq!(answer.await.unwrap().error_code.0, n as i16);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_caller_leaves_the_stream_consistent() {
    let (connection, _env) = connected(echo).await;
    for n in 0..50 {
        let dropped = connection.start(&heartbeat("7"), 4, LIMIT).unwrap();
        drop(dropped);
        let request = heartbeat("8");
        let mut half = Box::pin(connection.call(&request, 4, LIMIT));
        tokio::select! { biased; _ = &mut half => {} () = std::future::ready(()) => {} }
        drop(half);
        let code = n % 5;
        assert_eq!(connection.call(&heartbeat(&code.to_string()), 4, LIMIT).await.unwrap().error_code.0, code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_correlation_id_closes_the_connection() {
    let (connection, _env) = connected(|mut peer| async move {
        peer.negotiate().await;
        let mut request = peer.request().await.unwrap();
        request.header.correlation_id += 1;
        peer.answer::<HeartbeatRequest>(&request, &HeartbeatResponse::default()).await;
        peer.silence().await;
    })
    .await;
    let second = connection.start(&heartbeat("1"), 4, LIMIT).unwrap();
    let error = connection.call(&heartbeat("1"), 4, LIMIT).await.unwrap_err();
    assert_eq!((error.kind(), second.await.unwrap_err().kind()), (ErrorKind::Protocol, ErrorKind::Protocol));
    assert!(connection.is_closed());
    let later = connection.call(&heartbeat("1"), 4, LIMIT).await.unwrap_err();
    assert!(later.to_string().contains("was the next"), "{later}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_asked_for_closes_the_connection() {
    let (connection, env) = connected(|mut peer| async move {
        peer.negotiate().await;
        peer.raw(&[0, 0, 0, 4, 0, 0, 0, 9]).await;
        peer.silence().await;
    })
    .await;
    env.sleep(Duration::from_secs(1)).await;
    assert_eq!(connection.call(&heartbeat("1"), 4, LIMIT).await.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_overdue_request_closes_the_connection_within_its_limit() {
    let (connection, env) = connected(|mut peer| async move {
        peer.negotiate().await;
        peer.silence().await;
    })
    .await;
    let begun = env.now();
    let mut long = connection.start(&heartbeat("1"), 4, Duration::from_secs(90)).unwrap();
    let short = connection.start(&heartbeat("1"), 4, Duration::from_secs(5)).unwrap();
    let error = short.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("Heartbeat within 5s"), "{error}");
    assert_eq!((env.now() - begun).as_secs(), 5);
    assert!((&mut long).await.is_err() && long.maybe_sent());
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_from_its_own_request_not_from_an_earlier_timer() {
    let (connection, env) = connected(|mut peer| async move {
        peer.negotiate().await;
        let first = peer.request().await.unwrap();
        peer.answer::<HeartbeatRequest>(&first, &HeartbeatResponse::default()).await;
        peer.silence().await;
    })
    .await;
    connection.call(&heartbeat("1"), 4, LIMIT).await.unwrap();
    env.sleep(Duration::from_secs(20)).await;
    let begun = env.now();
    connection.call(&heartbeat("1"), 4, LIMIT).await.unwrap_err();
    assert_eq!((env.now() - begun).as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_written_is_known_not_to_be_sent() {
    let (connection, _env) = connected(|mut peer| async move {
        peer.negotiate().await;
        // Reads nothing: the pipe of 1 MiB fills up within the second request.
        tokio::time::sleep(Duration::from_secs(3)).await;
    })
    .await;
    let big = || heartbeat(&"x".repeat(30_000));
    let mut pending: Vec<_> = (0..100).map(|_| connection.start(&big(), 4, LIMIT).unwrap()).collect();
    let mut sent = 0;
    for answer in &mut pending {
        assert_eq!((&mut *answer).await.unwrap_err().kind(), ErrorKind::Connection);
        sent += usize::from(answer.maybe_sent());
    }
    assert_eq!(sent, (1 << 20) / 30_000 + 1, "those in the pipe and the one that was cut");
    assert!(pending[0].maybe_sent() && !pending[99].maybe_sent());
}

#[tokio::test(start_paused = true)]
async fn a_full_socket_is_finished_by_the_driver() {
    let (connection, _env) = connected(|mut peer| async move {
        peer.negotiate().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        while let Some(request) = peer.request().await {
            peer.answer::<HeartbeatRequest>(&request, &HeartbeatResponse::default()).await;
        }
    })
    .await;
    let big = heartbeat(&"x".repeat(30_000));
    let pending: Vec<_> = (0..200).map(|_| connection.start(&big, 4, LIMIT).unwrap()).collect();
    for answer in pending {
        answer.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_lets_waiting_callers_finish_and_then_closes() {
    let (closed, mut was_closed) = tokio::sync::mpsc::channel(1);
    let (connection, env) = connected(move |mut peer| {
        let closed = closed.clone();
        async move {
            peer.negotiate().await;
            let request = peer.request().await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            peer.answer::<HeartbeatRequest>(&request, &HeartbeatResponse::default()).await;
            assert!(peer.request().await.is_none());
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let begun = env.now();
    let pending = connection.start(&heartbeat("1"), 4, LIMIT).unwrap();
    drop(connection);
    pending.await.unwrap();
    was_closed.recv().await.unwrap();
    assert_eq!((env.now() - begun).as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_client_stays_silent_and_grants_its_requests_the_time() {
    let (connection, env) = connected(|mut peer| async move {
        peer.negotiate().await;
        let first = peer.request().await.unwrap();
        let throttled = HeartbeatResponse { throttle_time_ms: 20_000, ..Default::default() };
        peer.answer::<HeartbeatRequest>(&first, &throttled).await;
        let second = peer.request().await.unwrap();
        tokio::time::sleep(Duration::from_secs(25)).await;
        peer.answer::<HeartbeatRequest>(&second, &HeartbeatResponse::default()).await;
        peer.silence().await;
    })
    .await;
    let begun = env.now();
    connection.call(&heartbeat("1"), 4, LIMIT).await.unwrap();
    assert_eq!((env.now() - begun).as_secs(), 0);
    connection.call(&heartbeat("1"), 4, LIMIT).await.unwrap();
    assert_eq!((env.now() - begun).as_secs(), 45);
}

#[tokio::test(start_paused = true)]
async fn before_kip_219_the_broker_has_waited_already() {
    let (connection, env) = connected(|mut peer| async move {
        peer.negotiate().await;
        while let Some(request) = peer.request().await {
            let throttled = HeartbeatResponse { throttle_time_ms: 20_000, ..Default::default() };
            peer.answer::<HeartbeatRequest>(&request, &throttled).await;
        }
    })
    .await;
    let begun = env.now();
    connection.call(&heartbeat("1"), 1, LIMIT).await.unwrap();
    connection.call(&heartbeat("1"), 1, LIMIT).await.unwrap();
    connection.throttle::<ProduceRequest>(5, 1000);
    connection.call(&heartbeat("1"), 1, LIMIT).await.unwrap();
    assert_eq!((env.now() - begun).as_secs(), 0);
    connection.throttle::<ProduceRequest>(6, 1000);
    connection.call(&heartbeat("1"), 1, LIMIT).await.unwrap();
    assert_eq!((env.now() - begun).as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_broker_is_asked_again_at_the_version_it_names_or_at_zero() {
    for (range, expected) in [(Some((0, 2)), vec![4, 2]), (None, vec![4, 0])] {
        let (connection, _env) = connected(move |mut peer| {
            let expected = expected.clone();
            async move {
                let request = peer.request().await.unwrap();
                assert_eq!(request.header.api_version, expected[0]);
                let mut refusal = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..all_versions() };
                refusal.api_keys.retain(|a| a.api_key == ApiVersionsRequest::KEY && range.is_some());
                for api in &mut refusal.api_keys {
                    (api.min_version, api.max_version) = range.unwrap();
                }
                let id = request.header.correlation_id;
                let frame = crate::wire::header::encode_response::<ApiVersionsRequest>(&refusal, 0, id).unwrap();
                peer.raw(&frame.into_bytes()).await;
                let again = peer.request().await.unwrap();
                assert_eq!(again.header.api_version, expected[1]);
                peer.answer::<ApiVersionsRequest>(&again, &all_versions()).await;
                peer.silence().await;
            }
        })
        .await;
        assert_eq!(connection.version::<HeartbeatRequest>(None).unwrap(), HeartbeatRequest::MAX);
        assert_eq!(connection.version::<ProduceRequest>(Some(12)).unwrap(), 12);
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_the_broker_lacks_is_named() {
    let (connection, _env) = connected(|mut peer| async move {
        let request = peer.request().await.unwrap();
        let mut offer = all_versions();
        offer.api_keys.retain(|a| a.api_key != HeartbeatRequest::KEY);
        offer.api_keys.iter_mut().find(|a| a.api_key == ProduceRequest::KEY).unwrap().max_version = 1;
        peer.answer::<ApiVersionsRequest>(&request, &offer).await;
        peer.silence().await;
    })
    .await;
    for error in [
        connection.version::<HeartbeatRequest>(None).unwrap_err(),
        connection.version::<ProduceRequest>(None).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        assert!(error.to_string().contains("of Heartbeat") || error.to_string().contains("to 1 of Produce"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_not_to_be_a_broker_has_its_own_error_within_the_limit() {
    let net = Net::default();
    let env = Env::simulated(1, net.clone());
    let begun = env.now();
    let refused = open(&net).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Connection);
    assert!(refused.to_string().contains("kafka:9092") && refused.to_string().contains("refused"), "{refused}");

    net.listen("kafka", 9092, |peer| peer.silence());
    let silent = open(&net).await.unwrap_err();
    assert_eq!((silent.kind(), (env.now() - begun).as_secs()), (ErrorKind::Timeout, 10));

    net.listen("kafka", 9092, |mut peer| async move {
        peer.request().await;
    });
    let closes = open(&net).await.unwrap_err();
    assert_eq!(closes.kind(), ErrorKind::Connection);

    let answers: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (&[0x15, 3, 3, 0, 2, 2, 70], "TLS"),
        (&[0x7f, 0xff, 0xff, 0xff], "2147483647"),
        (&[0xff, 0xff, 0xff, 0xff], "-1"),
        (&[0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "not Kafka's protocol"),
    ];
    for (bytes, hint) in answers {
        net.listen("kafka", 9092, move |mut peer| async move {
            peer.request().await;
            peer.raw(bytes).await;
            peer.silence().await;
        });
        let error = open(&net).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
    assert_eq!((env.now() - begun).as_secs(), 10, "all but silence are noticed at once");
}
