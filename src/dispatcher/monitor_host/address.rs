//! Where a monitor is asked: from what a user writes to a URL, and from there along redirects. Pure functions.

use std::fmt;

use hyper::Uri;

/// An `http` URL with a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(Uri);

/// What is wrong, to follow the name of whatever it is.
type Wrong = String;

impl Address {
    /// `[http://]host[:port][/base]`, with a `/` at its end, as the Go library completes it.
    pub(super) fn of_host(host: &str) -> Result<Self, Wrong> {
        let host = host.trim();
        if host.is_empty() {
            return Err("is empty: name a service as host[:port][/base], or leave it out".into());
        }
        let whole = if scheme(host).is_some() { host.to_owned() } else { format!("http://{host}") };
        let address = Self::parse(&if whole.ends_with('/') { whole } else { whole + "/" })?;
        match address.0.query() {
            Some(_) => Err(format!("{host} has a query: use host[:port][/base]")),
            None => Ok(address),
        }
    }

    /// The question, its parameters in the Go library's order and spelling.
    pub(super) fn question(&self, group: &str, topic: &str) -> Result<Self, Wrong> {
        let (group, topic) = (escape(group), escape(topic));
        Self::parse(&format!("{}monitor/kafka/lags?group_id={group}&topic={topic}", self.0))
    }

    /// Where a `Location` leads from here.
    pub(super) fn join(&self, location: &str) -> Result<Self, Wrong> {
        let location = location.trim();
        let location = location.split('#').next().unwrap_or_default();
        let authority = self.authority();
        if scheme(location).is_some() {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("http://{rest}"));
        }
        let path = self.0.path();
        Self::parse(&match location.chars().next() {
            None => return Err("is nowhere".into()),
            Some('/') => format!("http://{authority}{}", without_dots(location)),
            Some('?') => format!("http://{authority}{path}{location}"),
            Some(_) => {
                let directory = &path[..path.rfind('/').map_or(0, |at| at + 1)];
                format!("http://{authority}{}", without_dots(&format!("{directory}{location}")))
            }
        })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let url: Uri = text.parse().map_err(|e| format!("{text} is not a URL ({e}): use host[:port][/base]"))?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(format!("{text} needs TLS, which is not there yet: use http, or leave monitor_host out"));
            }
            _ => return Err(format!("{text} is not an http URL: use host[:port][/base]")),
        }
        match url.authority() {
            Some(a) if a.as_str().contains('@') => {
                Err("contains a user name, which is not supported: use host[:port][/base]".into())
            }
            Some(a) if !a.host().is_empty() => Ok(Self(url)),
            _ => Err(format!("{text} names no host: use host[:port][/base]")),
        }
    }

    /// For the request's `Host`.
    pub(super) fn authority(&self) -> &str {
        self.0.authority().map_or("", |a| a.as_str())
    }

    /// For dialling: without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(80)
    }

    /// For the request line.
    pub(super) fn path_and_query(&self) -> &str {
        self.0.path_and_query().map_or("/", |p| p.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    scheme.chars().all(|c| c.is_ascii_alphanumeric()).then_some(scheme)
}

/// A path, perhaps with a query, whose `.` and `..` are followed.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

/// As Go's `url.Values` escapes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_completed_and_asked_as_the_go_library_does() {
        for (host, url) in [
            ("mon", "http://mon/"),
            (" mon:8080 ", "http://mon:8080/"),
            ("http://mon/base", "http://mon/base/"),
            ("mon/a/b/", "http://mon/a/b/"),
            ("[::1]:81", "http://[::1]:81/"),
        ] {
            assert_eq!(Address::of_host(host).unwrap().to_string(), url);
        }
        let base = Address::of_host("mon/base").unwrap();
        let question = base.question("g &/ü:t.1", "t.1").unwrap();
        assert_eq!(question.to_string(), "http://mon/base/monitor/kafka/lags?group_id=g+%26%2F%C3%BC%3At.1&topic=t.1");
        let address = Address::of_host("[::1]:81").unwrap();
        assert_eq!((address.host(), address.port(), address.authority()), ("::1", 81, "[::1]:81"));
        assert_eq!(base.port(), 80);
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_advice() {
        for (host, says) in [
            ("", "empty"),
            ("https://mon", "TLS"),
            ("ftp://mon", "not an http URL"),
            ("user:secret@mon", "user name"),
            ("mon?x=1", "query"),
            ("http:///x", ""),
            ("a b", "not a URL"),
        ] {
            let wrong = Address::of_host(host).unwrap_err();
            assert!(wrong.contains(says) && !wrong.contains("secret"), "{host}: {wrong}");
        }
    }

    #[test]
    fn redirects_lead_where_a_browser_would_go() {
        let from = Address::parse("http://mon:1/a/b?x=1").unwrap();
        for (location, to) in [
            ("http://other/z", "http://other/z"),
            ("//other/z", "http://other/z"),
            ("/z?y=2", "http://mon:1/z?y=2"),
            ("c#part", "http://mon:1/a/c"),
            ("./../../c/?y=..", "http://mon:1/c/?y=.."),
            ("?y=2", "http://mon:1/a/b?y=2"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), to, "{location}");
        }
        assert!(from.join("https://mon/").unwrap_err().contains("TLS"));
        assert!(from.join("").is_err() && from.join("javascript://x").is_err());
    }
}
