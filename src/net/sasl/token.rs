//! Tokens for OAUTHBEARER, and where they come from: the program's own code.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::super::secret::Secret;

/// An OAuth access token, as a callback of [`Sasl::oauthbearer_with`](super::Sasl::oauthbearer_with) returns it.
///
/// ```
/// use std::time::Duration;
/// use dispatcher::OauthToken;
///
/// let token = OauthToken::new("eyJhbGciOi.eyJzdWIi.c2ln")
///     .lifetime(Duration::from_secs(300))
///     .extension("logicalCluster", "lkc-1");
/// assert!(!format!("{token:?}").contains("eyJ"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthToken {
    pub(super) value: Secret,
    pub(super) lifetime: Option<Duration>,
    pub(super) extensions: BTreeMap<String, String>,
}

impl OauthToken {
    /// A token, without the word `Bearer`.
    pub fn new(value: impl Into<Secret>) -> Self {
        Self { value: value.into(), lifetime: None, extensions: BTreeMap::new() }
    }

    /// For how long from now on the token is valid. Zero is an error that says so before anything is sent. Connections
    /// authenticate anew before it ends where the broker demands that at all (`connections.max.reauth.ms`).
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// A SASL extension (KIP-342) that goes with the token. Names are ASCII letters, values printable ASCII.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Why it cannot be sent, without quoting it.
    pub(super) fn check(&self) -> Result<(), String> {
        let value = self.value.expose();
        let body = value.trim_end_matches('=');
        // RFC 6750's b64token: anything else would end the token early, or smuggle in an extension.
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
        if body.is_empty() || !body.bytes().all(allowed) {
            return Err("the OAUTHBEARER token is empty or has characters no token has: give it alone, \
                        without `Bearer`, quotes or line ends"
                .into());
        }
        if self.lifetime.is_some_and(|left| left.is_zero()) {
            return Err("the OAUTHBEARER token has expired already: get a fresh one".into());
        }
        check_extensions(&self.extensions)
    }
}

/// Why they cannot be sent, without quoting their values.
pub(super) fn check_extensions(extensions: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in extensions {
        let letters = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
        if !letters || name == "auth" {
            return Err(format!("the SASL extension {name:?} cannot be sent: use ASCII letters, and not `auth`"));
        }
        if value.is_empty() || !value.bytes().all(|b| matches!(b, 0x20..=0x7e | b'\t' | b'\r' | b'\n')) {
            return Err(format!("the value of the SASL extension {name:?} cannot be sent: use printable ASCII"));
        }
    }
    Ok(())
}

/// What a callback may fail with.
pub(super) type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// It, as a cause.
#[derive(Debug)]
pub(super) struct Cause(pub(super) CallbackError);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

type Fetching = Pin<Box<dyn Future<Output = Result<OauthToken, CallbackError>> + Send>>;

/// The source of tokens. Equal to itself and its clones only.
#[derive(Clone)]
pub(super) enum Tokens {
    Static(OauthToken),
    File { path: PathBuf, extensions: BTreeMap<String, String> },
    Unsecured(Unsecured),
    Callback(Arc<dyn Fn() -> Fetching + Send + Sync>),
}

/// What an unsigned token says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unsecured {
    pub(super) claims: BTreeMap<String, serde_json::Value>,
    pub(super) lifetime: Duration,
}

impl Unsecured {
    /// A JWT without a signature (RFC 7515, appendix A.5).
    fn token(&self, wall_ms: i64) -> OauthToken {
        let seconds = |ms: i64| serde_json::Value::from(ms / 1_000);
        let mut claims = self.claims.clone();
        claims.insert("iat".into(), seconds(wall_ms));
        let lifetime_ms = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
        claims.insert("exp".into(), seconds(wall_ms.saturating_add(lifetime_ms)));
        let claims: serde_json::Map<_, _> = claims.into_iter().collect();
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let claims = part(&serde_json::Value::Object(claims).to_string());
        OauthToken::new(format!("{}.{claims}.", part(r#"{"alg":"none"}"#))).lifetime(self.lifetime)
    }
}

impl Tokens {
    pub(super) fn callback<F, Fut, E>(callback: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<OauthToken, E>> + Send + 'static,
        E: Into<CallbackError>,
    {
        Self::Callback(Arc::new(move || {
            let fetching = callback();
            Box::pin(async move { fetching.await.map_err(Into::into) })
        }))
    }

    /// Asks anew each time. `wall_ms` is now, in milliseconds since 1970.
    pub(super) async fn get(&self, wall_ms: i64) -> Result<OauthToken, CallbackError> {
        match self {
            Self::Static(token) => Ok(token.clone()),
            Self::File { path, extensions } => match std::fs::read_to_string(path) {
                // It is being written.
                Ok(text) if text.trim().is_empty() => Err(format!("the token file {} is empty", path.display()).into()),
                Ok(text) => Ok(OauthToken { extensions: extensions.clone(), ..OauthToken::new(text.trim()) }),
                Err(e) => Err(format!("the token file {} cannot be read: {e}", path.display()).into()),
            },
            Self::Unsecured(unsecured) => Ok(unsecured.token(wall_ms)),
            Self::Callback(callback) => callback().await,
        }
    }
}

impl PartialEq for Tokens {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Static(a), Self::Static(b)) => a == b,
            (Self::File { path: a, extensions: x }, Self::File { path: b, extensions: y }) => (a, x) == (b, y),
            (Self::Unsecured(a), Self::Unsecured(b)) => a == b,
            (Self::Callback(a), Self::Callback(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Tokens {}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(_) => f.write_str("a token"),
            Self::File { path, .. } => write!(f, "a token from {}", path.display()),
            Self::Unsecured(_) => f.write_str("unsecured tokens"),
            Self::Callback(_) => f.write_str("a callback"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsecured_token_says_who_and_for_how_long() {
        let claims = BTreeMap::from([("sub".to_owned(), "alice".into())]);
        let token = Unsecured { claims, lifetime: Duration::from_secs(60) }.token(1_700_000_000_999);
        assert_eq!(token.check(), Ok(()));
        let parts: Vec<_> =
            token.value.expose().split('.').map(|p| BASE64_URL_SAFE_NO_PAD.decode(p).unwrap()).collect();
        assert_eq!(parts[1], br#"{"exp":1700000060,"iat":1700000000,"sub":"alice"}"#);
        assert!(parts.len() == 3 && parts[2].is_empty());
    }

    #[test]
    fn a_token_that_could_be_misread_is_refused_without_being_shown() {
        for good in ["abc", "a.b-c_d~e+f/g==", "eyJ.eyJ."] {
            assert_eq!(OauthToken::new(good).check(), Ok(()));
        }
        for bad in ["", "=", "a b", "Bearer s3cret", "a\x01b", "s3cret\n", "\"s3cret\""] {
            let refused = OauthToken::new(bad).check().unwrap_err();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
        let token = OauthToken::new("abc");
        assert!(token.clone().lifetime(Duration::ZERO).check().unwrap_err().contains("expired"));
        for (name, value) in [("auth", "x"), ("", "x"), ("a b", "x"), ("a", ""), ("a", "x\x01y")] {
            assert!(token.clone().extension(name, value).check().is_err(), "{name:?}={value:?}");
        }
    }
}
