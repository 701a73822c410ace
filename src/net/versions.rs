//! What a broker offers: per API the range of versions, and the choice of the highest common one.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::wire::Request;
use crate::wire::messages::ApiVersionsResponse;

/// A broker's answer to ApiVersions.
#[derive(Debug, Default)]
pub(super) struct BrokerVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
}

impl BrokerVersions {
    /// Before negotiation.
    pub(super) const NONE: Self = Self { ranges: BTreeMap::new() };

    pub(super) fn new(response: &ApiVersionsResponse) -> Self {
        let ranges = response.api_keys.iter().map(|a| (a.api_key, (a.min_version, a.max_version)));
        Self { ranges: ranges.collect() }
    }

    /// The highest version both sides speak, at most `cap`.
    pub(super) fn choose<R: Request>(&self, cap: Option<i16>, peer: &str) -> Result<i16> {
        let ours = R::MAX.min(cap.unwrap_or(i16::MAX));
        let unsupported = |theirs: String| {
            let (name, min) = (R::NAME, R::MIN);
            let message =
                format!("{peer} {theirs} of {name}, this client needs {min} to {ours}: use brokers from 2.1 on");
            Error::new(ErrorKind::UnsupportedVersion, message)
        };
        let &(min, max) = self.ranges.get(&R::KEY).ok_or_else(|| unsupported("offers no version".into()))?;
        let version = max.min(ours);
        if version < min || version < R::MIN {
            return Err(unsupported(format!("offers versions {min} to {max}")));
        }
        Ok(version)
    }
}
