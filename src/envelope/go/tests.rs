//! Against records and verdicts of the real Go library (tests/fixtures/go-dispatcher).

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/go-dispatcher");

fn read(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes_of(row: &Value, field: &str) -> Option<Vec<u8>> {
    row[field].as_str().map(|text| STANDARD.decode(text).unwrap())
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(format!("{FIXTURES}/samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), bytes_of(&read(&path), "value_base64")))
        .map(|(name, value)| (name, value.unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn every_record_of_the_go_library_is_recognised_and_written_back_byte_for_byte() {
    let mut seen = 0;
    for (name, value) in samples() {
        let new_form = value.starts_with(b"{\"TaskID\":\"") && !value.starts_with(b"{\"TaskID\":\"\"");
        let message = recognise(&value);
        if new_form {
            let message = message.unwrap_or_else(|| panic!("{name} was not recognised"));
            let mut written = encode(&message);
            if name == "key-not-utf8" {
                // The record's key has the bytes; from them Go's escapes come out again.
                assert_eq!(&message.key[..], "\u{fffd}\u{fffd}\u{fffd}".as_bytes());
                written = encode(&GoMessage { key: Cow::Borrowed(b"\xff\xfe\xfd"), ..message });
            }
            assert_eq!(written.as_bytes(), value, "{name}");
            seen += 1;
        } else if name == "legacy-error-record" {
            let message = message.unwrap();
            assert_eq!(message.value.as_deref(), Some(br#"{"order":8}"#.as_slice()));
            assert_eq!((&*message.consumer_error_str, &message.key[..], message.partition), ("old boom", &b"K"[..], 4));
            assert!(message.task_id.is_empty());
        } else {
            assert_eq!(message, None, "{name} is a raw payload");
            let error =
                recognise_error(&value).map(|m| (m.consumer_error_str.into_owned(), m.value.map(Cow::into_owned)));
            let expected = (name == "error-record-of-legacy-json-record")
                .then(|| ("new boom".into(), Some(br#"{"order":8}"#.into())));
            assert_eq!(error, expected, "{name}");
        }
    }
    assert!(seen >= 14, "{seen}");
}

#[test]
fn every_hand_made_value_is_read_as_go_reads_it_and_never_dropped() {
    for case in read(format!("{FIXTURES}/parse-cases.json").as_ref())["cases"].as_array().unwrap() {
        let label = case["label"].as_str().unwrap();
        let value = bytes_of(case, "value_base64").unwrap();
        let got = recognise(&value);
        // What Go drops reaches our handlers as a raw payload.
        let raw = case["callback"] == false || case["payload_is_record_value"] == true;
        assert_eq!(got.is_none(), raw, "{label}");
        let Some(got) = got else { continue };
        assert_eq!(got.value.as_deref(), bytes_of(case, "payload_base64").as_deref(), "{label}");
        let message = &case["message"];
        assert_eq!(got.task_id, message["TaskID"].as_str().unwrap(), "{label}");
        assert_eq!(got.key, message["Key"].as_str().unwrap().as_bytes(), "{label}");
        assert_eq!(got.producer_sent_time.to_string(), message["ProducerSentTime"].as_str().unwrap(), "{label}");
        if let Some(group) = message.get("ConsumerGroupID") {
            assert_eq!(got.consumer_group_id, group.as_str().unwrap(), "{label}");
        }
    }
}

#[test]
fn an_error_record_without_its_message_is_a_raw_payload() {
    for text in [r#"{"ErrStr":"boom"}"#, r#"{"ErrStr":"boom","Message":null}"#, r#"{"ErrStr":"boom","Message":7}"#] {
        assert_eq!(recognise(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn forgiving_where_go_is() {
    let read = |text: &str| recognise(text.as_bytes());
    let id = |text: &str| read(text).map(|m| m.task_id.into_owned());
    assert_eq!(id(r#"{"taskid":"x"}"#).as_deref(), Some("x"));
    assert_eq!(id(r#"{"\u0054askID":"x"}"#).as_deref(), Some("x"));
    assert_eq!(id(r#"{"TASKID":"x","TaskID":null}"#).as_deref(), Some("x"));
    assert_eq!(id("{\"Tas\u{212a}ID\":\"x\"}").as_deref(), Some("x"));
    assert_eq!(read(r#"{"TaskID":"x","Value":[104,105]}"#).unwrap().value.as_deref(), Some(&b"hi"[..]));
    assert_eq!(read(r#"{"TaskID":"x","Value":"aGk=","value":null}"#).unwrap().value, None);
    assert_eq!(read(r#"{"TaskID":"x","Value":[256]}"#), None);
    assert_eq!(read(r#"{"TaskID":"x","Partition":1.0}"#), None);
    assert_eq!(read(r#"{"TaskID":"x","IsSendError":"true"}"#), None);
    assert_eq!(read(r#"{"TaskID":"x","Other":[{"a":1e9}]}"#).unwrap().offset, 0);
}

#[test]
fn the_quick_look_rules_out_ordinary_json_only() {
    assert!(!may_name_it(br#"{"order":42,"user":"kim","text":"error string"}"#));
    for text in [r#"{"TASKid":1"#, r#"{"errSTR":1"#, r#"{"\u0054"#, "{\"Ta\u{17f}kID\""] {
        assert!(may_name_it(text.as_bytes()), "{text}");
    }
    assert!(!may_name_it(b"{") && !may_name_it(b""));
}

#[test]
fn a_name_is_found_at_every_place_among_others_as_long() {
    for others in [&br#"{"amount":1,"status":"ok","a":"#[..], br#"{"ab":1,"cd":2,"#] {
        for length in 0..200 {
            let others: Vec<u8> = others.iter().copied().cycle().take(length).collect();
            assert!(!has_six_letters(&others) && !look_for_six_letters(&others), "{length}");
            for at in 0..=length {
                let mut value = others.clone();
                value.splice(at..at, *br#""taskid""#);
                assert!(has_six_letters(&value) && look_for_six_letters(&value), "{at} of {length}");
            }
        }
    }
}

proptest! {
    #[test]
    fn both_ways_to_look_for_a_name_see_the_same(text in "[\"sSrx:]{0,150}") {
        let alone = |bytes: &[u8]| bytes.windows(8).any(|w| w[0] == b'"' && w[7] == b'"' && w[3] | 0x21 == b's');
        prop_assert_eq!(has_six_letters(text.as_bytes()), alone(text.as_bytes()));
        prop_assert_eq!(look_for_six_letters(text.as_bytes()), alone(text.as_bytes()));
    }

    #[test]
    fn hostile_values_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = recognise(&bytes);
        bytes.splice(0..0, *b"{\"TaskID\":");
        let _ = recognise(&bytes);
    }

    #[test]
    fn damaged_records_never_panic(at in any::<prop::sample::Index>(), with in any::<u8>(), which in any::<prop::sample::Index>()) {
        let samples = samples();
        let (_, mut value) = which.get(&samples).clone();
        prop_assume!(!value.is_empty());
        let at = at.index(value.len());
        value[at] = with;
        let _ = recognise(&value);
        let _ = recognise(&value[..at]);
    }

    #[test]
    fn what_we_write_we_read(id in "[^\u{0}]{1,20}", key in proptest::collection::vec(any::<u8>(), 0..20),
                             value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)), ms in 0i64..4_000_000_000_000) {
        let message = GoMessage {
            task_id: id.into(),
            key: String::from_utf8(key).unwrap_or_default().into_bytes().into(),
            value: value.map(Cow::Owned),
            producer_sent_time: GoTime::from_unix_ms(ms),
            ..GoMessage::default()
        };
        let text = encode(&message);
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        prop_assert_eq!(recognise(text.as_bytes()), Some(message));
    }
}

#[test]
fn an_envelope_without_its_wishes_is_otherwise_the_same() {
    let asks = |is_reply_message, is_send_error| {
        let value = Some(Cow::Borrowed(&br#""IsSendError":true}"#[..]));
        encode(&GoMessage { task_id: "1".into(), value, is_reply_message, is_send_error, ..GoMessage::default() })
    };
    for (reply, error) in [(true, false), (false, true), (true, true)] {
        assert_eq!(without_wishes(asks(reply, error).as_bytes()), Some(asks(false, false).into_bytes()));
    }
    assert_eq!(without_wishes(asks(false, false).as_bytes()), None);
    assert_eq!(without_wishes(br#"{"IsSendError":true}"#), None, "no envelope");
    let odd = br#" {"taskid":"1", "ISREPLYMESSAGE" : true,"more":[true],"IsReplyMessage":true} "#;
    let quiet = br#" {"taskid":"1", "ISREPLYMESSAGE" : false,"more":[true],"IsReplyMessage":false} "#;
    assert_eq!(without_wishes(odd).as_deref(), Some(&quiet[..]));
}

#[test]
fn no_spelling_of_a_name_that_makes_an_envelope_is_ruled_out() {
    let spelled = |name: &str, at: usize| {
        let escaped = format!("\\u{:04x}", u32::from(name.as_bytes()[at]));
        let with = |letter: &str| format!("{}{letter}{}", &name[..at], &name[at + 1..]);
        let folding = match name.as_bytes()[at] | 32 {
            b's' => with("\u{17f}"),
            b'k' => with("\u{212a}"),
            _ => name.to_owned(),
        };
        let other_case = with(&char::from(name.as_bytes()[at] ^ 32).to_string());
        [name.to_owned(), name.to_lowercase(), name.to_uppercase(), other_case, folding, with(&escaped)]
    };
    for at in 0..6 {
        for id in spelled("TaskID", at) {
            for around in 0..40 {
                let before = format!("\"{}\":1,", "a".repeat(around));
                for value in [
                    format!("{{\"{id}\":\"1\"}}"),
                    format!("{{{before}\"{id}\":\"1\"}}"),
                    format!("{{\"{id}\" : \"1\",{before}\"b\":2}}"),
                ] {
                    assert!(recognise(value.as_bytes()).is_some_and(|m| m.task_id == "1"), "{value}");
                }
            }
        }
        for error in spelled("ErrStr", at) {
            let value = format!("{{\"Message\":{{}},\"{error}\":\"e\"}}");
            assert!(recognise(value.as_bytes()).is_some_and(|m| m.consumer_error_str == "e"), "{value}");
        }
    }
}
