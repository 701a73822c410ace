//! Certificates and keys out of PEM, from a file or given as text. Errors name the file or option.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::secret::Secret;
use super::Tls;
use crate::error::{Error, ErrorKind, Result};

/// A text, and what to call it.
struct Text {
    pem: Vec<u8>,
    from: String,
}

/// The trusted certificates, each with where it is from. Empty where the settings name none.
pub(super) fn roots(tls: &Tls) -> Result<Vec<(CertificateDer<'static>, String)>> {
    let mut all = Vec::new();
    let file = tls.roots_file.as_deref().map(|path| read(path, "roots_file")).transpose()?;
    let text = tls.roots_pem.as_deref().map(|pem| given(pem, "roots_pem"));
    for text in file.into_iter().chain(text) {
        all.extend(text.certificates()?.into_iter().map(|certificate| (certificate, text.from.clone())));
    }
    Ok(all)
}

/// The client's certificate with its chain, and its key.
pub(super) fn identity(tls: &Tls) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
    let certificate = one(tls.certificate_file.as_deref(), tls.certificate_pem.as_deref(), "certificate")?;
    let key = one(tls.key_file.as_deref(), tls.key_pem.as_ref().map(Secret::expose), "key")?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.certificates()?, key.key()?))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid("a client certificate without its key is given: give key_file or key_pem too")),
        (None, Some(_)) => {
            Err(invalid("a client key without its certificate is given: give certificate_file or certificate_pem too"))
        }
    }
}

fn one(file: Option<&Path>, pem: Option<&str>, what: &str) -> Result<Option<Text>> {
    match (file, pem) {
        (Some(_), Some(_)) => Err(invalid(format!("{what}_file and {what}_pem are both given: leave one out"))),
        (Some(path), None) => read(path, &format!("{what}_file")).map(Some),
        (None, Some(pem)) => Ok(Some(given(pem, &format!("{what}_pem")))),
        (None, None) => Ok(None),
    }
}

fn read(path: &Path, option: &str) -> Result<Text> {
    let from = format!("the TLS {option} {}", path.display());
    match std::fs::read(path) {
        Ok(pem) => Ok(Text { pem, from }),
        Err(e) => Err(invalid(format!("{from} cannot be read: check the path")).with_source(e)),
    }
}

fn given(pem: &str, option: &str) -> Text {
    Text { pem: pem.as_bytes().to_vec(), from: format!("the TLS {option}") }
}

impl Text {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.pem).collect();
        let all = all.map_err(|e| invalid(format!("{} is not PEM: check the file", self.from)).with_source(e))?;
        if all.is_empty() {
            let from = &self.from;
            return Err(invalid(format!(
                "{from} holds no certificate (BEGIN CERTIFICATE): it must be PEM{}",
                self.store()
            )));
        }
        Ok(all)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>> {
        let from = &self.from;
        if contains(&self.pem, b"ENCRYPTED") {
            let message = format!("{from} is encrypted: decrypt it with `openssl pkey -in key.pem -out plain-key.pem`");
            return Err(invalid(message));
        }
        PrivateKeyDer::from_pem_slice(&self.pem).map_err(|e| {
            invalid(format!("{from} holds no private key (BEGIN PRIVATE KEY): it must be PEM{}", self.store()))
                .with_source(e)
        })
    }

    /// A hint for those who have Java's stores.
    fn store(&self) -> &'static str {
        match self.pem.as_slice() {
            [0xfe, 0xed, 0xfe, 0xed, ..] => ", and this is a Java key store (JKS): export it with keytool",
            [0x30, 0x80..=0x84, ..] => ", and this is binary (PKCS#12 or DER): convert it with openssl or keytool",
            _ => "",
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
