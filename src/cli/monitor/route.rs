//! From a request to its answer: no I/O, everything is in memory. Answers carry the headers that keep a browser from
//! loading, framing or guessing anything.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};

use super::state::State;
use super::{metrics, views};

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Status, content type and body.
type Answer = (StatusCode, &'static str, String);

pub(super) fn respond(method: &Method, uri: &Uri, base: &str, state: &State, now_ms: i64) -> Response<Full<Bytes>> {
    let (status, kind, body) = if matches!(*method, Method::GET | Method::HEAD) {
        answer(uri, base, state, now_ms)
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, TEXT, "use GET\n".into())
    };
    let length = body.len();
    // The server leaves the body of an answer to HEAD out by itself.
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, length.into());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if status == StatusCode::PERMANENT_REDIRECT
        && let Ok(place) = HeaderValue::from_str(&format!("{base}/"))
    {
        headers.insert(header::LOCATION, place);
    }
    response
}

fn answer(uri: &Uri, base: &str, state: &State, now_ms: i64) -> Answer {
    let ok = |kind, body: String| (StatusCode::OK, kind, body);
    let not_found = |what: &str| (StatusCode::NOT_FOUND, TEXT, format!("{what}\n"));
    match uri.path().strip_prefix(base) {
        // The page names its parts from where it is.
        Some("") => (StatusCode::PERMANENT_REDIRECT, TEXT, String::new()),
        Some("/") => ok("text/html; charset=utf-8", PAGE.into()),
        Some("/style.css") => ok("text/css; charset=utf-8", STYLE.into()),
        Some("/script.js") => ok("text/javascript; charset=utf-8", SCRIPT.into()),
        Some("/metrics") => ok(metrics::TYPE, metrics::text(state, now_ms)),
        Some("/monitor/kafka/lags") => go_lag(uri.query().unwrap_or_default(), state, now_ms),
        Some("/api/groups") => ok(JSON, json(&views::groups(state, now_ms))),
        Some(path) => match path.strip_prefix("/api/groups/").map(|name| unescape(name, false)) {
            Some(Some(name)) => match views::detail(state, &name, now_ms) {
                Some(detail) => ok(JSON, json(&detail)),
                None => not_found("there is no such group"),
            },
            _ => not_found("there is nothing here: see /"),
        },
        None => not_found("there is nothing here"),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    // Our own structs with string keys: serialising them into memory cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// What the Go library asks.
fn go_lag(query: &str, state: &State, now_ms: i64) -> Answer {
    let bad = |text: String| (StatusCode::BAD_REQUEST, TEXT, text);
    let parameter = |name: &str| {
        let of_name = |pair: &str| pair.split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v.to_owned());
        query.split('&').find_map(of_name).and_then(|value| unescape(&value, true)).filter(|value| !value.is_empty())
    };
    let (Some(group), Some(topic)) = (parameter("group_id"), parameter("topic")) else {
        return bad("the parameters group_id and topic are needed".into());
    };
    match views::go_lag(state, &group, &topic, now_ms) {
        Ok(lag) => (StatusCode::OK, TEXT, lag),
        Err((status, text)) => (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), TEXT, text),
    }
}

/// Undoes percent-encoding; with `plus` a `+` is a space. `None`: broken, or not UTF-8.
fn unescape(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::super::seen::{Seen, SeenPartition};
    use super::super::state::Settings;
    use super::*;

    fn state() -> State {
        let mut state = State::new(Settings { interval_ms: 5_000, history_ms: 3_600_000, stuck_after_ms: 30_000 });
        let p = |partition| SeenPartition { topic: "t 2".into(), partition, lag: 4, ..SeenPartition::default() };
        let seen = Seen { state: "Stable".into(), members: 1, partitions: vec![p(0), p(1)] };
        state.observe(0, vec![("a/ü:t 2".into(), Ok(seen)), ("broken".into(), Err("no leader".into()))]);
        state
    }

    fn get(path: &str, base: &str, now_ms: i64) -> (u16, String) {
        let (status, _, body) = answer(&path.parse().unwrap(), base, &state(), now_ms);
        (status.as_u16(), body)
    }

    #[test]
    fn the_go_library_gets_a_plain_number_or_a_text_it_passes_on() {
        let lags = |query: &str, now| get(&format!("/monitor/kafka/lags{query}"), "", now);
        assert_eq!(lags("?group_id=a%2F%C3%BC%3At+2&topic=t+2", 0), (200, "8".into()));
        for (query, now, status, says) in [
            ("", 0, 400, "group_id and topic"),
            ("?group_id=a", 0, 400, "group_id and topic"),
            ("?group_id=&topic=t", 0, 400, "group_id and topic"),
            ("?group_id=%f&topic=t", 0, 400, "group_id and topic"),
            ("?group_id=b&topic=t", 0, 400, "no group \"b\""),
            ("?group_id=a%2F%C3%BC%3At+2&topic=t", 0, 400, "nothing of topic \"t\""),
            ("?group_id=broken&topic=t", 0, 503, "no leader"),
            ("?group_id=a%2F%C3%BC%3At+2&topic=t+2", 60_000, 503, "nothing recent"),
        ] {
            let (code, text) = lags(query, now);
            assert!(code == status && text.contains(says), "{query}: {code} {text}");
        }
    }

    #[test]
    fn everything_is_below_the_base() {
        assert_eq!(get("/lags", "/lags", 0).0, 308);
        for path in ["/", "/style.css", "/script.js", "/metrics", "/api/groups", "/api/groups/a%2F%C3%BC%3At%202"] {
            assert_eq!(get(&format!("/lags{path}"), "/lags", 0).0, 200, "{path}");
            assert_eq!(get(path, "", 0).0, 200, "{path}");
            assert_eq!(get(path, "/lags", 0).0, 404, "{path}");
        }
        for path in ["/x", "/api", "/api/groups/none", "/api/groups/%zz", "/api/groups/%ff"] {
            assert_eq!(get(path, "", 0).0, 404, "{path}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused_and_nothing_may_be_loaded_from_elsewhere() {
        let uri = "/".parse().unwrap();
        let response = respond(&Method::POST, &uri, "", &state(), 0);
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"));
        for part in [PAGE, STYLE, SCRIPT] {
            let elsewhere = part.matches("http").filter(|_| !part.contains("http://www.w3.org/2000/svg")).count();
            assert_eq!(elsewhere, 0);
        }
    }
}
