//! The TLS and SASL part of Kafka's `client.properties`: collected while a file is gone through, made into settings at
//! its end, because they only make sense together. No message shows a value that may be secret.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::Config;
use super::jaas;
use super::properties;
use crate::error::{Error, ErrorKind, Result};
use crate::net::sasl::Sasl;
use crate::net::tls::{Tls, TlsVersion};

/// Kafka's own classes around OAUTHBEARER, which do what this library does by itself.
const OUR_HANDLERS: [&str; 3] = [
    "OAuthBearerLoginCallbackHandler",
    "OAuthBearerUnsecuredLoginCallbackHandler",
    "OAuthBearerSaslClientCallbackHandler",
];

/// What a file says about security.
#[derive(Default)]
pub(super) struct SecurityProperties {
    found: BTreeMap<String, String>,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, text.into())
}

impl SecurityProperties {
    /// Takes a property if it is one of these.
    pub(super) fn take(&mut self, key: &str, value: &str) -> bool {
        let ours = key == "security.protocol" || key.starts_with("ssl.") || key.starts_with("sasl.") || is_own(key);
        if ours {
            self.found.insert(key.to_owned(), value.to_owned());
        }
        ours
    }

    /// Puts it all into the settings.
    pub(super) fn finish(mut self, config: &mut Config, notes: &mut Vec<String>) -> Result<()> {
        if let Some(allowed) = self.flag("dispatcher.allow.sasl.plaintext")? {
            config.danger_sasl_without_tls = allowed;
        }
        let any_certificate = self.flag(ANY_CERTIFICATE)?;
        let (tls, sasl) = match self.remove("security.protocol").map(|p| p.to_ascii_uppercase()).as_deref() {
            Some("PLAINTEXT") => (false, false),
            Some("SSL") => (true, false),
            Some("SASL_PLAINTEXT") => (false, true),
            Some("SASL_SSL") => (true, true),
            Some(other) => {
                let rule = "use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
                return Err(invalid(format!("property security.protocol is {other:?}: {rule}")));
            }
            None => {
                if let Some(key) = self.found.keys().next() {
                    return Err(invalid(format!(
                        "property {key} has no effect without security.protocol, which is PLAINTEXT if left out: add \
                         security.protocol=SSL, SASL_PLAINTEXT or SASL_SSL"
                    )));
                }
                accept_any(config, any_certificate, notes);
                return Ok(());
            }
        };
        let mut unused = |prefix: &str, found: &mut BTreeMap<String, String>| {
            found.retain(|key, _| {
                let unused = key.starts_with(prefix);
                if unused {
                    notes.push(format!("property {key} is ignored: security.protocol asks for something else"));
                }
                !unused
            });
        };
        if !tls {
            unused("ssl.", &mut self.found);
        }
        if !sasl {
            unused("sasl.", &mut self.found);
        }
        let before = config.tls.take().filter(|_| tls);
        config.tls = tls.then(|| before.unwrap_or_default());
        accept_any(config, any_certificate, notes);
        config.tls = config.tls.take().map(|before| self.tls(before, notes)).transpose()?;
        config.sasl = sasl.then(|| self.sasl(config.sasl.take(), notes)).transpose()?;
        notes.extend(self.found.into_keys().map(|key| properties::unknown(&key)));
        Ok(())
    }

    /// A property, if it says something.
    fn remove(&mut self, key: &str) -> Option<String> {
        self.found.remove(key).filter(|value| !value.is_empty())
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        let parse = |value: String| {
            properties::flag(&value).ok_or_else(|| invalid(format!("property {key}: use true or false")))
        };
        self.remove(key).map(parse).transpose()
    }

    fn note(&mut self, keys: &[&str], why: &str, notes: &mut Vec<String>) {
        for key in keys {
            if self.found.remove(*key).is_some() {
                notes.push(format!("property {key} is ignored: {why}"));
            }
        }
    }

