//! Mixed fleets with the Go dispatcher: what we write its `encoding/json` reads, and whatever any of its versions wrote our
//! handlers get right. Its records are the recorded ones of `fixtures/go-dispatcher`. Needs Rust, and Go for one test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod clients;
mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::engine::{Engine as _, general_purpose::STANDARD};
use clients::go_json::{GoJson, Row};
use common::within;
use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{CallbackError, Compression, Dispatcher, Envelope, Message, Outcome, PartitionerKind};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/go-dispatcher");

async fn cluster() -> EmbeddedCluster {
    EmbeddedCluster::builder().brokers(3).start().await.unwrap()
}

async fn dispatcher(cluster: &EmbeddedCluster) -> Dispatcher {
    Dispatcher::builder(cluster.brokers()).connect().await.unwrap()
}

fn fixture(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(format!("{FIXTURES}/{path}")).unwrap()).unwrap()
}

fn sample(name: &str) -> Value {
    fixture(&format!("samples/{name}.json"))
}

fn sample_names() -> Vec<String> {
    let files = std::fs::read_dir(format!("{FIXTURES}/samples")).unwrap();
    let stem = |file: std::fs::DirEntry| file.path().file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = files.map(|file| stem(file.unwrap())).collect();
    names.sort();
    names
}

fn bytes_of(row: &Value, field: &str) -> Option<Vec<u8>> {
    row[field].as_str().map(|text| STANDARD.decode(text).unwrap())
}

/// Texts in which Go's escapes differ from everybody else's.
const TEXTS: [&str; 5] =
    ["plain", "<a href=\"x\">&\\</a>", "\u{8}\u{c}\n\r\t\u{1}\u{7f}", "\u{2028}漢字 🦀\u{2029}", "\u{fffd}"];

#[tokio::test(flavor = "multi_thread")]
async fn go_s_encoding_json_reads_what_we_write_and_writes_the_same() {
    let Some(go) = GoJson::or_skip() else { return };
    let cluster = cluster().await;
    let builder = Dispatcher::builder(cluster.brokers()).envelope(Envelope::GoJson).compression(Compression::Lz4);
    let dispatcher = builder.connect().await.unwrap();
    let fail = async |text: Vec<u8>| match std::str::from_utf8(&text) {
        Ok(error) if !error.is_empty() => Err(std::io::Error::other(error.to_owned())),
        _ => Ok(()),
    };
    let kitchen = dispatcher.subscribe("orders", fail).group("kitchen").start().await.unwrap();
    let mut expected = BTreeMap::new();
    for (n, text) in TEXTS.into_iter().enumerate() {
        let deaf = |_| std::future::ready(());
        let send = || dispatcher.send("orders", text);
        let plain = send().await.unwrap();
        expected.insert(plain.id().unwrap().to_owned(), (text, ""));
        let keyed = dispatcher.send("orders", &b"\xff\x00"[..n % 3]).key(text).await.unwrap();
        expected.insert(keyed.id().unwrap().to_owned(), ("", text));
        let receipt = send().key(text).watch_errors(deaf).receipt(SOON).await.unwrap();
        assert_eq!(receipt.outcome(), &Outcome::Failed(text.into()));
        expected.insert(receipt.id().to_owned(), (text, text));
    }
    kitchen.stop().await.unwrap();

    let all =
        |topic: &str| (0..10).flat_map(|p| cluster.records(topic, p)).map(|r| r.value.unwrap()).collect::<Vec<_>>();
    let [sent, replies, errors] = ["orders", "orders_Reply", "orders_ERR"].map(all);
    assert_eq!((sent.len(), replies.len(), errors.len()), (3 * TEXTS.len(), TEXTS.len(), TEXTS.len()));
    let read = |values: &[Vec<u8>]| -> Vec<Row> {
        let rows = go.read(values);
        for (value, row) in values.iter().zip(&rows) {
            assert_eq!(String::from_utf8_lossy(value), String::from_utf8_lossy(&row.again));
        }
        rows
    };
    for row in read(&sent) {
        let (text, key) = expected[&row.id];
        assert!(row.value == text.as_bytes() || b"\xff\x00".starts_with(&row.value), "{row:?}");
        assert_eq!((&*row.key, &*row.topic, row.partition, row.offset), (key, "orders", 0, 0));
        assert_eq!((&*row.group, &*row.error, row.reply, row.send_error), ("", "", text == key, text == key));
        assert!(row.sent.is_some() && row.received.is_none() && row.finished.is_none() && row.returned.is_none());
    }
    let answers = [("orders_Reply", replies), ("orders_ERR", errors)];
    for (topic, row) in answers.iter().flat_map(|(topic, values)| read(values).into_iter().map(|row| (*topic, row))) {
        let (text, key) = expected[&row.id];
        assert_eq!((&*row.value, &*row.key, &*row.topic), (text.as_bytes(), key, topic));
        assert_eq!((&*row.group, &*row.error, row.reply, row.send_error), ("kitchen:orders", text, false, false));
        assert!(
            row.sent <= row.received && row.received <= row.finished && row.sent.is_some() && row.returned.is_none()
        );
        let at = cluster.records("orders", row.partition)[row.offset as usize].value.clone().unwrap();
        assert!(String::from_utf8(at).unwrap().contains(&row.id), "the original's place");
    }
}

