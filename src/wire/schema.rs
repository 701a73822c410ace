//! What every declaration says about itself, held against Kafka's own schemas (`tests/fixtures/kafka-schemas`).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;

use super::field::Spec;
use super::message::{Request, Versions};
use super::messages::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use super::messages::every::for_each_declared_api;
use super::primitives::{Records, StrBytes};
use super::{ErrorCode, Uuid};

/// The type of a field as the declaration has it.
#[derive(Debug)]
pub(crate) enum Type {
    /// A primitive, by Kafka's name.
    Plain(&'static str),
    /// `Option`.
    Nullable(&'static Type),
    /// `Vec`.
    Array(&'static Type),
    /// Nested fields.
    Struct(&'static [FieldOf]),
}

/// One field: spec, type, and the default as Rust prints it.
pub(crate) type FieldOf = (Spec, Type, fn() -> String);

/// A type that can say what it is.
pub(crate) trait Described {
    const TYPE: Type;
}

macro_rules! plain {
    ($($t:ty = $name:literal)*) => { $(impl Described for $t { const TYPE: Type = Type::Plain($name); })* };
}

plain! {
    bool = "bool" i8 = "int8" i16 = "int16" i32 = "int32" i64 = "int64" ErrorCode = "int16" Uuid = "uuid"
    StrBytes = "string" Bytes = "bytes" Records = "records"
}

impl<T: Described> Described for Vec<T> {
    const TYPE: Type = Type::Array(&T::TYPE);
}

impl<T: Described> Described for Option<T> {
    const TYPE: Type = Type::Nullable(&T::TYPE);
}

/// First and last version.
type Range = (i16, i16);

fn range(text: &Value) -> Option<Range> {
    let number = |s: &str| s.parse::<i16>().unwrap();
    match text.as_str()? {
        "none" => None,
        s => Some(match (s.strip_suffix('+'), s.split_once('-')) {
            (Some(from), _) => (number(from), i16::MAX),
            (_, Some((from, to))) => (number(from), number(to)),
            _ => (number(s), number(s)),
        }),
    }
}

fn both(a: Range, b: Range) -> Option<Range> {
    let r = (a.0.max(b.0), a.1.min(b.1));
    (r.0 <= r.1).then_some(r)
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut word = false;
    for c in name.chars() {
        if c.is_uppercase() && word {
            out.push('_');
        }
        word = !c.is_uppercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-schemas")
}

fn load(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // Kafka's JSON has comment lines.
    let json: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&json).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn schema(name: &str) -> Value {
    load(&directory().join(format!("{name}.json")))
}

struct Check<'a> {
    common: &'a Value,
    flexible: i16,
}

impl Check<'_> {
    fn structure(&self, path: &str, fields: &[FieldOf], json: &Value, of: Range) {
        let json: Vec<_> = json
            .as_array()
            .unwrap_or_else(|| panic!("{path}: no fields"))
            .iter()
            .filter_map(|field| Some((field, both(range(&field["versions"])?, of)?)))
            .collect();
        let names: Vec<_> = json.iter().map(|(field, _)| snake(field["name"].as_str().unwrap())).collect();
        assert_eq!(fields.iter().map(|f| f.0.name).collect::<Vec<_>>(), names, "{path}: fields and their order");
        let tags: Vec<_> = fields.iter().filter_map(|f| f.0.tag).collect();
        assert!(tags.is_sorted(), "{path}: tagged fields are written in the order of their tags");
        for ((spec, kind, default), (field, versions)) in fields.iter().zip(json) {
            self.field(&format!("{path}.{}", spec.name), spec, kind, &default(), field, versions, of);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn field(&self, path: &str, spec: &Spec, kind: &Type, default: &str, json: &Value, versions: Range, of: Range) {
        assert_eq!(both((spec.from, spec.to), of), Some(versions), "{path}: versions");
        let optional = versions != of;
        assert_eq!(spec.ignorable, optional && json["ignorable"].as_bool().unwrap_or(false), "{path}: ignorable");

        assert_eq!(spec.tag.map(u64::from), json["tag"].as_u64(), "{path}: tag");
        if spec.tag.is_some() {
            let tagged = range(&json["taggedVersions"]).unwrap();
            assert_eq!(both(tagged, versions), Some(versions), "{path}: tagged in all its versions");
            assert!(versions.0 >= self.flexible, "{path}: tagged before the first flexible version");
        }
        assert!(json.get("flexibleVersions").is_none(), "{path}: flexible versions of its own");

        let nulls = range(&json["nullableVersions"]).and_then(|r| both(r, versions));
        let kind = match (kind, nulls) {
            (Type::Nullable(kind), Some(nulls)) => {
                assert_eq!((spec.null_from.max(versions.0), versions.1), nulls, "{path}: nullable versions");
                *kind
            }
            (Type::Nullable(_), None) => panic!("{path}: declared nullable"),
            (_, Some(nulls)) => panic!("{path}: nullable in {nulls:?}"),
            (kind, None) => kind,
        };
        let name = json["type"].as_str().unwrap();
        self.kind(path, kind, name, json, versions);
        if !matches!(kind, Type::Struct(_)) {
            assert_eq!(default, expected_default(name, json, nulls.is_some()), "{path}: default");
        }
    }

    fn kind(&self, path: &str, kind: &Type, name: &str, json: &Value, versions: Range) {
        match kind {
            Type::Plain(plain) => assert_eq!(*plain, name, "{path}: type"),
            Type::Array(element) => {
                let element_name = name.strip_prefix("[]").unwrap_or_else(|| panic!("{path}: {name} is no array"));
                self.kind(path, element, element_name, json, versions);
                for version in versions.0..=versions.1 {
                    assert!(self.least_size(element, version) > 0, "{path}: an element may be of no bytes at all");
                }
            }
            Type::Struct(fields) => {
                let common = || self.common.as_array().into_iter().flatten().find(|s| s["name"] == name);
                let inner = json.get("fields").or_else(|| common()?.get("fields"));
                self.structure(path, fields, inner.unwrap_or_else(|| panic!("{path}: {name} unknown")), versions);
            }
            Type::Nullable(_) => panic!("{path}: no element of Kafka's is nullable"),
        }
    }

    /// Fewest bytes a value takes. The reader relies on array elements taking at least one.
    fn least_size(&self, kind: &Type, version: i16) -> usize {
        match kind {
            Type::Struct(fields) => {
                usize::from(version >= self.flexible) + fields.iter().filter(|f| f.0.in_body(version)).count()
            }
            _ => 1,
        }
    }
}

/// The JSON's default as Rust prints it.
fn expected_default(kind: &str, json: &Value, nullable: bool) -> String {
    let given = match &json["default"] {
        Value::String(s) => Some(s.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    if given.as_deref() == Some("null") {
        return "None".into();
    }
    let text = given.unwrap_or_default();
    let value = match kind {
        "bool" => if text.is_empty() { "false" } else { &text }.to_string(),
        "string" => format!("{text:?}"),
        "bytes" => format!("{:?}", Bytes::from(text)),
        "records" => format!("{:?}", Records::default()),
        "uuid" => format!("{:?}", Uuid::ZERO),
        array if array.starts_with("[]") => "[]".into(),
        _ => {
            let number = match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
                None if text.is_empty() => 0,
                None => text.parse().unwrap(),
            };
            let code = json["name"].as_str().unwrap().ends_with("ErrorCode");
            if code { format!("{:?}", ErrorCode(i16::try_from(number).unwrap())) } else { number.to_string() }
        }
    };
    if nullable { format!("Some({value})") } else { value }
}

fn check<T: Described>(declared: Versions) {
    check_against::<T>(declared, &schema(declared.name));
}

fn check_against<T: Described>(declared: Versions, json: &Value) {
    let flexible = range(&json["flexibleVersions"]).map_or(i16::MAX, |r| r.0);
    assert_eq!(declared.flexible, flexible, "{}: flexible versions", declared.name);
    let valid = range(&json["validVersions"]).unwrap();
    assert_eq!(declared.min, valid.0, "{}: oldest version", declared.name);
    assert!(declared.max <= valid.1, "{}: newest version", declared.name);
    let Type::Struct(fields) = T::TYPE else { unreachable!("a message is a struct") };
    let check = Check { common: &json["commonStructs"], flexible };
    check.structure(declared.name, fields, &json["fields"], (declared.min, declared.max));
}

fn check_api<R: Request + Described>(request: Versions, response: Versions)
where
    R::Response: Described,
{
    check::<R>(request);
    check::<R::Response>(response);
    let json = schema(request.name);
    assert_eq!(i64::from(R::KEY), json["apiKey"].as_i64().unwrap(), "{}: key", R::NAME);
    assert_eq!(request.name, format!("{}Request", R::NAME));
    assert_eq!(response.name, format!("{}Response", R::NAME));
    assert_eq!((request.min, request.max), (response.min, response.max), "{}: versions", R::NAME);
    let newest = range(&json["validVersions"]).unwrap().1;
    let unstable = json["latestVersionUnstable"].as_bool().unwrap_or(false);
    assert_eq!(R::MAX, newest - i16::from(unstable), "{}: newest stable version", R::NAME);
}

#[test]
fn every_api_is_declared_as_kafka_declares_it() {
    macro_rules! check_all {
        ($($request:ident)*) => { $(
            check_api::<super::messages::$request>(
                super::messages::$request::VERSIONS,
                <super::messages::$request as Request>::Response::VERSIONS,
            );
        )* };
    }
    for_each_declared_api!(check_all);
}

#[test]
fn the_group_blobs_are_declared_as_kafka_declares_them() {
    check::<ConsumerProtocolSubscription>(ConsumerProtocolSubscription::VERSIONS);
    check::<ConsumerProtocolAssignment>(ConsumerProtocolAssignment::VERSIONS);
    for name in ["ConsumerProtocolSubscription", "ConsumerProtocolAssignment"] {
        assert_eq!(range(&schema(name)["validVersions"]), Some((0, ConsumerProtocolAssignment::VERSIONS.max)));
    }
}

/// A check that accepts everything would pass as well.
#[test]
fn a_declaration_that_differs_in_one_point_is_noticed() {
    use super::messages::FetchResponse;
    type Change = fn(&mut Value);
    let changes: [Change; 9] = [
        |json| json["flexibleVersions"] = "11+".into(),
        |json| json["fields"][1]["versions"] = "8+".into(),
        |json| json["fields"][1]["ignorable"] = false.into(),
        |json| json["fields"][2]["name"] = "Session".into(),
        |json| json["fields"][2]["default"] = "1".into(),
        |json| json["fields"][4]["tag"] = 1.into(),
        |json| json["fields"][3]["fields"][2]["fields"][8]["nullableVersions"] = "5+".into(),
        |json| json["fields"][3]["fields"][2]["fields"][0]["type"] = "int64".into(),
        |json| json["fields"].as_array_mut().unwrap().swap(0, 1),
    ];
    let mut json = schema("FetchResponse");
    check_against::<FetchResponse>(FetchResponse::VERSIONS, &json);
    for (i, change) in changes.iter().enumerate() {
        let original = json.clone();
        change(&mut json);
        let noticed = std::panic::catch_unwind(|| check_against::<FetchResponse>(FetchResponse::VERSIONS, &json));
        assert!(noticed.is_err(), "change {i}");
        json = original;
    }
}

/// The headers are written by hand; this holds what that code relies on.
#[test]
fn the_headers_are_what_the_code_assumes() {
    let names = |json: &Value| -> Vec<String> {
        json["fields"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap().to_string()).collect()
    };
    let request = schema("RequestHeader");
    assert_eq!(names(&request), ["RequestApiKey", "RequestApiVersion", "CorrelationId", "ClientId"]);
    assert_eq!((&request["validVersions"], &request["flexibleVersions"]), (&"1-2".into(), &"2+".into()));
    assert_eq!(request["fields"][3]["flexibleVersions"], "none");
    let response = schema("ResponseHeader");
    assert_eq!(names(&response), ["CorrelationId"]);
    assert_eq!((&response["validVersions"], &response["flexibleVersions"]), (&"0-1".into(), &"1+".into()));
}

/// With `KAFKA_SCHEMAS` naming a directory where a kafka-clients jar's `common/message` was unpacked.
#[test]
fn the_fixtures_are_the_schemas_of_kafkas_jar() {
    fn without_prose(json: &mut Value) {
        match json {
            Value::Object(map) => {
                map.remove("about");
                map.values_mut().for_each(without_prose);
            }
            Value::Array(list) => list.iter_mut().for_each(without_prose),
            _ => {}
        }
    }
    let Some(original) = std::env::var_os("KAFKA_SCHEMAS") else { return };
    let mut compared = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let mut theirs = load(&Path::new(&original).join(path.file_name().unwrap()));
            without_prose(&mut theirs);
            assert_eq!(load(&path), theirs, "{}", path.display());
            compared += 1;
        }
    }
    assert_eq!(compared, 72);
}
