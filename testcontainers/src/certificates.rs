//! Certificates for listeners with TLS and for clients, in PEM, made once by `certificates/Make.java`. All servers but
//! [`WRONG_HOST`] are `localhost`, `kafka`, `127.0.0.1` and `::1`.

/// A private key (PKCS#8) and the certificates that go with it, without the authority's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// `BEGIN PRIVATE KEY`.
    pub key: &'static str,
    /// `BEGIN CERTIFICATE`.
    pub chain: &'static str,
}

macro_rules! identities {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)+) => {$(
        $(#[$doc])*
        pub const $name: Identity = Identity {
            key: include_str!(concat!("../certificates/", $file, ".key.pem")),
            chain: include_str!(concat!("../certificates/", $file, ".pem")),
        };
    )+};
}

/// The authority that signs all of them but the strangers and [`SELF_SIGNED`].
pub const CA: &str = include_str!("../certificates/ca.pem");
/// Another one, which nobody trusts.
pub const STRANGER_CA: &str = include_str!("../certificates/stranger-ca.pem");

identities! {
    /// A server as it should be (RSA).
    GOOD = "good";
    /// A server named `elsewhere.example`.
    WRONG_HOST = "wrong-host";
    /// A server whose certificate ended with 2020.
    EXPIRED = "expired";
    /// A server whose certificate begins with 2100.
    NOT_YET_VALID = "not-yet-valid";
    /// A server that vouches for itself.
    SELF_SIGNED = "self-signed";
    /// A server of [`STRANGER_CA`].
    STRANGER = "stranger";
    /// A client, `CN=dispatcher test client`.
    CLIENT = "client";
    /// A client of [`STRANGER_CA`].
    STRANGER_CLIENT = "stranger-client";
}
