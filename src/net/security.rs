//! What lies between dialling a broker and its first ordinary answer: made once per cluster from the settings, shared by
//! all its connections.

use super::sasl::{Authenticator, Sasl};
use super::tls::{Connector, Tls};
use crate::error::Result;

/// How connections are secured. The default is not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    /// Encrypts the stream right after dialling.
    pub(crate) tls: Option<Connector>,
    /// Authenticates right after the versions are negotiated.
    pub(crate) sasl: Option<Authenticator>,
}

impl Security {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the option or file that cannot be used.
    pub(crate) fn new(tls: Option<&Tls>, sasl: Option<&Sasl>) -> Result<Self> {
        Ok(Self { tls: tls.map(Connector::new).transpose()?, sasl: sasl.map(Authenticator::new) })
    }
}
