//! Request and response headers and the framing around a message: the pieces a connection (or an imitated broker)
//! needs to turn a request into bytes and bytes into a response.

use super::error::{DecodeError, EncodeError};
use super::field::{At, Field};
use super::message::{Request, Wire};
use super::messages::ApiVersionsRequest;
use super::primitives::{Frame, Reader, StrBytes, Writer};

/// What stands before a request: header v1, or v2 where the API's version is flexible.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RequestHeader {
    /// Which API.
    pub(crate) api_key: i16,
    /// Which version of it.
    pub(crate) api_version: i16,
    /// Comes back in the response.
    pub(crate) correlation_id: i32,
    /// Whom the broker's log and quotas shall name.
    pub(crate) client_id: Option<StrBytes>,
}

/// The client id keeps its 16-bit length in the flexible header, so that a broker can read it whatever the version.
const CLASSIC: At = At { version: 1, flexible: false };

impl RequestHeader {
    /// Appends the header; `flexible` is the API version's.
    pub(crate) fn encode(&self, w: &mut Writer, flexible: bool) -> Result<(), EncodeError> {
        w.i16(self.api_key);
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        self.client_id.write(w, CLASSIC).map_err(|e| e.in_field("client_id").in_message("RequestHeader"))?;
        if flexible {
            w.uvarint(0);
        }
        Ok(())
    }

    /// Takes the header. `flexible` is asked with the API's key and version, because only they tell the form.
    #[cfg(any(test, feature = "fuzzing", feature = "embedded"))]
    pub(crate) fn decode(r: &mut Reader, flexible: impl FnOnce(i16, i16) -> bool) -> Result<Self, DecodeError> {
        let read = |r: &mut Reader| {
            let (api_key, api_version, correlation_id) = (r.i16()?, r.i16()?, r.i32()?);
            let client_id = Option::read(r, CLASSIC).map_err(|e| e.in_field("client_id"))?;
            if flexible(api_key, api_version) {
                r.tags(|_, _| Ok(false))?;
            }
            Ok(Self { api_key, api_version, correlation_id, client_id })
        };
        read(r).map_err(|e: DecodeError| e.in_message("RequestHeader"))
    }
}

/// Whether responses of this API and version carry header v1. ApiVersions never does: a client that asked for too
/// new a version must be able to read the answer.
fn flexible_response<R: Request>(version: i16) -> bool {
    version >= R::FLEXIBLE && R::KEY != ApiVersionsRequest::KEY
}

/// The whole request, size included.
pub(crate) fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Frame, EncodeError> {
    let header =
        RequestHeader { api_key: R::KEY, api_version: version, correlation_id, client_id: Some(client_id.clone()) };
    let mut w = Writer::framed();
    header.encode(&mut w, version >= R::FLEXIBLE)?;
    request.encode(&mut w, version)?;
    w.finish().map_err(|e| e.in_message(R::NAME))
}

/// The correlation id at the start of any response frame (the frame without its size).
pub(crate) fn correlation_id(frame: &[u8]) -> Option<i32> {
    frame.first_chunk().map(|id| i32::from_be_bytes(*id))
}

/// The response in a frame (without its size), which must hold nothing else.
pub(crate) fn decode_response<R: Request>(frame: bytes::Bytes, version: i16) -> Result<R::Response, DecodeError> {
    let mut r = Reader::new(frame);
    let read = |r: &mut Reader| {
        r.i32()?;
        if flexible_response::<R>(version) { r.tags(|_, _| Ok(false)) } else { Ok(()) }
    };
    read(&mut r).map_err(|e| e.in_message("ResponseHeader"))?;
    let response = R::Response::decode(&mut r, version)?;
    r.finish().map_err(|e| e.in_message(R::NAME))?;
    Ok(response)
}

/// The whole response, size included: for a broker's side of the wire.
#[cfg(any(test, feature = "fuzzing", feature = "embedded"))]
pub(crate) fn encode_response<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Result<Frame, EncodeError> {
    let mut w = Writer::framed();
    w.i32(correlation_id);
    if flexible_response::<R>(version) {
        w.uvarint(0);
    }
    response.encode(&mut w, version)?;
    w.finish().map_err(|e| e.in_message(R::NAME))
}
