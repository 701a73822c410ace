//! In place of the connector where the feature `tls` is off: asking for TLS is refused.

use std::convert::Infallible;

use super::Tls;
use crate::env::Transport;
use crate::error::{Error, ErrorKind, Result};

/// There is none.
#[derive(Clone, Debug)]
pub(crate) struct Connector(Infallible);

impl Connector {
    pub(crate) fn new(_: &Tls) -> Result<Self> {
        let message =
            "TLS was asked for, but this program was built without it: turn on dispatcher's cargo feature `tls`";
        Err(Error::new(ErrorKind::InvalidConfig, message))
    }

    pub(crate) async fn secure(&self, _: Transport, _: &str, _: &str) -> Result<Transport> {
        match self.0 {}
    }

    pub(crate) fn explain(&self, _: &std::io::Error, _: &str) -> Option<Error> {
        match self.0 {}
    }
}
