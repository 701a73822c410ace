//! What a user says about SASL: a plain value, part of [`Config`](crate::Config).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::super::secret::Secret;
use super::hash::Hash;
use super::token::{CallbackError, OauthToken, Tokens, Unsecured, check_extensions};
use crate::error::{Error, ErrorKind, Result};

/// Who this client is, and how it proves it: for listeners of Kafka's protocols `SASL_SSL` and `SASL_PLAINTEXT`.
///
/// Every connection authenticates when it is opened, and again before the session ends where brokers limit it
/// (`connections.max.reauth.ms`), without losing what is under way. What a broker refuses is an error of the kind
/// [`Auth`](crate::ErrorKind::Auth), which no retry mends. User names and passwords are used as they are, in UTF-8, as
/// Kafka does it (no SASLprep).
///
/// Without [TLS](crate::Tls) none of this is private: it is refused unless
/// [`danger_sasl_without_tls`](crate::Builder::danger_sasl_without_tls) allows it.
///
/// ```no_run
/// # async fn run() -> dispatcher::Result<()> {
/// use dispatcher::{Dispatcher, Sasl, Tls};
///
/// let dispatcher = Dispatcher::builder(["kafka-1:9094"])
///     .tls(Tls::new())
///     .sasl(Sasl::scram_sha_512("orders", std::env::var("KAFKA_PASSWORD").unwrap_or_default()))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// `Debug` and serde show the mechanism and the user only. As JSON: `{"mechanism": "SCRAM-SHA-512", "username": "orders",
/// "password": "…"}`, or `{"mechanism": "OAUTHBEARER", "token": "…"}`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
#[must_use = "it is handed to Builder::sasl"]
pub struct Sasl {
    pub(super) kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Plain { user: String, password: Secret },
    Scram { hash: Hash, user: String, password: Secret, delegation_token: bool },
    Oauthbearer(Tokens),
}

impl Sasl {
    /// PLAIN: the password itself goes to the broker.
    pub fn plain(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { kind: Kind::Plain { user: user.into(), password: password.into() } }
    }

    /// SCRAM-SHA-256: both sides prove that they know the password.
    pub fn scram_sha_256(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::scram(Hash::Sha256, user.into(), password.into())
    }

    /// SCRAM-SHA-512: both sides prove that they know the password.
    pub fn scram_sha_512(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::scram(Hash::Sha512, user.into(), password.into())
    }

    fn scram(hash: Hash, user: String, password: Secret) -> Self {
        Self { kind: Kind::Scram { hash, user, password, delegation_token: false } }
    }

    /// Of SCRAM: user and password are a delegation token's id and HMAC (KIP-48). Nothing for other mechanisms.
    pub fn delegation_token(mut self) -> Self {
        if let Kind::Scram { delegation_token, .. } = &mut self.kind {
            *delegation_token = true;
        }
        self
    }

    /// OAUTHBEARER with one token. When it expires, brokers refuse it: see
    /// [`oauthbearer_with`](Self::oauthbearer_with) for tokens that are renewed.
    pub fn oauthbearer(token: OauthToken) -> Self {
        Self { kind: Kind::Oauthbearer(Tokens::Static(token)) }
    }

    /// OAUTHBEARER with a token from `callback`, which is called for each connection and each time one authenticates
    /// again: keep a token there, and get a fresh one from four fifths of its life on. It has [`connect_timeout`](crate::Builder::connect_timeout). Its
    /// failure fails that attempt to connect, with its error as the cause, and counts as one that may pass; on a
    /// connection that stands it is called again until the session ends.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dispatcher::{OauthToken, Sasl};
    ///
    /// # async fn ask_identity_provider() -> Result<String, std::io::Error> { Ok("a.b.c".into()) }
    /// let sasl = Sasl::oauthbearer_with(|| async {
    ///     let token = ask_identity_provider().await?;
    ///     Ok::<_, std::io::Error>(OauthToken::new(token).lifetime(Duration::from_secs(300)))
    /// });
    /// ```
    pub fn oauthbearer_with<F, Fut, E>(callback: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<OauthToken, E>> + Send + 'static,
        E: Into<CallbackError>,
    {
        Self { kind: Kind::Oauthbearer(Tokens::callback(callback)) }
    }

    /// OAUTHBEARER with a token that some agent keeps fresh in a file, which is read for each connection and each time one
    /// authenticates again; white space around it is left out.
    pub fn oauthbearer_file(path: impl Into<PathBuf>) -> Self {
        Self::file_with_extensions(path.into(), BTreeMap::new())
    }

    /// The same, with SASL extensions for each token.
    pub(crate) fn file_with_extensions(path: PathBuf, extensions: BTreeMap<String, String>) -> Self {
        Self { kind: Kind::Oauthbearer(Tokens::File { path, extensions }) }
    }

    /// **For development.** OAUTHBEARER with tokens that nobody signs, for an hour each: brokers whose listener has no
    /// other validator take them, and let anyone be whoever they say they are.
    pub fn oauthbearer_unsecured(subject: impl Into<String>) -> Self {
        let claims = BTreeMap::from([("sub".to_owned(), subject.into().into())]);
        Self::unsecured(claims, Duration::from_secs(3_600))
    }

    pub(crate) fn unsecured(claims: BTreeMap<String, serde_json::Value>, lifetime: Duration) -> Self {
        Self { kind: Kind::Oauthbearer(Tokens::Unsecured(Unsecured { claims, lifetime })) }
    }

    /// Kafka's name of the mechanism, such as `SCRAM-SHA-512`.
    pub fn mechanism(&self) -> &'static str {
        match self.kind {
            Kind::Plain { .. } => "PLAIN",
            Kind::Scram { hash: Hash::Sha256, .. } => "SCRAM-SHA-256",
            Kind::Scram { hash: Hash::Sha512, .. } => "SCRAM-SHA-512",
            Kind::Oauthbearer(_) => "OAUTHBEARER",
        }
    }

