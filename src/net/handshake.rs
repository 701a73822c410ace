//! What happens on a fresh stream before callers get it: version negotiation. Securing the stream comes before it,
//! authentication (`sasl/`) after it; both have their place in [`negotiate`]'s caller.

use std::time::Duration;

use super::line::Line;
use super::versions::BrokerVersions;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::header::{correlation_id, decode_response};
use crate::wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::{ErrorCode, Request, StrBytes, Wire};

/// Asks for the broker's versions. One that does not know the asked version answers error 35 in v0 form, listing its
/// own range of ApiVersions (from 2.4 on) or nothing: ask again at that version, or at 0.
pub(super) async fn negotiate(line: &Line, software: &Software, limit: Duration) -> Result<BrokerVersions> {
    let mut version = ApiVersionsRequest::MAX;
    for _attempt in 0..3 {
        let request = ApiVersionsRequest {
            client_software_name: software.name.clone(),
            client_software_version: software.version.clone(),
        };
        let frame = line.start_raw(&request, version, limit)?.await?;
        let response = read(frame, version, line.peer())?;
        match response.error_code {
            ErrorCode::NONE => return Ok(BrokerVersions::new(&response)),
            ErrorCode::UNSUPPORTED_VERSION if version > 0 => {
                let offered = response.api_keys.iter().find(|a| a.api_key == ApiVersionsRequest::KEY);
                version = offered.map_or(0, |a| a.max_version.clamp(0, version - 1));
            }
            code => return Err(Error::from_code(code, format_args!("ApiVersions to {}", line.peer()))),
        }
    }
    let message = format!("{} refuses every version of ApiVersions: use brokers from 2.1 on", line.peer());
    Err(Error::new(ErrorKind::UnsupportedVersion, message))
}

fn read(frame: bytes::Bytes, version: i16, peer: &str) -> Result<ApiVersionsResponse> {
    // The error code leads in every version.
    let refused = frame.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
    let decoded = if refused {
        debug_assert!(correlation_id(&frame).is_some());
        let mut reader = crate::wire::Reader::new(frame.slice(4..));
        ApiVersionsResponse::decode(&mut reader, 0)
    } else {
        decode_response::<ApiVersionsRequest>(frame, version)
    };
    decoded.map_err(|e| {
        let message = format!("{peer} sent bytes that are not Kafka's protocol: check host and port");
        Error::new(ErrorKind::Protocol, message).with_source(e)
    })
}

/// How this client names itself (KIP-511).
#[derive(Clone, Debug)]
pub(crate) struct Software {
    pub(super) name: StrBytes,
    pub(super) version: StrBytes,
}

impl Default for Software {
    fn default() -> Self {
        Self { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }
    }
}

#[cfg(test)]
mod tests {
    /// Else brokers answer INVALID_REQUEST: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
    #[test]
    fn software_name_and_version_have_the_form_brokers_demand() {
        let software = super::Software::default();
        for text in [&*software.name, &*software.version] {
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.'));
            assert!(text.starts_with(|c: char| c.is_ascii_alphanumeric()));
            assert!(text.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
