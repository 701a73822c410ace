//! What can go wrong with TLS, and what to say about it. Inside streams a failure travels in an [`io::Error`].

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};

use super::verify::SelfSigned;
use crate::error::{Error, ErrorKind};

/// Why a stream could not be secured, or ended.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// TLS itself refused, here or there.
    Tls(TlsError),
    /// The broker closed the stream before it was secured.
    Closed,
    /// The stream under it failed while it was being secured.
    Lost(io::ErrorKind, String),
}

impl Failure {
    pub(super) fn lost(error: &io::Error) -> Self {
        Self::of(error).unwrap_or_else(|| Self::Lost(error.kind(), error.to_string()))
    }

    /// What travels in this error, if it is one of TLS.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        inner.downcast_ref::<TlsError>().map(|e| Self::Tls(e.clone()))
    }

    /// `identified`: whether this side has a certificate.
    pub(super) fn in_words(self, peer: &str, identified: bool) -> Error {
        match self {
            Self::Closed => {
                let message = format!(
                    "{peer} closed the connection instead of shaking hands: if it always does, it is a listener without TLS, or \
                     one that wants another TLS version"
                );
                Error::new(ErrorKind::Connection, message)
            }
            Self::Lost(kind, text) => {
                let message = format!("the connection to {peer} was lost while it was being secured");
                Error::new(ErrorKind::Connection, message).with_source(io::Error::new(kind, text))
            }
            // RFC 8446: of no concern to this side or to what it sent. It may pass.
            Self::Tls(
                error @ TlsError::AlertReceived(AlertDescription::InternalError | AlertDescription::UserCanceled),
            ) => {
                let message = format!("{peer} broke TLS off for trouble of its own: look at its log if that goes on");
                Error::new(ErrorKind::Connection, message).with_source(error)
            }
            Self::Tls(error) => {
                let message = match &error {
                    TlsError::InvalidCertificate(reason) => certificate(peer, reason),
                    TlsError::AlertReceived(alert) => refusal(peer, *alert, identified),
                    TlsError::InvalidMessage(_) => {
                        format!("{peer} does not answer with TLS: check that its listener is one of SSL or SASL_SSL")
                    }
                    TlsError::PeerIncompatible(reason) => incompatible(peer, reason),
                    TlsError::NoCertificatesPresented => format!("{peer} shows no certificate: it cannot be trusted"),
                    _ => format!("TLS with {peer} failed"),
                };
                match &error {
                    // Said already, and rustls does not say it as clearly.
                    TlsError::InvalidCertificate(CertificateError::Other(_)) => Error::new(ErrorKind::Tls, message),
                    _ => Error::new(ErrorKind::Tls, message).with_source(error),
                }
            }
        }
    }
}

fn certificate(peer: &str, reason: &CertificateError) -> String {
    use CertificateError as E;
    let what = match reason {
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "is for another host: dial it by a name of the certificate, or add this one to its subjectAltName \
             (after the first connection, brokers are dialled as their advertised.listeners say)"
        }
        E::Expired | E::ExpiredContext { .. } => "has expired: renew it on the broker, or set this machine's clock",
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "is not valid yet: set the clock of this machine or of its issuer"
        }
        E::UnknownIssuer => {
            "was issued by an authority that is not trusted here: add the authority's certificate with Tls::roots_file"
        }
        E::Other(other) if other.0.is::<SelfSigned>() => {
            "is self-signed and not trusted here: if it is the right one, add it with Tls::roots_file"
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "is not one for a server: issue it with serverAuth",
        E::Revoked => "was revoked: renew it on the broker",
        E::Other(other) => {
            return format!("the certificate of {peer} cannot be accepted ({}): renew it on the broker", other.0);
        }
        _ => "cannot be accepted: renew it on the broker",
    };
    format!("the certificate of {peer} {what}")
}

fn refusal(peer: &str, alert: AlertDescription, identified: bool) -> String {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired
        | A::BadCertificate
        | A::UnknownCA
        | A::CertificateUnknown
        | A::CertificateExpired
        | A::CertificateRevoked
        | A::UnsupportedCertificate
        | A::AccessDenied
            if identified =>
        {
            format!(
                "{peer} refuses this client's certificate: use one that is valid, and of an authority the broker trusts"
            )
        }
        A::CertificateRequired | A::BadCertificate => {
            format!("{peer} wants a certificate from its clients: give one with Tls::client_certificate_files")
        }
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity if !identified => format!(
            "{peer} refuses to shake hands: it wants other TLS versions or cipher suites, or a client certificate"
        ),
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => {
            format!("{peer} refuses to shake hands: it wants other TLS versions or cipher suites")
        }
        A::UnrecognisedName => {
            format!("{peer} does not know itself by the name it was dialled by: correct the address")
        }
        _ => format!("{peer} ended TLS"),
    }
}

fn incompatible(peer: &str, reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            format!(
                "{peer} speaks no TLS version that is allowed here: change min_version, max_version or the broker's"
            )
        }
        _ => format!("{peer} and this client have no way of TLS in common: allow TLS 1.3 or newer cipher suites there"),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Closed => f.write_str("closed while shaking hands"),
            Self::Lost(_, text) => f.write_str(text),
        }
    }
}