/// The one documented difference: Go's struct cannot hold a key that is not UTF-8, and neither can its own JSON.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_utf8_becomes_replacement_characters_as_in_go() {
    let Some(go) = GoJson::or_skip() else { return };
    let cluster = cluster().await;
    let dispatcher = dispatcher(&cluster).await;
    let report = dispatcher.send("orders", "x").key(b"\xff\xfe\xfd").envelope(Envelope::GoJson).await.unwrap();
    let record = cluster.records("orders", report.partition()).remove(0);
    assert_eq!(record.key.as_deref(), Some(&b"\xff\xfe\xfd"[..]));
    let value = record.value.unwrap();
    assert!(std::str::from_utf8(&value).unwrap().contains(r#""Key":"\ufffd\ufffd\ufffd","#));
    assert_eq!(go.read(&[value])[0].key, "\u{fffd}\u{fffd}\u{fffd}");
}

/// What a handler should get of a message.
#[derive(Debug, PartialEq)]
struct Got {
    payload: Option<Vec<u8>>,
    id: Option<String>,
    key: Option<Vec<u8>>,
    sent_ms: Option<i64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_every_form_gives_the_right_payloads_ids_keys_and_times() {
    let cluster = EmbeddedCluster::builder().topic("mixed", 1).start().await.unwrap();
    let dispatcher = dispatcher(&cluster).await;
    let mut expected = Vec::new();
    for name in sample_names() {
        let sample = sample(&name);
        append(&cluster, "mixed", &bytes_of(&sample, "batch_base64").unwrap());
        expected.push((name.clone(), of_sample(&name, &sample)));
    }
    for case in fixture("parse-cases.json")["cases"].as_array().unwrap() {
        let value = bytes_of(case, "value_base64").unwrap();
        dispatcher.send("mixed", &value).envelope(Envelope::Raw).await.unwrap();
        let raw = case["callback"] == false || case["payload_is_record_value"] == true;
        let message = &case["message"];
        let got = match raw {
            true => Got { payload: Some(value), id: None, key: None, sent_ms: None },
            false => Got {
                payload: bytes_of(case, "payload_base64"),
                id: message["TaskID"].as_str().filter(|id| !id.is_empty()).map(str::to_owned),
                key: None,
                sent_ms: unix_ms(message["ProducerSentTime"].as_str().unwrap()),
            },
        };
        expected.push((case["label"].as_str().unwrap().to_owned(), got));
    }
    for (n, envelope) in [Envelope::Headers, Envelope::GoJson, Envelope::Raw].into_iter().enumerate() {
        let report = dispatcher.send("mixed", b"\x00\xff").key("k").envelope(envelope).await.unwrap();
        let at = cluster.records("mixed", 0).last().unwrap().timestamp;
        let named = (n < 2).then(|| report.id().unwrap().to_owned());
        let got = Got {
            payload: Some(b"\x00\xff".into()),
            key: Some(b"k".into()),
            sent_ms: named.as_ref().map(|_| at),
            id: named,
        };
        expected.push((format!("{envelope:?}"), got));
    }
    // In our own form a payload is never looked into, whatever it looks like.
    let go_like = bytes_of(&sample("plain-send"), "value_base64").unwrap();
    let report = dispatcher.send("mixed", &go_like).await.unwrap();
    let at = cluster.records("mixed", 0).last().unwrap().timestamp;
    let got = Got { payload: Some(go_like), id: report.id().map(str::to_owned), key: None, sent_ms: Some(at) };
    expected.push(("Go's form within ours".into(), got));
    dispatcher.send("mixed", None::<&str>).key("gone").envelope(Envelope::Raw).await.unwrap();
    expected.push(("a tombstone".into(), Got { payload: None, id: None, key: Some(b"gone".into()), sent_ms: None }));

    let seen = Arc::new(Mutex::new(Vec::new()));
    let handled = seen.clone();
    let handler = move |message: Message| {
        handled.lock().unwrap().push(Got {
            payload: message.value().map(<[u8]>::to_vec),
            id: message.id().map(|id| id.into_owned()),
            key: message.key().map(<[u8]>::to_vec),
            sent_ms: message.sent_ms(),
        });
        async { Ok::<(), std::io::Error>(()) }
    };
    let subscription = dispatcher.subscribe("mixed", handler).until_end().start().await.unwrap();
    within(SOON, "the end", subscription.join()).await.unwrap();
    let seen = seen.lock().unwrap();
    for ((label, expected), got) in expected.iter().zip(&*seen) {
        assert_eq!(got, expected, "{label}");
    }
    assert_eq!(seen.len(), expected.len());
    assert!(seen.len() > 50, "{}", seen.len());
}

/// By Go's own text in the sample, read without our decoder.
fn of_sample(name: &str, sample: &Value) -> Got {
    let text =
        sample["value_text"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default();
    let record_key = bytes_of(sample, "key_base64");
    match text["TaskID"].as_str() {
        _ if name == "legacy-error-record" => {
            let message = &text["Message"];
            Got { payload: bytes_of(message, "Value"), id: None, key: bytes_of(message, "Key"), sent_ms: None }
        }
        Some(id) if !id.is_empty() => Got {
            payload: bytes_of(&text, "Value"),
            id: Some(id.to_owned()),
            key: record_key,
            sent_ms: unix_ms(text["ProducerSentTime"].as_str().unwrap()),
        },
        _ => Got { payload: bytes_of(sample, "value_base64"), id: None, key: record_key, sent_ms: None },
    }
}

/// Of an RFC 3339 time, by another way than the library's.
fn unix_ms(text: &str) -> Option<i64> {
    let number = |at: std::ops::Range<usize>| text[at].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    if year == 1 {
        return None;
    }
    let leap = |year: i64| year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let days = years + lengths.iter().take(month as usize - 1).sum::<i64>() + day - 1;
    let seconds = days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    let (fraction, zone) = text[19..].split_at(text[19..].find(['Z', '+', '-']).unwrap());
    let ms = format!("{:0<3}", fraction.trim_start_matches('.'))[..3].parse::<i64>().unwrap();
    let east = match zone.split_at(1) {
        ("Z", _) => 0,
        (sign, zone) => {
            let minutes = zone[..2].parse::<i64>().unwrap() * 60 + zone[3..].parse::<i64>().unwrap();
            if sign == "-" { -minutes } else { minutes }
        }
    };
    Some((seconds - east * 60) * 1000 + ms)
}

/// Appends a recorded batch as it is, with a Produce request of Go's version, made by hand.
fn append(cluster: &EmbeddedCluster, topic: &str, batch: &[u8]) {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as i16).to_be_bytes());
        out.extend(text.as_bytes());
    };
    let mut request = Vec::new();
    // Produce v3, correlation id 7.
    request.extend([0, 0, 0, 3, 0, 0, 0, 7]);
    text(&mut request, "sarama");
    // No transaction, all replicas, 30 s, one topic.
    request.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0x75, 0x30, 0, 0, 0, 1]);
    text(&mut request, topic);
    // One partition, 0.
    request.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    request.extend((batch.len() as i32).to_be_bytes());
    // Its offset is the broker's to give; as sent it was 0.
    request.extend([0; 8]);
    request.extend(&batch[8..]);
    let mut broker = std::net::TcpStream::connect(&cluster.brokers()[0]).unwrap();
    broker.set_read_timeout(Some(SOON)).unwrap();
    broker.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    broker.write_all(&request).unwrap();
    let mut length = [0; 4];
    broker.read_exact(&mut length).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    broker.read_exact(&mut answer).unwrap();
    // Correlation id, one topic and its name, one partition and its number; then the error code.
    let code = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[code..code + 2], [0, 0], "the broker takes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn error_records_of_every_go_version_are_callback_errors() {
    let cluster = EmbeddedCluster::builder().topic("pay", 1).topic("pay_ERR", 1).start().await.unwrap();
    let dispatcher = dispatcher(&cluster).await;
    let mut stream = dispatcher.callback_errors("pay").await.unwrap();
    let names = ["error-record", "error-record-keyed", "legacy-error-record", "error-record-of-legacy-json-record"];
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |failure: CallbackError| {
        let sent = told.send(failure).map_err(|_| std::io::Error::other("nobody hears"));
        std::future::ready(sent)
    };
    let desk = dispatcher.subscribe("pay_ERR", handler).group("desk").start().await.unwrap();
    for name in names {
        let sample = sample(name);
        append(&cluster, "pay_ERR", &bytes_of(&sample, "batch_base64").unwrap());
        let text: Value = serde_json::from_str(sample["value_text"].as_str().unwrap()).unwrap();
        let old = &text["Message"];
        for failure in [within(SOON, name, stream.next()).await, within(SOON, name, hears.recv()).await.unwrap()] {
            let of = if old.is_null() { &text } else { old };
            assert_eq!(failure.value(), bytes_of(of, "Value").as_deref(), "{name}");
            let error = text["ConsumerErrorStr"].as_str().or(text["ErrStr"].as_str()).unwrap();
            assert_eq!((failure.error(), failure.attempt()), (error, 0), "{name}");
            assert_eq!(failure.group(), text["ConsumerGroupID"].as_str().unwrap_or_default(), "{name}");
            assert_eq!(failure.id(), text["TaskID"].as_str().unwrap_or_default(), "{name}");
            let key = if old.is_null() { bytes_of(&sample, "key_base64") } else { bytes_of(old, "Key") };
            assert_eq!(failure.key(), key.as_deref(), "{name}");
            assert_eq!(failure.topic(), of["Topic"].as_str().unwrap().trim_end_matches("_ERR"), "{name}");
            assert_eq!(failure.partition(), of["Partition"].as_i64().unwrap() as i32, "{name}");
            assert_eq!(failure.offset(), of["Offset"].as_i64().unwrap(), "{name}");
            assert_eq!(failure.failed_ms(), sample["timestamp_ms"].as_i64().unwrap(), "{name}");
            let sent = text["ProducerSentTime"].as_str().and_then(unix_ms);
            assert_eq!(failure.sent_ms(), sent.unwrap_or(-1), "{name}");
        }
    }
    desk.stop().await.unwrap();

    // What is no error is none: a message in the same form, a receipt, a user's own object.
    let (said, mut refused) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |failure: CallbackError| {
        let _ = said.send(failure);
        async { Ok::<(), std::io::Error>(()) }
    };
    for name in ["plain-send", "reply-record", "legacy-json-keyed-send"] {
        append(&cluster, "pay", &bytes_of(&sample(name), "batch_base64").unwrap());
    }
    let subscription = dispatcher.subscribe("pay", handler).until_end().start().await.unwrap();
    let mut errors = subscription.errors();
    within(SOON, "the end", subscription.join()).await.unwrap();
    for _ in 0..3 {
        assert!(errors.next().await.unwrap().error().to_string().contains("no error record"));
    }
    assert!(refused.try_recv().is_err());
}

