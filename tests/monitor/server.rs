//! The server itself: what it refuses, how it ends, and what happens when the cluster goes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dispatcher::embedded::EmbeddedCluster;

use super::scene::{Monitor, shared};

#[test]
fn methods_paths_and_sizes_are_answered_as_http_has_it() {
    let (_, monitor) = shared();
    let ask = |method: &str, path: &str, more: &str| {
        monitor.ask(&format!("{method} {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n{more}\r\n"))
    };
    let (status, head, body) = ask("HEAD", "/", "");
    assert!(status == 200 && body.is_empty() && head.contains("content-length: "), "{head}");
    assert!(!head.contains("content-length: 0"), "{head}");
    let (status, head, _) = ask("GET", "/", "");
    assert_eq!(status, 200);
    for header in ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "text/html"] {
        assert!(head.contains(header), "{header}: {head}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, head, _) = ask(method, "/api/groups", "Content-Length: 0\r\n");
        assert!(status == 405 && head.contains("allow: get, head"), "{method}: {head}");
    }
    assert_eq!(ask("GET", "/../../etc/passwd", "").0, 404);
    assert_eq!(ask("GET", "/api/groups/nobody", "").0, 404);
    assert_eq!(ask("GET", "/", &format!("X: {}\r\n", "x".repeat(100_000))).0, 431);
    assert_eq!(ask("GET", &format!("/{}", "x".repeat(100_000)), "").0 / 100, 4);
    assert_eq!(monitor.ask("nonsense\r\n\r\n").0, 400);
}

#[test]
fn one_connection_takes_many_requests_and_many_silent_ones_do_not_keep_others_out() {
    let (_, monitor) = shared();
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(&monitor.address).unwrap()).collect();
    let mut stream = TcpStream::connect(&monitor.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for _ in 0..50 {
        stream.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: m\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200"));
    }
    drop(silent);
}

#[test]
fn a_cluster_that_goes_is_said_and_a_signal_ends_the_monitor_with_0() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(EmbeddedCluster::builder().topic("t", 1).start()).unwrap();
    let mut monitor = Monitor::start(&cluster.brokers(), "--interval 1s --base /lags/ --timeout 2s --group g:t");
    assert!(monitor.url.ends_with("/lags/"), "{}", monitor.url);
    let deadline = Instant::now() + Duration::from_secs(60);
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait("never seen", &|| monitor.json("/lags/api/groups")["seen_ms"].is_i64());
    // Asked for by name, it is shown though it does not exist.
    assert_eq!(monitor.json("/lags/api/groups")["groups"][0]["state"], "Dead");
    assert!(monitor.get("/lags/metrics").2.contains("dispatcher_monitor_up 1"));
    assert_eq!((monitor.get("/").0, monitor.get("/lags").0), (404, 308));
    drop(cluster);
    runtime.shutdown_background();
    wait("the failure is not said", &|| monitor.json("/lags/api/groups")["groups"][0]["error"].is_string());
    monitor.signal("-TERM");
    let (code, stderr) = monitor.ended();
    assert_eq!(code, Some(0), "{stderr}");
}
