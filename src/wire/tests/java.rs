//! Every message at every version against Kafka's own Java classes. Runs by hand, because it needs Java and Kafka's
//! jars: `KAFKA_CLASSPATH='/path/to/kafka-4.2.0/libs/*' cargo test --lib kafkas_own_java -- --ignored`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::wire::messages::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};

const PER_VERSION: usize = 60;

fn lines<T: Wire + Sample>(of: Versions, java: &str, out: &mut String) {
    for version in of.min..=of.max {
        let at = At { version, flexible: version >= of.flexible };
        let mut rng = fastrand::Rng::with_seed(version.unsigned_abs().into());
        for _ in 0..PER_VERSION {
            let entropy = (0..500).map(|_| rng.u8(..)).collect();
            write!(out, "{java} {version} ").unwrap();
            for byte in encoded(&T::sample(&mut Gen::new(entropy), at, false), version) {
                write!(out, "{byte:02x}").unwrap();
            }
            out.push('\n');
        }
    }
}

#[test]
#[ignore = "needs Java and Kafka's jars"]
fn kafkas_own_java_reads_and_writes_the_same_bytes() {
    let classpath = std::env::var("KAFKA_CLASSPATH").expect("KAFKA_CLASSPATH names Kafka's jars");
    let mut text = String::new();
    macro_rules! all {
        ($($request:ident)*) => { $({
            use crate::wire::messages::$request as Ours;
            type Response = <Ours as Request>::Response;
            lines::<Ours>(Ours::VERSIONS, &format!("{}Data", Ours::VERSIONS.name), &mut text);
            lines::<Response>(Response::VERSIONS, &format!("{}Data", Response::VERSIONS.name), &mut text);
        })* };
    }
    for_each_declared_api!(all);
    let (subscription, assignment) = (ConsumerProtocolSubscription::VERSIONS, ConsumerProtocolAssignment::VERSIONS);
    lines::<ConsumerProtocolSubscription>(subscription, subscription.name, &mut text);
    lines::<ConsumerProtocolAssignment>(assignment, assignment.name, &mut text);

    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/java/RoundTrip.java");
    let mut java = Command::new("java")
        .args(["-cp", &classpath, program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("java starts");
    let expected = format!("{} messages are the same", text.lines().count());
    let mut stdin = java.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = String::from_utf8(java.wait_with_output().unwrap().stdout).unwrap();
    feeding.join().unwrap().expect("java reads to the end");
    assert_eq!(output.trim(), expected);
    println!("{expected}");
}
