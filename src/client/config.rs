//! What a cluster connection is configured with. The public builder fills it; every limit has its default here.

use std::time::Duration;

use crate::client::retry::BackoffConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::net::sasl::Sasl;
use crate::net::tls::Tls;

/// Settings of one [`Cluster`](crate::client::Cluster).
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    /// Seeds, `host:port` each (port 9092 if left out).
    pub(crate) brokers: Vec<String>,
    /// Shown in the brokers' logs and used for quotas.
    pub(crate) client_id: String,
    /// Limit for one connection: dial and negotiation together.
    pub(crate) connect_timeout: Duration,
    /// Limit for one ordinary request, and for a call with its retries.
    pub(crate) request_timeout: Duration,
    /// Metadata older than this is asked for again.
    pub(crate) metadata_max_age: Duration,
    /// How long a topic that no broker knows is waited for.
    pub(crate) unknown_topic_wait: Duration,
    /// Without a reachable broker for this long, known brokers are forgotten and the seeds asked again (KIP-899).
    pub(crate) rebootstrap_after: Duration,
    /// Between tries of a request.
    pub(crate) retry_backoff: BackoffConfig,
    /// Between tries to reconnect to one broker.
    pub(crate) reconnect_backoff: BackoffConfig,
    /// A longer frame from a broker is refused.
    pub(crate) max_frame: usize,
    /// TLS on every connection.
    pub(crate) tls: Option<Tls>,
    /// SASL on every connection.
    pub(crate) sasl: Option<Sasl>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            client_id: "dispatcher".into(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            metadata_max_age: Duration::from_secs(60),
            unknown_topic_wait: Duration::from_secs(5),
            rebootstrap_after: Duration::from_secs(300),
            retry_backoff: BackoffConfig { first: Duration::from_millis(100), max: Duration::from_secs(1) },
            reconnect_backoff: BackoffConfig { first: Duration::from_millis(50), max: Duration::from_secs(1) },
            max_frame: 100 << 20,
            tls: None,
            sasl: None,
        }
    }
}

impl ClientConfig {
    /// The seeds as host and port.
    pub(crate) fn seeds(&self) -> Result<Vec<(String, u16)>> {
        if self.brokers.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "no brokers given: name at least one as host:port"));
        }
        self.brokers.iter().map(|b| parse_endpoint(b)).collect()
    }
}

/// `host:port`, `host`, `[v6]:port` or a bare IPv6 address.
fn parse_endpoint(text: &str) -> Result<(String, u16)> {
    let invalid = || Error::new(ErrorKind::InvalidConfig, format!("broker {text:?} is not host:port: correct it"));
    let trimmed = text.trim();
    let (host, port) = match trimmed.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or_else(invalid)?;
            (host, if tail.is_empty() { None } else { Some(tail.strip_prefix(':').ok_or_else(invalid)?) })
        }
        None if trimmed.matches(':').count() > 1 => (trimmed, None),
        None => match trimmed.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (trimmed, None),
        },
    };
    let port = port.map_or(Ok(9092), |p| p.parse::<u16>().map_err(|_| invalid()))?;
    let bad = |c: char| c.is_whitespace() || matches!(c, '/' | ',' | '[' | ']');
    if host.is_empty() || port == 0 || host.contains(bad) { Err(invalid()) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_parse_with_and_without_port_and_as_ipv6() {
        let ok = |t: &str| parse_endpoint(t).unwrap();
        assert_eq!(ok("kafka:9093"), ("kafka".into(), 9093));
        assert_eq!(ok(" kafka "), ("kafka".into(), 9092));
        assert_eq!(ok("[::1]:29092"), ("::1".into(), 29092));
        assert_eq!(ok("fe80::1"), ("fe80::1".into(), 9092));
    }

    #[test]
    fn malformed_endpoints_are_refused_by_name() {
        for text in ["", ":9092", "host:", "host:0", "host:99999", "kafka://host:9092", "a,b", "[::1]9092", "a b:1"] {
            let error = parse_endpoint(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
            assert!(error.to_string().contains(&format!("{text:?}")));
        }
    }
}
