//! `monitor_lag` in virtual time on the embedded cluster, and `monitor_host` against services that answer as they like.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault};
use dispatcher::{Builder, ConsumeStatus, Dispatcher, Error, ErrorKind, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// When a look came, of which topic, and the lag.
type Looks = Arc<Mutex<Vec<(Duration, String, i64)>>>;

async fn cluster() -> (EmbeddedCluster, Dispatcher) {
    let builder = EmbeddedCluster::builder().topic("t", 2).topic("u", 1).seed(1);
    let cluster = builder.start().await.unwrap();
    let dispatcher = Dispatcher::builder(cluster.brokers()).network(&cluster.network()).connect().await.unwrap();
    for i in 0..10 {
        dispatcher.send("t", "x").partition(i % 2).await.unwrap();
    }
    (cluster, dispatcher)
}

fn recorder(looks: &Looks) -> impl Fn(ConsumeStatus) + Send + Sync + Clone + use<> {
    let (looks, began) = (looks.clone(), Instant::now());
    move |status| {
        looks.lock().unwrap().push((began.elapsed(), status.topic().to_owned(), status.total_lag()));
    }
}

async fn nothing(_: Message) -> Result<(), Error> {
    Ok(())
}

fn seconds(looks: &Looks) -> Vec<u64> {
    looks.lock().unwrap().iter().map(|(at, _, _)| (at.as_millis() as u64 + 500) / 1_000).collect()
}

const TEN: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn the_lag_comes_at_once_and_then_at_intervals_as_long_as_the_subscription_lives() {
    let (_cluster, dispatcher) = cluster().await;
    let looks = Looks::default();
    let record = recorder(&looks);
    let subscription = dispatcher.subscribe("t", nothing).group("g").monitor_lag(TEN, move |status| {
        record(status);
        std::future::ready(())
    });
    let subscription = subscription.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(seconds(&looks), [0, 10, 20, 30]);
    let lags: Vec<_> = looks.lock().unwrap().iter().map(|look| look.2).collect();
    assert_eq!(lags, [10, 0, 0, 0]);
    subscription.stop().await.unwrap();
    tokio::time::sleep(TEN * 10).await;
    assert_eq!(looks.lock().unwrap().len(), 4, "none after the end");
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_delays_the_next_call_and_calls_never_overlap_nor_pile_up() {
    let (_cluster, dispatcher) = cluster().await;
    let looks = Looks::default();
    let (record, running) = (recorder(&looks), Arc::new(AtomicBool::new(false)));
    let subscription = dispatcher.subscribe("t", nothing).group("g").monitor_lag(TEN, move |status| {
        assert!(!running.swap(true, Ordering::SeqCst), "two at once");
        record(status);
        let running = running.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(25)).await;
            running.store(false, Ordering::SeqCst);
        }
    });
    let subscription = subscription.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(seconds(&looks), [0, 25, 50, 75]);
    // It does not wait for a call that is under way.
    let began = Instant::now();
    subscription.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_and_a_handler_that_panics_are_among_the_errors_and_the_next_comes_all_the_same() {
    let (cluster, dispatcher) = cluster().await;
    cluster.inject(Fault::on(Api::DescribeGroups).error(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    let subscription = dispatcher.subscribe("t", nothing).group("g").monitor_lag(TEN, move |_| {
        let call = counter.fetch_add(1, Ordering::SeqCst);
        async move { assert!(call != 0, "the first one") }
    });
    let subscription = subscription.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let mut errors = subscription.errors();
    let failed = errors.next().await.unwrap();
    assert_eq!((failed.error().kind(), failed.offset()), (ErrorKind::Auth, None));
    assert!(failed.error().to_string().contains("lag of group g:t"), "{}", failed.error());
    let panicked = errors.next().await.unwrap();
    assert_eq!(panicked.error().kind(), ErrorKind::Handler);
    assert!(panicked.error().to_string().contains("the first one"), "{}", panicked.error());
    subscription.stop().await.unwrap();
    assert!(errors.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn each_topic_of_several_is_told_and_too_short_an_interval_is_refused() {
    let (_cluster, dispatcher) = cluster().await;
    let looks = Looks::default();
    let record = recorder(&looks);
    let both = dispatcher.subscribe("t", nothing).and("u", nothing).group_exact("g").monitor_lag(TEN, move |status| {
        assert_eq!(status.group(), Some("g"));
        record(status);
        std::future::ready(())
    });
    let both = both.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let topics: Vec<_> = looks.lock().unwrap().iter().map(|look| look.1.clone()).collect();
    assert_eq!(topics, ["t", "u", "t", "u"]);
    both.stop().await.unwrap();

    let short = Duration::from_millis(999);
    let refused = dispatcher.subscribe("t", nothing).monitor_lag(short, async |_| ()).start().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    assert_eq!(dispatcher.monitor_lag("t", "g", short).unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[tokio::test(start_paused = true)]
async fn anyone_can_follow_the_lag_of_a_group() {
    let (cluster, dispatcher) = cluster().await;
    let mut lag = dispatcher.monitor_lag("t", "g", TEN).unwrap();
    let began = Instant::now();
    let first = lag.next().await.unwrap();
    assert_eq!((first.group(), first.state(), first.total_lag()), (Some("g:t"), Some("Dead"), 10));
    assert!(began.elapsed() < Duration::from_secs(1));
    let subscription = dispatcher.subscribe("t", nothing).group("g").count(4).start().await.unwrap();
    subscription.join().await.unwrap();
    // A look that is dropped is begun again, at its time.
    assert!(tokio::time::timeout(Duration::from_secs(1), lag.next()).await.is_err());
    assert_eq!(lag.next().await.unwrap().total_lag(), 6);
    assert_eq!((began.elapsed().as_secs_f64() / 10.0).round(), 1.0);
    // Who comes late gets one look, not all that were missed.
    tokio::time::sleep(TEN * 5).await;
    let began = Instant::now();
    assert_eq!(lag.next().await.unwrap().total_lag(), 6);
    assert!(began.elapsed() < Duration::from_secs(1));
    cluster.inject(Fault::on(Api::DescribeGroups).error(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    assert!(lag.next().await.is_err());
    assert!(lag.next().await.is_ok());
}

/// A service that answers each path as it is told to, byte for byte, and what it was asked.
struct Service {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn start(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, into) = (Arc::new(answer), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, into) = (answer.clone(), into.clone());
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(stream.read_u8().await.unwrap());
                    }
                    let request = String::from_utf8(request).unwrap();
                    let path = request.split(' ').nth(1).unwrap().to_owned();
                    into.lock().unwrap().push(request);
                    match answer(&path) {
                        Some(text) => drop(stream.write_all(text.as_bytes()).await),
                        // Silent, with the connection open.
                        None => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// One that always answers this.
    async fn saying(answer: String) -> Self {
        Self::start(move |_| Some(answer.clone())).await
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

async fn single() -> (EmbeddedCluster, Builder) {
    let cluster = EmbeddedCluster::builder().start().await.unwrap();
    let builder = Dispatcher::builder(cluster.brokers());
    (cluster, builder)
}

async fn lag(builder: &Builder, host: &str) -> Result<i64, Error> {
    let dispatcher = builder.clone().monitor_host(host).connect().await?;
    let status = dispatcher.consume_status("t2", "g 1").await?;
    assert_eq!(status.group(), Some("g 1:t2"));
    Ok(status.total_lag())
}

#[tokio::test]
async fn a_monitor_is_asked_as_the_go_library_asks_and_answers_in_any_framing() {
    let (_cluster, builder) = single().await;
    let service = Service::saying(ok("17")).await;
    assert_eq!(lag(&builder, &format!(" http://{}/base", service.address)).await.unwrap(), 17);
    let asked = service.asked.lock().unwrap().remove(0);
    assert!(asked.starts_with("GET /base/monitor/kafka/lags?group_id=g+1%3At2&topic=t2 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_ascii_lowercase().contains(&format!("\r\nhost: {}\r\n", service.address)), "{asked}");
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n1\r\n7\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n17".to_owned(),
        "HTTP/1.0 200 OK\r\n\r\n17\n".to_owned(),
        ok(r#"{"topic":"t2","lag":17}"#),
        ok("lag: 17"),
    ] {
        let service = Service::saying(answer.clone()).await;
        assert_eq!(lag(&builder, &service.address).await.unwrap(), 17, "{answer}");
    }
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever_and_not_to_where_tls_is_needed() {
    let (_cluster, builder) = single().await;
    let other = Service::saying(ok("5")).await;
    let elsewhere = format!("http://{}/x", other.address);
    let service = Service::start(move |path| {
        Some(match path {
            "/a/monitor/b?y=1" => moved(&elsewhere),
            p if p.starts_with("/a/") => moved("../b?y=1"),
            p if p.starts_with("/tls/") => moved("https://monitor/"),
            _ => moved("/loop"),
        })
    });
    let service = service.await;
    assert_eq!(lag(&builder, &format!("{}/a", service.address)).await.unwrap(), 5);
    let endless = lag(&builder, &service.address).await.unwrap_err();
    assert!(endless.to_string().contains("more than 10 times"), "{endless}");
    let tls = lag(&builder, &format!("{}/tls", service.address)).await.unwrap_err();
    assert!(tls.to_string().contains("TLS"), "{tls}");
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_that_says_what_it_is() {
    let (_cluster, builder) = single().await;
    let builder = builder.request_timeout(Duration::from_secs(2));
    let status = |line: &str, body: &str| format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for (answer, kind, says) in [
        (status("400 Bad Request", "no such\ngroup"), ErrorKind::InvalidArgument, "no such group"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), ErrorKind::Protocol, "status 204"),
        (status("404 Not Found", "7"), ErrorKind::Protocol, "status 404"),
        (status("403 Forbidden", "7"), ErrorKind::Auth, "403"),
        (status("503 Unavailable", "7"), ErrorKind::Connection, "503"),
        (ok(""), ErrorKind::Protocol, "empty"),
        (ok("t2 has 17"), ErrorKind::Protocol, "t2 has 17"),
        (ok(&"1".repeat(100_000)), ErrorKind::Protocol, "over 65536 bytes"),
        (format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)), ErrorKind::Protocol, "did not answer"),
        ("220 mail.example ESMTP\r\n\r\n".to_owned(), ErrorKind::Protocol, "did not answer"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n17".to_owned(), ErrorKind::Connection, "did not answer"),
        (String::new(), ErrorKind::Connection, "did not answer"),
    ] {
        let service = Service::saying(answer.clone()).await;
        let error = lag(&builder, &service.address).await.unwrap_err();
        let start: String = answer.chars().take(60).collect();
        assert!(error.kind() == kind && error.to_string().contains(says), "{start:?}: {error:?}");
    }
    let silent = Service::start(|_| None).await;
    let began = Instant::now();
    let error = lag(&builder, &silent.address).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && began.elapsed() < Duration::from_secs(5), "{error:?}");
    // Bound and not listened on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = lag(&builder, &format!("127.0.0.1:{port}")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connection && error.to_string().contains(&port.to_string()), "{error:?}");
    let error = lag(&builder, "https://monitor").await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidConfig && error.to_string().contains("TLS"), "{error:?}");
}

#[tokio::test]
async fn monitor_lag_asks_the_monitor_too() {
    let (cluster, builder) = single().await;
    cluster.create_topic("t", 1, &[]).unwrap();
    let service = Service::saying(ok("9")).await;
    let dispatcher = builder.monitor_host(&service.address).connect().await.unwrap();
    let mut lag = dispatcher.monitor_lag("t", "g", Duration::from_secs(1)).unwrap();
    assert_eq!(lag.next().await.unwrap().total_lag(), 9);
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let subscription = dispatcher.subscribe("t", nothing).group("g").monitor_lag(TEN, move |status| {
        let _ = told.send(status.total_lag());
        std::future::ready(())
    });
    let subscription = subscription.start().await.unwrap();
    assert_eq!(heard.recv().await, Some(9));
    subscription.stop().await.unwrap();
}