    fn tls(&mut self, mut tls: Tls, notes: &mut Vec<String>) -> Result<Tls> {
        let pem = "stores in PEM have none";
        // What is trusted is what the file says, and not what was trusted before as well.
        let (file, text) = (self.store("ssl.truststore")?, self.pem("ssl.truststore.certificates", "CERTIFICATE")?);
        if file.is_some() || text.is_some() {
            (tls.roots_file, tls.roots_pem) = (file, text);
        }
        if let Some(path) = self.store("ssl.keystore")? {
            tls = tls.client_certificate_files(path.clone(), path);
        }
        let chain = self.pem("ssl.keystore.certificate.chain", "CERTIFICATE")?;
        match (chain, self.pem("ssl.keystore.key", "PRIVATE KEY")?) {
            (Some(chain), Some(key)) => {
                refuse_encrypted("ssl.keystore.key", &key)?;
                tls = tls.client_certificate_pem(chain, key);
            }
            (None, None) => {}
            (Some(_), None) => {
                return Err(invalid("property ssl.keystore.key is missing: it goes with the certificate"));
            }
            (None, Some(_)) => {
                return Err(invalid(
                    "property ssl.keystore.certificate.chain is missing: it goes with ssl.keystore.key",
                ));
            }
        }
        self.note(&["ssl.truststore.password", "ssl.keystore.password"], pem, notes);
        self.note(&["ssl.key.password"], "the private key is not encrypted", notes);
        if let Some(algorithm) = self.found.remove("ssl.endpoint.identification.algorithm")
            && !algorithm.eq_ignore_ascii_case("https")
            && !tls.danger_accept_any_certificate
        {
            return Err(invalid(format!(
                "property ssl.endpoint.identification.algorithm is {algorithm:?}, but a broker's name is always checked: \
                 use https, give the broker a certificate for the host that is dialled, or, for tests only, set \
                 dispatcher.danger.accept.any.certificate=true (`Tls::danger_accept_any_certificate`)"
            )));
        }
        if let Some(list) = self.remove("ssl.enabled.protocols") {
            let mut versions: Vec<TlsVersion> = Vec::new();
            for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                match name {
                    "TLSv1.2" => versions.push(TlsVersion::Tls12),
                    "TLSv1.3" => versions.push(TlsVersion::Tls13),
                    _ => notes.push(format!("property ssl.enabled.protocols: {name} is not spoken here")),
                }
            }
            if versions.is_empty() {
                return Err(invalid("property ssl.enabled.protocols leaves nothing: use TLSv1.2, TLSv1.3 or both"));
            }
            (tls.min_version, tls.max_version) = (versions.iter().min().copied(), versions.iter().max().copied());
        }
        let own = "TLS is this library's own, with its own safe choice";
        let java = ["ssl.protocol", "ssl.provider", "ssl.cipher.suites", "ssl.keymanager.algorithm"];
        self.note(&java, own, notes);
        let java = ["ssl.trustmanager.algorithm", "ssl.secure.random.implementation", "ssl.engine.factory.class"];
        self.note(&java, own, notes);
        Ok(tls)
    }

    /// `<prefix>.location`, if it is a readable file of PEM.
    fn store(&mut self, prefix: &str) -> Result<Option<PathBuf>> {
        let kind = self.remove(&format!("{prefix}.type")).map(|kind| kind.to_ascii_uppercase());
        let key = format!("{prefix}.location");
        let location = self.remove(&key);
        let what = if prefix == "ssl.keystore" { Convert::Key } else { Convert::Certificates };
        if let Some(kind) = kind.as_deref().filter(|kind| *kind != "PEM") {
            let store = location.as_deref().unwrap_or("store.jks");
            return Err(invalid(format!(
                "property {prefix}.type is {kind}, and only PEM is read here: {}",
                what.by(store)
            )));
        }
        let Some(location) = location else { return Ok(None) };
        let path = std::path::absolute(Path::new(&location)).unwrap_or_else(|_| PathBuf::from(&location));
        let bytes = std::fs::read(&path).map_err(|e| {
            let message = format!("property {key} names {}, which cannot be read: correct the path", path.display());
            invalid(message).with_source(e)
        })?;
        let text = String::from_utf8_lossy(&bytes);
        if !text.contains("-----BEGIN") {
            return Err(invalid(format!(
                "property {key} names {}, which is not PEM: {}",
                path.display(),
                what.by(&location)
            )));
        }
        refuse_encrypted(&key, &text)?;
        Ok(Some(path))
    }

    /// A property that is PEM itself.
    fn pem(&mut self, key: &str, label: &str) -> Result<Option<String>> {
        let Some(text) = self.remove(key) else { return Ok(None) };
        if !text.contains("-----BEGIN") {
            let rule = format!("put the PEM itself there, from -----BEGIN {label}----- on, with \\n for line ends");
            return Err(invalid(format!("property {key} is not PEM: {rule}")));
        }
        Ok(Some(text))
    }

    fn sasl(&mut self, before: Option<Sasl>, notes: &mut Vec<String>) -> Result<Sasl> {
        for key in ["sasl.client.callback.handler.class", "sasl.login.callback.handler.class", "sasl.login.class"] {
            let class = self.remove(key);
            if class.is_some_and(|class| class.rsplit('.').next().is_none_or(|name| !OUR_HANDLERS.contains(&name))) {
                return Err(invalid(format!(
                    "property {key} names a class of Java, which cannot run here: remove it, and for OAUTHBEARER set \
                     `Sasl::oauthbearer_with` with a callback that gets the token"
                )));
            }
        }
        let automatic = "a token is asked for whenever a connection authenticates";
        self.ignore("sasl.login.", automatic, notes);
        self.ignore("sasl.kerberos.", "Kerberos is not spoken here", notes);
        let Some(mechanism) = self.remove("sasl.mechanism") else {
            if self.found.contains_key("sasl.mechanisms") {
                return Err(invalid("property sasl.mechanisms is librdkafka's name: use sasl.mechanism"));
            }
            return Err(invalid(
                "property sasl.mechanism is missing, which Kafka takes for GSSAPI (Kerberos), and that is not spoken \
                 here: use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
            ));
        };
        let entry = match self.remove("sasl.jaas.config") {
            Some(text) => {
                let broken = |what: String| invalid(format!("property sasl.jaas.config cannot be read: {what}"));
                Some(jaas::parse(&text).map_err(broken)?)
            }
            None => None,
        };
        let module = match mechanism.as_str() {
            "PLAIN" => "PlainLoginModule",
            "SCRAM-SHA-256" | "SCRAM-SHA-512" => "ScramLoginModule",
            "OAUTHBEARER" => "OAuthBearerLoginModule",
            other => {
                let rule = "use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";
                return Err(invalid(format!("property sasl.mechanism is {other:?}: {rule}")));
            }
        };
        if let Some(entry) = entry.as_ref().filter(|entry| entry.module != module) {
            let other = &entry.module;
            return Err(invalid(format!(
                "property sasl.jaas.config names {other}, but {mechanism} goes with {module}"
            )));
        }
        let options = entry.map(|entry| entry.options);
        let before = before.filter(|sasl| sasl.mechanism() == mechanism);
        let sasl = match (mechanism.as_str(), options) {
            ("OAUTHBEARER", options) => self.oauthbearer(options.unwrap_or_default(), before, notes)?,
            (_, None) => before.ok_or_else(|| {
                let line =
                    format!("org.apache.kafka.common.security….{module} required username=\"…\" password=\"…\";");
                invalid(format!("property sasl.jaas.config is missing: set it to {line}"))
            })?,
            (_, Some(options)) => by_password(&mechanism, options, notes)?,
        };
        self.ignore("sasl.oauthbearer.", "what gets the token is yours to configure", notes);
        Ok(sasl)
    }

    fn ignore(&mut self, prefix: &str, why: &str, notes: &mut Vec<String>) {
        let keys: Vec<String> = self.found.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        self.note(&keys.iter().map(String::as_str).collect::<Vec<_>>(), why, notes);
    }

    fn oauthbearer(
        &mut self,
        mut options: BTreeMap<String, String>,
        before: Option<Sasl>,
        notes: &mut Vec<String>,
    ) -> Result<Sasl> {
        let key = "sasl.oauthbearer.token.endpoint.url";
        if let Some(url) = self.remove(key) {
            // Of one slash as of three, which are the same.
            let path = url.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path));
            let Some(path) = path else {
                return Err(invalid(format!(
                    "property {key} names an HTTP endpoint, and tokens are not fetched from there: use a file:// URL of \
                     a token that is kept fresh, or `Sasl::oauthbearer_with` with a callback that gets it"
                )));
            };
            // `file:///C:/token` on Windows.
            let path = if cfg!(windows) { path.trim_start_matches('/') } else { path };
            if let Err(e) = std::fs::metadata(path) {
                let message = format!("property {key} names {path:?}, which cannot be read: correct the path");
                return Err(invalid(message).with_source(e));
            }
            let mut extensions = BTreeMap::new();
            for (name, value) in options {
                match name.strip_prefix("extension_") {
                    Some(extension) => drop(extensions.insert(extension.to_owned(), value)),
                    None => unknown_option(&name, notes),
                }
            }
            return Ok(Sasl::file_with_extensions(path.into(), extensions));
        }
        let mut claims = BTreeMap::new();
        let mut lifetime = Duration::from_secs(3_600);
        while let Some((name, value)) = options.pop_first() {
            let number = |what: &str| invalid(format!("option {what} in sasl.jaas.config is not a number"));
            if let Some(claim) = name.strip_prefix("unsecuredLoginStringClaim_") {
                claims.insert(claim.to_owned(), value.into());
            } else if let Some(claim) = name.strip_prefix("unsecuredLoginNumberClaim_") {
                let value: serde_json::Number = value.parse().map_err(|_| number(&name))?;
                claims.insert(claim.to_owned(), value.into());
            } else if name == "unsecuredLoginLifetimeSeconds" {
                lifetime = Duration::from_secs(value.parse().map_err(|_| number(&name))?);
            } else {
                unknown_option(&name, notes);
            }
        }
        match (claims.is_empty(), before) {
            (false, _) => Ok(Sasl::unsecured(claims, lifetime)),
            (true, Some(before)) => Ok(before),
            (true, None) => Err(invalid(
                "OAUTHBEARER has no source of tokens: set sasl.oauthbearer.token.endpoint.url to a file:// URL, or, before \
                 the properties, `sasl` to `Sasl::oauthbearer_with` with a callback that gets them",
            )),
        }
    }
}

