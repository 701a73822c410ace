//! ApiVersions.

use crate::embedded::KafkaVersion;
use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::State;
use crate::wire::ErrorCode;
use crate::wire::messages::api_versions::ApiVersion;
use crate::wire::messages::every::APIS;
use crate::wire::messages::{ApiVersionsRequest, ApiVersionsResponse};

impl Serve for ApiVersionsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<ApiVersionsResponse> {
        let legal = |text: &str| {
            let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            ends(text.chars().next())
                && ends(text.chars().next_back())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        };
        let named = legal(&self.client_software_name) && legal(&self.client_software_version);
        if call.version >= 3 && !named {
            return Answer::Ready(ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() });
        }
        Answer::Ready(offered(state, ErrorCode::NONE))
    }
}

/// What this cluster offers. With an error the answer is read in the form of v0, and holds only what helps to ask again.
pub(in crate::embedded) fn offered(state: &State, error_code: ErrorCode) -> ApiVersionsResponse {
    let range = |key: i16| {
        let (min_version, max_version) = state.settings.version.range(key)?;
        Some(ApiVersion { api_key: key, min_version, max_version })
    };
    // Before 2.4 (KIP-511) not even that.
    let helps = |key: i16| error_code == ErrorCode::NONE || (key == 18 && state.settings.version >= KafkaVersion::V2_4);
    let api_keys = APIS.iter().map(|api| api.key).filter(|key| helps(*key)).filter_map(range).collect();
    ApiVersionsResponse { error_code, api_keys, ..Default::default() }
}
