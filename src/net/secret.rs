//! What must never be read in a log: passwords, tokens, private keys. Everything that holds one holds it as a
//! [`Secret`], so that a derived `Debug` is safe. Its memory is not overwritten when it is dropped: the same bytes pass
//! through buffers of the connection and of the program that gave them, so that wiping this copy would promise more than
//! it keeps.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A text that is shown nowhere: `Debug` prints `…`, there is no `Display`, and serde reads it but does not write it.
///
/// Cheap to clone; clones share the text.
///
/// ```
/// let secret = dispatcher::Secret::from("hunter2");
/// assert_eq!(format!("{secret:?}"), "…");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself. What is made of it is the caller's to keep secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own error would quote what is no text.
        let text =
            String::deserialize(deserializer).map_err(|_| D::Error::custom("a secret must be a text, in quotes"))?;
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn what_is_no_text_is_refused_without_being_quoted() {
        assert_eq!(serde_json::from_str::<Secret>("\"123456\"").unwrap().expose(), "123456");
        let error = serde_json::from_str::<Secret>("123456").unwrap_err().to_string();
        assert!(error.contains("in quotes") && !error.contains("123456"), "{error}");
    }
}