const ANY_CERTIFICATE: &str = "dispatcher.danger.accept.any.certificate";

fn is_own(key: &str) -> bool {
    matches!(key, "dispatcher.allow.sasl.plaintext" | ANY_CERTIFICATE)
}

fn accept_any(config: &mut Config, any: Option<bool>, notes: &mut Vec<String>) {
    match (&mut config.tls, any) {
        (Some(tls), Some(any)) => tls.danger_accept_any_certificate = any,
        (None, Some(true)) => notes.push(format!("property {ANY_CERTIFICATE} is ignored: there is no TLS")),
        _ => {}
    }
}

fn unknown_option(name: impl Display, notes: &mut Vec<String>) {
    notes.push(format!("option {name} in sasl.jaas.config is not known here and is ignored"));
}

/// PLAIN and SCRAM.
fn by_password(mechanism: &str, mut options: BTreeMap<String, String>, notes: &mut Vec<String>) -> Result<Sasl> {
    let mut option = |name: &str| {
        let missing = || invalid(format!("sasl.jaas.config has no option {name}: add {name}=\"…\""));
        options.remove(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    let (user, password) = (option("username")?, option("password")?);
    let sasl = match mechanism {
        "PLAIN" => Sasl::plain(user, password),
        "SCRAM-SHA-256" => Sasl::scram_sha_256(user, password),
        _ => Sasl::scram_sha_512(user, password),
    };
    let token = options.remove("tokenauth").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    options.keys().for_each(|name| unknown_option(name, notes));
    Ok(if token { sasl.delegation_token() } else { sasl })
}

/// What a store of Java has to become.
enum Convert {
    Certificates,
    Key,
}

impl Convert {
    fn by(self, store: &str) -> String {
        match self {
            Self::Certificates => format!(
                "convert it by `keytool -exportcert -rfc -keystore {store} -alias ALIAS -file ca.pem` (`keytool -list` \
                 tells the alias), and set the type to PEM"
            ),
            Self::Key => format!(
                "convert it by `keytool -importkeystore -srckeystore {store} -destkeystore key.p12 -deststoretype PKCS12` \
                 and `openssl pkcs12 -in key.p12 -nodes -out client.pem`, and set the type to PEM"
            ),
        }
    }
}

fn refuse_encrypted(key: &str, pem: &str) -> Result<()> {
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(invalid(format!(
            "property {key}: the private key is encrypted, which is not supported, ssl.key.password or not: decrypt it by \
             `openssl pkey -in encrypted.pem -out key.pem`, and keep the file where only this program can read it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