    fn user(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain { user, .. } | Kind::Scram { user, .. } => Some(user),
            Kind::Oauthbearer(_) => None,
        }
    }

    /// For messages: `user "alice" (PLAIN)`.
    pub(super) fn who(&self) -> String {
        match self.user() {
            Some(user) => format!("user {user:?} ({})", self.mechanism()),
            None => format!("the token's bearer ({})", self.mechanism()),
        }
    }

    /// Refuses what cannot work.
    pub(crate) fn validate(&self) -> Result<()> {
        let bad = |text: String| Err(Error::new(ErrorKind::InvalidConfig, text));
        let (user, password) = match &self.kind {
            Kind::Plain { user, password } | Kind::Scram { user, password, .. } => (user, password.expose()),
            Kind::Oauthbearer(Tokens::Static(token)) => return token.check().or_else(bad),
            Kind::Oauthbearer(Tokens::File { extensions, .. }) => return check_extensions(extensions).or_else(bad),
            Kind::Oauthbearer(_) => return Ok(()),
        };
        let mechanism = self.mechanism();
        if user.is_empty() || password.is_empty() {
            return bad(format!("SASL {mechanism} has no user name or no password: give both"));
        }
        if user.contains('\0') || password.contains('\0') {
            return bad(format!("the user name or password of SASL {mechanism} has a NUL character: correct it"));
        }
        Ok(())
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Oauthbearer(tokens) => write!(f, "Sasl({}, {tokens:?})", self.mechanism()),
            _ => write!(f, "Sasl({}, {:?})", self.mechanism(), self.user().unwrap_or_default()),
        }
    }
}

impl Serialize for Sasl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let token = matches!(self.kind, Kind::Scram { delegation_token: true, .. });
        let mut out =
            serializer.serialize_struct("Sasl", 1 + usize::from(self.user().is_some()) + usize::from(token))?;
        out.serialize_field("mechanism", self.mechanism())?;
        if let Some(user) = self.user() {
            out.serialize_field("username", user)?;
        }
        if token {
            out.serialize_field("delegation_token", &true)?;
        }
        out.end()
    }
}

/// [`Sasl`] as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    mechanism: String,
    username: Option<String>,
    password: Option<Secret>,
    #[serde(default)]
    delegation_token: bool,
    token: Option<Secret>,
    #[serde(default)]
    extensions: BTreeMap<String, String>,
}

impl TryFrom<Written> for Sasl {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { mechanism, username, password, delegation_token, token, extensions } = written;
        let missing = |what| format!("sasl.{what} is missing: secrets are read, but never written out");
        if mechanism == "OAUTHBEARER" {
            let token = OauthToken::new(token.ok_or_else(|| missing("token"))?);
            return Ok(Self::oauthbearer(
                extensions.into_iter().fold(token, |t, (name, value)| t.extension(name, value)),
            ));
        }
        let make = match mechanism.as_str() {
            "PLAIN" => Self::plain,
            "SCRAM-SHA-256" => Self::scram_sha_256,
            "SCRAM-SHA-512" => Self::scram_sha_512,
            other => {
                return Err(format!(
                    "sasl.mechanism is {other:?}: use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
                ));
            }
        };
        let sasl = make(username.ok_or_else(|| missing("username"))?, password.ok_or_else(|| missing("password"))?);
        Ok(if delegation_token { sasl.delegation_token() } else { sasl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_but_neither_printed_nor_written() {
        for (json, mechanism) in [
            (r#"{"mechanism":"PLAIN","username":"al","password":"s3cret"}"#, "PLAIN"),
            (r#"{"mechanism":"SCRAM-SHA-256","username":"al","password":"s3cret"}"#, "SCRAM-SHA-256"),
            (r#"{"mechanism":"OAUTHBEARER","token":"s3cret"}"#, "OAUTHBEARER"),
        ] {
            let sasl: Sasl = serde_json::from_str(json).unwrap();
            assert_eq!(sasl.mechanism(), mechanism);
            let shown = format!("{sasl:?}{:#?}{}", sasl, serde_json::to_string(&sasl).unwrap());
            assert!(shown.contains(mechanism) && !shown.contains("s3cret"), "{shown}");
            let error = serde_json::from_str::<Sasl>(&serde_json::to_string(&sasl).unwrap()).unwrap_err();
            assert!(error.to_string().contains("never written out"), "{error}");
        }
        let sasl = Sasl::oauthbearer_with(|| async { Err::<OauthToken, _>("no") });
        assert_eq!(format!("{sasl:?}"), "Sasl(OAUTHBEARER, a callback)");
        assert_eq!(sasl, sasl.clone());
        assert!(serde_json::from_str::<Sasl>(r#"{"mechanism":"GSSAPI"}"#).is_err());
    }

    #[test]
    fn credentials_that_cannot_work_are_refused_without_being_shown() {
        let sasl: [fn(&str, &str) -> Sasl; 2] = [|u, p| Sasl::plain(u, p), |u, p| Sasl::scram_sha_512(u, p)];
        for make in sasl {
            assert!(make("al", "s3cret").validate().is_ok());
            for (user, password) in [("", "s3cret"), ("al", ""), ("a\0l", "s3cret"), ("al", "s3cret\0")] {
                let error = make(user, password).validate().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidConfig);
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        }
        assert!(Sasl::oauthbearer(OauthToken::new("not a token")).validate().is_err());
    }
}
