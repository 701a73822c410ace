//! Listeners with TLS and SASL, and their users: what they are to be like, and the broker properties that make them so.

use crate::certificates::{self, Identity};

/// Kafka's names of the SASL mechanisms that a broker offers by itself.
pub const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// A listener that wants TLS, authentication or both. Without TLS settings of its own it shows
/// [`certificates::GOOD`].
///
/// ```no_run
/// use dispatcher_testcontainers::{Kafka, Listener, certificates};
///
/// let kafka = Kafka::builder()
///     .secured(Listener::ssl("TLS"))
///     .secured(Listener::ssl("MTLS").client_certificates(certificates::CA))
///     .secured(Listener::sasl_plaintext("SASL"))
///     .user("alice", "alice-secret")
///     .start_or_skip();
/// ```
#[derive(Debug, Clone, Hash)]
#[must_use = "a listener is handed to Builder::secured"]
pub struct Listener {
    pub(crate) name: String,
    pub(crate) protocol: &'static str,
    pub(crate) properties: Vec<(String, String)>,
}

impl Listener {
    fn new(name: &str, protocol: &'static str) -> Self {
        Self { name: name.to_owned(), protocol, properties: Vec::new() }
    }

    /// TLS.
    pub fn ssl(name: &str) -> Self {
        Self::new(name, "SSL").certificate(certificates::GOOD)
    }

    /// SASL over TLS, with all [`MECHANISMS`].
    pub fn sasl_ssl(name: &str) -> Self {
        Self::new(name, "SASL_SSL").certificate(certificates::GOOD).mechanisms(&MECHANISMS)
    }

    /// SASL without TLS, with all [`MECHANISMS`].
    pub fn sasl_plaintext(name: &str) -> Self {
        Self::new(name, "SASL_PLAINTEXT").mechanisms(&MECHANISMS)
    }

    /// What the broker shows.
    pub fn certificate(self, identity: Identity) -> Self {
        self.property("ssl.keystore.type", "PEM")
            .property("ssl.keystore.key", identity.key)
            .property("ssl.keystore.certificate.chain", identity.chain)
    }

    /// Clients must show a certificate of this authority.
    pub fn client_certificates(self, authority: &str) -> Self {
        self.property("ssl.client.auth", "required")
            .property("ssl.truststore.type", "PEM")
            .property("ssl.truststore.certificates", authority)
    }

    /// Only these mechanisms. Tokens of OAUTHBEARER are unsecured JWTs, as Kafka checks them unless told otherwise.
    pub fn mechanisms(self, mechanisms: &[&str]) -> Self {
        self.property("sasl.enabled.mechanisms", &mechanisms.join(","))
    }

    /// Connections must authenticate again after so many milliseconds (`connections.max.reauth.ms`, KIP-368).
    pub fn reauthenticate_after(mut self, ms: u64) -> Self {
        for mechanism in MECHANISMS {
            let key = format!("{}.connections.max.reauth.ms", mechanism.to_ascii_lowercase());
            self = self.property(&key, &ms.to_string());
        }
        self
    }

    /// A property of this listener, without its prefix, such as `ssl.enabled.protocols`. What comes later wins.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.retain(|(present, _)| present != key);
        self.properties.push((key.to_owned(), escaped(value)));
        self
    }

    /// Its broker properties, for these users.
    pub(crate) fn broker_properties(&self, users: &[(String, String)]) -> Vec<(String, String)> {
        let prefix = format!("listener.name.{}", self.name.to_ascii_lowercase());
        let mut all: Vec<_> =
            self.properties.iter().map(|(key, value)| (format!("{prefix}.{key}"), value.clone())).collect();
        if self.protocol.starts_with("SASL") {
            let jaas = |mechanism: &str, entry: String| (format!("{prefix}.{mechanism}.sasl.jaas.config"), entry);
            let users: String =
                users.iter().map(|(name, password)| format!(" user_{name}={}", quoted(password))).collect();
            let module =
                |path: &str, options: &str| format!("org.apache.kafka.common.security.{path} required{options};");
            all.push(jaas("plain", escaped(&module("plain.PlainLoginModule", &users))));
            for scram in ["scram-sha-256", "scram-sha-512"] {
                all.push(jaas(scram, module("scram.ScramLoginModule", "")));
            }
            all.push(jaas("oauthbearer", module("oauthbearer.OAuthBearerLoginModule", "")));
        }
        all
    }
}

/// A text in JAAS's quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A value as Java's properties files hold it.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut units = [0; 2];
    for c in value.trim_end().chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_becomes_properties_under_its_prefix() {
        let users = [("al".to_owned(), "p\"ä".to_owned())];
        let listener = Listener::sasl_ssl("BOTH").mechanisms(&["PLAIN"]).reauthenticate_after(5000);
        let all: std::collections::BTreeMap<_, _> = listener.broker_properties(&users).into_iter().collect();
        assert_eq!(all["listener.name.both.sasl.enabled.mechanisms"], "PLAIN");
        assert_eq!(all["listener.name.both.plain.connections.max.reauth.ms"], "5000");
        assert!(all["listener.name.both.ssl.keystore.key"].starts_with("-----BEGIN PRIVATE KEY-----\\nMII"));
        assert!(all["listener.name.both.plain.sasl.jaas.config"].ends_with(r#" user_al="p\\"\u00e4";"#));
    }
}
