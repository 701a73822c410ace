//! The settings made ready: certificates read, keys checked, one rustls configuration for all of a cluster's connections,
//! so that they resume each other's sessions. Made where a cluster is connected to; files are not read again.

use std::fmt;
use std::sync::Arc;

use rustls::client::{ClientConfig, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{RootCertStore, SupportedProtocolVersion};

use super::failure::Failure;
use super::verify::{Anything, Telling};
use super::{Tls, TlsVersion, pem, stream};
use crate::env::Transport;
use crate::error::{Error, ErrorKind, Result};

/// Secures streams. Clones share their sessions.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    /// Whether brokers that ask for a certificate get one.
    identified: bool,
}

impl Connector {
    /// # Errors
    /// `InvalidConfig`, naming the option or file that cannot be used.
    pub(crate) fn new(tls: &Tls) -> Result<Self> {
        let provider = match &tls.provider {
            Some(provider) => provider.0.clone(),
            None => built_in()?,
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(tls)?)
            .map_err(|e| unusable("the TLS versions and the crypto provider have nothing in common").with_source(e))?;
        let builder = if tls.danger_accept_any_certificate {
            tracing::warn!(
                target: "dispatcher::net",
                "brokers' certificates are not checked (danger_accept_any_certificate): anyone can pose as the cluster"
            );
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything(provider)))
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls)?), provider)
                .build()
                .map_err(|e| unusable("the trusted certificates cannot be used").with_source(e))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Telling(verifier)))
        };
        let identity = pem::identity(tls)?;
        let identified = identity.is_some();
        let config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|e| {
                let message = match &e {
                    rustls::Error::InconsistentKeys(_) => {
                        "the client certificate and its key cannot be used together: check that they belong together"
                    }
                    _ => {
                        "the client's private key cannot be used: give one of RSA (from 2,048 bits on), P-256, P-384 or \
                         Ed25519, or Tls::crypto_provider one that knows it"
                    }
                };
                unusable(message).with_source(e)
            })?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), identified })
    }

    /// Shakes hands over a fresh stream. The caller limits the time. `host` is what was dialled: the certificate is
    /// checked against it, and names, unlike addresses, are told to the broker (SNI). Cancel-safe: dropped, the stream
    /// is closed.
    pub(crate) async fn secure(&self, transport: Transport, host: &str, peer: &str) -> Result<Transport> {
        // A name's final dot is for resolvers, not for certificates.
        let name = ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned()).map_err(|e| {
            let message = format!("{peer} has no host name that a certificate could be for: correct the address");
            Error::new(ErrorKind::Tls, message).with_source(e)
        })?;
        let begun = UnbufferedClientConnection::new(self.config.clone(), name).map_err(Failure::Tls);
        let secured = match begun {
            Ok(connection) => stream::secure(connection, transport).await,
            Err(failure) => Err(failure),
        };
        secured.map_err(|failure| failure.in_words(peer, self.identified))
    }

    /// What made a secured stream end, if TLS did.
    pub(crate) fn explain(&self, error: &std::io::Error, peer: &str) -> Option<Error> {
        Failure::of(error).map(|failure| failure.in_words(peer, self.identified))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// Graviola: Rust, with verified assembly that the Rust compiler assembles.
fn built_in() -> Result<Arc<CryptoProvider>> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if graviola::util::is_cpu_supported() {
        return Ok(Arc::new(rustls_graviola::default_provider()));
    }
    Err(unusable(
        "the built-in TLS cryptography does not run on this processor (it needs AArch64 with aes, pmull and sha2, or x86-64 \
         with aes, avx2, adx, bmi and pclmulqdq): give Tls::crypto_provider another one of rustls'",
    ))
}

fn versions(tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let (min, max) = (tls.min_version.unwrap_or(TlsVersion::Tls12), tls.max_version.unwrap_or(TlsVersion::Tls13));
    if min > max {
        return Err(unusable("the TLS min_version is above max_version: correct one of them"));
    }
    let all = [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)];
    Ok(all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, v)| v).collect())
}

fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let given = pem::roots(tls)?;
    if !given.is_empty() {
        for (certificate, from) in given {
            roots.add(certificate).map_err(|e| {
                unusable(format!("{from} holds a certificate that cannot be an authority's")).with_source(e)
            })?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reasons: Vec<_> = found.errors.iter().map(|e| format!(" ({e})")).collect();
        return Err(unusable(format!(
            "this system has no certificate authorities to trust{}: install its package ca-certificates, or name the \
             cluster's own with Tls::roots_file",
            reasons.concat()
        )));
    }
    Ok(roots)
}

fn unusable(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
