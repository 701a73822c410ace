//! The look inside: records as they lie in the log, requests as they come, groups.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, Fault};
use dispatcher::{Compression, Envelope};
use tokio::time::Instant;

use super::{Reader, on, read, send, single, start, within};

#[tokio::test(start_paused = true)]
async fn records_are_shown_as_they_were_sent() {
    let (cluster, _) = single().await;
    let dispatcher = on(&cluster).envelope(Envelope::Raw).connect().await.unwrap();
    dispatcher
        .send("t", "value")
        .key("key")
        .header("a", "1")
        .header("a", None::<&str>)
        .header("b", b"\xff".to_vec())
        .timestamp(1234)
        .await
        .unwrap();
    dispatcher.send("t", None::<&str>).key("key").await.unwrap();
    dispatcher.send("t", "").await.unwrap();
    let records = cluster.records("t", 0);
    assert_eq!(records.iter().map(|r| r.offset).collect::<Vec<_>>(), [0, 1, 2]);
    let first = &records[0];
    assert_eq!(
        (first.timestamp, first.key.as_deref(), first.value.as_deref()),
        (1234, Some(&b"key"[..]), Some(&b"value"[..]))
    );
    let headers =
        [("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None), ("b".to_owned(), Some(b"\xff".to_vec()))];
    assert_eq!(first.headers, headers);
    assert_eq!((records[1].key.as_deref(), records[1].value.as_deref()), (Some(&b"key"[..]), None));
    assert_eq!((records[2].key.as_deref(), records[2].value.as_deref()), (None, Some(&b""[..])));
    assert!(records[2].headers.is_empty());
    assert!(cluster.records("t", 1).is_empty() && cluster.records("nowhere", 0).is_empty());
}

#[tokio::test(start_paused = true)]
async fn compressed_records_are_shown_as_well() {
    let (cluster, _) = single().await;
    for (offset, codec) in
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd].iter().enumerate()
    {
        let dispatcher = on(&cluster).compression(*codec).connect().await.unwrap();
        dispatcher.send("t", vec![b'x'; 10_000]).await.unwrap();
        assert_eq!(cluster.records("t", 0)[offset].value.as_deref(), Some(&[b'x'; 10_000][..]), "{codec:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_compressed_by_its_own_codec() {
    let cluster = start(EmbeddedCluster::builder().topic("t", 1).topic("own", 1)).await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let into = sent.clone();
    cluster.observe(move |event| {
        if event.api == Api::Produce {
            into.lock().unwrap().push(event.request.clone());
        }
    });
    let builder = on(&cluster).compression(Compression::Gzip).topic_compression("own", Compression::Zstd).zstd_level(9);
    let dispatcher = builder.connect().await.unwrap();
    for topic in ["t", "own"] {
        dispatcher.send(topic, vec![b'x'; 10_000]).await.unwrap();
        assert_eq!(cluster.records(topic, 0)[0].value.as_deref(), Some(&[b'x'; 10_000][..]), "{topic}");
    }
    let (gzip, zstd) = (&[0x1f, 0x8b, 8][..], &[0x28, 0xb5, 0x2f, 0xfd][..]);
    let has = |request: usize, magic: &[u8]| sent.lock().unwrap()[request].windows(magic.len()).any(|w| w == magic);
    assert_eq!([has(0, gzip), has(0, zstd), has(1, gzip), has(1, zstd)], [true, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn an_observer_gets_every_request_with_its_answer() {
    let cluster = start(EmbeddedCluster::builder().topic("t", 1)).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    cluster.observe(move |event| into.lock().unwrap().push(event.clone()));
    let dispatcher = on(&cluster).connect().await.unwrap();
    send(&dispatcher, 0..5).await;
    cluster.inject(Fault::on(Api::Produce).drop_after());
    send(&dispatcher, 5..6).await;
    read(&dispatcher, "t", "g").await;
    let seen = seen.lock().unwrap();
    let count = |api| seen.iter().filter(|e| e.api == api).count();
    assert_eq!((count(Api::Produce), count(Api::InitProducerId)), (7, 1));
    assert!(count(Api::ApiVersions) >= 1 && count(Api::Fetch) >= 1);
    for api in
        [Api::FindCoordinator, Api::JoinGroup, Api::SyncGroup, Api::OffsetFetch, Api::OffsetCommit, Api::LeaveGroup]
    {
        assert!(count(api) >= 1, "{api}");
    }
    assert_eq!(seen.iter().filter(|e| e.response.is_none()).count(), 1);
    for event in seen.iter() {
        assert_eq!(event.broker, 1);
        assert!(event.connection >= 1);
        // Frames as they are on the wire, without their length: API, version, correlation id.
        assert_eq!(i16::from_be_bytes(event.request[0..2].try_into().unwrap()), event.api.key());
        assert_eq!(i16::from_be_bytes(event.request[2..4].try_into().unwrap()), event.version);
        if let Some(response) = &event.response {
            assert_eq!(response[0..4], event.request[4..8]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_seen_from_birth_to_death() {
    let (cluster, dispatcher) = single().await;
    assert_eq!((cluster.group_state("g"), cluster.committed("g", "t", 0)), (None, None));
    let reader = Reader::start(&dispatcher, "t", "g").await;
    send(&dispatcher, 0..2).await;
    reader.until(2).await;
    assert_eq!(cluster.group_state("g"), Some("Stable"));
    reader.stop().await;
    assert_eq!((cluster.group_state("g"), cluster.committed("g", "t", 0)), (Some("Empty"), Some(2)));
    dispatcher.delete_group("g").await.unwrap();
    assert_eq!((cluster.group_state("g"), cluster.committed("g", "t", 0)), (None, None));
}

#[tokio::test(start_paused = true)]
async fn the_first_rebalance_waits_as_long_as_it_is_told() {
    let wait = Duration::from_secs(3);
    let cluster = start(EmbeddedCluster::builder().topic("t", 1).initial_rebalance_delay(wait)).await;
    let dispatcher = on(&cluster).connect().await.unwrap();
    send(&dispatcher, 0..1).await;
    let started = Instant::now();
    read(&dispatcher, "t", "g").await;
    assert!((wait..2 * wait).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_virtual_time_takes_no_time() {
    let started = std::time::Instant::now();
    let (cluster, dispatcher) = single().await;
    let requests = Arc::new(Mutex::new(BTreeMap::<Api, usize>::new()));
    let into = requests.clone();
    cluster.observe(move |event| *into.lock().unwrap().entry(event.api).or_default() += 1);
    let reader = Reader::start(&dispatcher, "t", "g").await;
    let virtually = Instant::now();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    within("send()", async { dispatcher.send("t", "x").await }).await.unwrap();
    reader.until(1).await;
    assert!(virtually.elapsed() >= Duration::from_secs(3600));
    // Heartbeats every 3 s, long polls of 500 ms: an idle client is not busy.
    let requests = requests.lock().unwrap().clone();
    assert!((1100..1300).contains(&requests[&Api::Heartbeat]), "{requests:?}");
    assert!((6_000..9_000).contains(&requests[&Api::Fetch]), "{requests:?}");
    reader.stop().await;
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
