//! What may be sent: bytes of any kind, borrowed or owned, or nothing at all.

use bytes::Bytes;

/// A payload. Borrowed bytes are copied once, into the batch they are sent in.
///
/// Made from `&[u8]`, `&str`, `Vec<u8>`, `String`, `Bytes`, and an `Option` of these; `None` is a tombstone (a null
/// value).
#[derive(Debug, Clone)]
pub struct Payload<'a>(pub(crate) Inner<'a>);

#[derive(Debug, Clone)]
pub(crate) enum Inner<'a> {
    Null,
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Payload<'_> {
    pub(crate) fn as_slice(&self) -> Option<&[u8]> {
        match &self.0 {
            Inner::Null => None,
            Inner::Borrowed(bytes) => Some(bytes),
            Inner::Owned(bytes) => Some(bytes),
        }
    }
}

macro_rules! borrowed {
    ($($type:ty),+) => {$(
        impl<'a> From<&'a $type> for Payload<'a> {
            fn from(bytes: &'a $type) -> Self {
                Self(Inner::Borrowed(bytes.as_ref()))
            }
        }
    )+};
}
borrowed!([u8], str, Vec<u8>, String, Bytes);

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(Inner::Borrowed(bytes))
    }
}

macro_rules! owned {
    ($($type:ty),+) => {$(
        impl From<$type> for Payload<'_> {
            fn from(bytes: $type) -> Self {
                Self(Inner::Owned(bytes.into()))
            }
        }
    )+};
}
owned!(Vec<u8>, String, Bytes);

impl<'a, T: Into<Payload<'a>>> From<Option<T>> for Payload<'a> {
    fn from(bytes: Option<T>) -> Self {
        bytes.map_or(Self(Inner::Null), Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(payload: impl Into<Payload<'a>>) -> Option<Vec<u8>> {
        payload.into().as_slice().map(<[u8]>::to_vec)
    }

    #[test]
    fn bytes_of_any_kind_are_payloads_and_none_is_a_tombstone() {
        let expected = Some(b"hi".to_vec());
        let local = String::from("hi");
        assert_eq!(of("hi"), expected);
        assert_eq!(of(&local), expected);
        assert_eq!(of(b"hi"), expected);
        assert_eq!(of(vec![b'h', b'i']), expected);
        assert_eq!(of(Bytes::from_static(b"hi")), expected);
        assert_eq!(of(Some("hi")), expected);
        assert_eq!(of(None::<&str>), None);
        assert_eq!(of(""), Some(Vec::new()));
    }
}
