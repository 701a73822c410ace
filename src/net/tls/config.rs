//! What a user says about TLS: a plain value, part of [`Config`](crate::Config). Nothing is read before connecting.

use std::fmt;
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::super::secret::Secret;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, of 2008; without its older cipher suites.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3, of 2018.
    #[serde(rename = "1.3")]
    Tls13,
}

/// TLS to the brokers: listeners of Kafka's protocols `SSL` and `SASL_SSL`.
///
/// [`Tls::new`] trusts the certificate authorities of the operating system; [`roots_file`](Self::roots_file) and
/// [`roots_pem`](Self::roots_pem) name others instead. A broker's certificate is always checked against the host that is
/// dialled, which after the first connection is the one in the broker's `advertised.listeners`. Files are PEM, and read
/// once, by [`connect`](crate::Builder::connect). All connections of a dispatcher resume each other's sessions.
///
/// Stores of Java become PEM with its own `keytool`: `keytool -exportcert -rfc -keystore truststore.jks -alias ca`, and
/// for a key `keytool -importkeystore -srckeystore keystore.jks -destkeystore key.p12 -deststoretype PKCS12`, then
/// `openssl pkcs12 -in key.p12 -nodes`.
///
/// ```no_run
/// # async fn run() -> dispatcher::Result<()> {
/// use dispatcher::{Dispatcher, Tls};
///
/// let tls = Tls::new()
///     .roots_file("/etc/kafka/ca.pem")
///     .client_certificate_files("/etc/kafka/client.pem", "/etc/kafka/client.key");
/// let dispatcher = Dispatcher::builder(["kafka-1:9093"]).tls(tls).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "it is handed to Builder::tls"]
#[non_exhaustive]
pub struct Tls {
    /// A file of certificates to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots_file: Option<PathBuf>,
    /// Certificates to trust instead of the system's, in PEM. With `roots_file`, both.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "certificates_only")]
    pub roots_pem: Option<String>,
    /// The file of this client's certificate and those that lead from it to the broker's authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// The same in PEM. A private key that stands there too is not written out.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "certificates_only")]
    pub certificate_pem: Option<String>,
    /// The file of this client's private key; it may be `certificate_file` too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The same in PEM. It is read, but never written out.
    #[serde(skip_serializing)]
    pub key_pem: Option<Secret>,
    /// The oldest version to speak. Default 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// The newest version to speak. Default 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Whether any certificate will do. See [`Tls::danger_accept_any_certificate`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub danger_accept_any_certificate: bool,
    #[cfg(feature = "tls")]
    #[serde(skip)]
    pub(super) provider: Option<Provider>,
}

impl Tls {
    /// TLS 1.2 and 1.3, with the operating system's certificate authorities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in this PEM file instead of the system's.
    pub fn roots_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots_file = Some(path.into());
        self
    }

    /// Trusts these certificates, in PEM, instead of the system's.
    pub fn roots_pem(mut self, pem: impl Into<String>) -> Self {
        self.roots_pem = Some(pem.into());
        self
    }

    /// Shows brokers that ask for one this certificate, with its private key. The certificate's file may go on with those
    /// that lead to the broker's authority. The key is PKCS#8 (`BEGIN PRIVATE KEY`), PKCS#1 or SEC1, and not encrypted.
    pub fn client_certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        (self.certificate_file, self.certificate_pem) = (Some(certificate.into()), None);
        (self.key_file, self.key_pem) = (Some(key.into()), None);
        self
    }

    /// [`client_certificate_files`](Self::client_certificate_files) with their contents.
    pub fn client_certificate_pem(mut self, certificate: impl Into<String>, key: impl Into<Secret>) -> Self {
        (self.certificate_pem, self.certificate_file) = (Some(certificate.into()), None);
        (self.key_pem, self.key_file) = (Some(key.into()), None);
        self
    }

    /// Speaks no version older than this. Default [`TlsVersion::Tls12`].
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = Some(version);
        self
    }

    /// Speaks no version newer than this. Default [`TlsVersion::Tls13`].
    pub fn max_version(mut self, version: TlsVersion) -> Self {
        self.max_version = Some(version);
        self
    }

    /// **For tests only.** Whoever answers is taken for the broker: the connection is encrypted, but anyone between can
    /// read and change what it carries. Each dispatcher that is so connected logs a warning.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.danger_accept_any_certificate = true;
        self
    }

    /// Cryptography from elsewhere than the built-in provider, such as rustls' `aws_lc_rs` or `ring`: for processors that
    /// the built-in one does not run on, or where a certified module is demanded.
    #[cfg(feature = "tls")]
    pub fn crypto_provider(mut self, provider: Arc<rustls::crypto::CryptoProvider>) -> Self {
        self.provider = Some(Provider(provider));
        self
    }
}

/// Texts of certificates, some of which are handed over together with the key.
fn certificates_only<S: Serializer>(pem: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(pem) = pem.as_deref().filter(|pem| pem.contains("PRIVATE KEY")) else { return pem.serialize(serializer) };
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let bodies = pem.split(begin).skip(1).filter_map(|rest| rest.split_once(end));
    let kept: String = bodies.map(|(body, _)| format!("{begin}{body}{end}\n")).collect();
    serializer.serialize_str(&kept)
}

/// Says what is set and nothing of what is secret.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |pem: &Option<String>| pem.as_ref().map(|pem| format!("{} bytes", pem.len()));
        f.debug_struct("Tls")
            .field("roots_file", &self.roots_file)
            .field("roots_pem", &given(&self.roots_pem))
            .field("certificate_file", &self.certificate_file)
            .field("certificate_pem", &given(&self.certificate_pem))
            .field("key_file", &self.key_file)
            .field("key_pem", &self.key_pem)
            .field("min_version", &self.min_version)
            .field("max_version", &self.max_version)
            .field("danger_accept_any_certificate", &self.danger_accept_any_certificate)
            .finish_non_exhaustive()
    }
}

/// Two are equal if they are the same.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub(super) struct Provider(pub(super) Arc<rustls::crypto::CryptoProvider>);

#[cfg(feature = "tls")]
impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(feature = "tls")]
impl Eq for Provider {}
