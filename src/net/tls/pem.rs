//! Certificates and keys out of PEM, from a file or given as text. Errors name the file or option, and quote nothing of
//! the text: it may be a key.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
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
        Ok(pem) => Ok(Text { pem: in_lines(&pem), from }),
        Err(e) => Err(invalid(format!("{from} cannot be read: check the path")).with_source(e)),
    }
}

fn given(pem: &str, option: &str) -> Text {
    Text { pem: in_lines(pem.as_bytes()), from: format!("the TLS {option}") }
}

/// Puts each BEGIN and END on a line of its own. Kafka takes PEM whose lines were joined, as in a properties file where
/// they go on behind a backslash.
fn in_lines(pem: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(pem.len() + 64), pem);
    while let Some((before, marker, behind)) = split_at_marker(rest) {
        out.extend_from_slice(before);
        out.push(b'\n');
        out.extend_from_slice(marker);
        out.push(b'\n');
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

/// At the first `-----BEGIN …-----` or `-----END …-----`.
fn split_at_marker(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    (0..text.len()).find_map(|start| {
        let (before, from) = text.split_at(start);
        let label = from.strip_prefix(DASHES).filter(|l| l.starts_with(b"BEGIN ") || l.starts_with(b"END "))?;
        let end = label.iter().position(|b| !matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b' '))?;
        label[end..].strip_prefix(DASHES).map(|behind| (before, &from[..from.len() - behind.len()], behind))
    })
}

const DASHES: &[u8] = b"-----";

impl Text {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.pem).collect();
        let all = all.map_err(|e| invalid(format!("{} is not PEM, for {}: correct it", self.from, why(&e))))?;
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
        PrivateKeyDer::from_pem_slice(&self.pem).map_err(|e| match e {
            pem::Error::NoItemsFound => {
                invalid(format!("{from} holds no private key (BEGIN PRIVATE KEY): it must be PEM{}", self.store()))
            }
            e => invalid(format!("{from} holds a private key that cannot be read, for {}: correct it", why(&e))),
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

/// What is wrong, in words of our own: the parser's quote what it could not read.
fn why(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a BEGIN has no END of the same name",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN does not end with five dashes",
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
        _ => "it breaks the format",
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