#[tokio::test]
async fn a_go_consumer_s_early_reply_says_received() {
    let cluster = EmbeddedCluster::builder().topic("mail", 3).topic("mail_Reply", 1).start().await.unwrap();
    let dispatcher = dispatcher(&cluster).await;
    let message = dispatcher.send("mail", "please reply").key("k").envelope(Envelope::GoJson).receipt(SOON);
    let mut pending = message.enqueue().await.unwrap();
    let report = pending.acknowledged().await.unwrap();
    // As `reply-record` is: sent back before the callback runs, so without its end and its error.
    let sent = String::from_utf8(cluster.records("mail", report.partition())[0].value.clone().unwrap()).unwrap();
    let reply = sent
        .replace(r#""Topic":"mail""#, r#""Topic":"mail_Reply""#)
        .replace(r#""Partition":0,"#, &format!(r#""Partition":{},"#, report.partition()))
        .replace(r#""ConsumerGroupID":"""#, r#""ConsumerGroupID":"workers:mail""#)
        .replace(
            r#""ConsumerReceivedTime":"0001-01-01T00:00:00Z""#,
            r#""ConsumerReceivedTime":"2026-11-22T16:05:00.769464678+08:00""#,
        )
        .replace(r#""IsReplyMessage":true"#, r#""IsReplyMessage":false"#);
    dispatcher.send("mail_Reply", reply).key("k").envelope(Envelope::Raw).await.unwrap();
    let receipt = pending.receipts().await.unwrap().remove(0);
    assert_eq!((receipt.outcome(), receipt.handled_ms()), (&Outcome::Received, None));
    assert_eq!((receipt.topic(), receipt.partition(), receipt.offset()), ("mail", report.partition(), 0));
    assert_eq!((receipt.group(), Some(receipt.id())), ("workers:mail", report.id()));
    assert_eq!(Some(receipt.received_ms()), unix_ms("2026-11-22T16:05:00.769464678+08:00"));
}

#[tokio::test]
async fn keys_reach_the_partitions_that_go_gave_them() {
    let cluster =
        EmbeddedCluster::builder().topic("of-3", 3).topic("of-7", 7).topic("of-10", 10).start().await.unwrap();
    let builder = Dispatcher::builder(cluster.brokers()).partitioner(PartitionerKind::Sarama);
    let dispatcher = builder.compression(Compression::Lz4).envelope(Envelope::GoJson).connect().await.unwrap();
    let file = fixture("key-partitions.json");
    let rows = file["rows"].as_array().unwrap();
    for row in rows {
        let (topic, key) = (format!("of-{}", row["partitions"]), bytes_of(row, "key_base64").unwrap());
        let report = dispatcher.send(&topic, "x").key(&key).await.unwrap();
        assert_eq!(i64::from(report.partition()), row["partition"].as_i64().unwrap(), "{row}");
        assert!(cluster.records(&topic, report.partition()).iter().any(|r| r.key.as_ref() == Some(&key)));
    }
    assert!(rows.len() > 50);
}
