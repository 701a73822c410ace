//! How each type of a message field is written and read, in the classic and in the flexible (compact) form, and
//! [`Spec`]: what a declaration says about one field. The `message!` macro puts these together.

use bytes::Bytes;

use super::error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
use super::primitives::{Reader, Records, StrBytes, Writer};
use super::{ErrorCode, Uuid};

/// The version a message is being written or read at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    /// The API's (or blob's) version.
    pub(crate) version: i16,
    /// Whether lengths are compact and structs end in tagged fields (KIP-482).
    pub(crate) flexible: bool,
}

/// A type a field can have.
pub(crate) trait Field: Sized + PartialEq {
    /// Appends the value.
    fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError>;

    /// Takes the value.
    fn read(r: &mut Reader, at: At) -> Result<Self, DecodeError>;

    /// Whether it is `None`.
    fn is_null(&self) -> bool {
        false
    }
}

/// A type that has a form for null; `Option` of it is a [`Field`].
pub(crate) trait Nullable: Field {
    /// Appends the value or null.
    fn write_nullable(value: Option<&Self>, w: &mut Writer, at: At) -> Result<(), EncodeError>;

    /// Takes a value or null.
    fn read_nullable(r: &mut Reader, at: At) -> Result<Option<Self>, DecodeError>;
}

impl<T: Nullable> Field for Option<T> {
    fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), w, at)
    }

    fn read(r: &mut Reader, at: At) -> Result<Self, DecodeError> {
        T::read_nullable(r, at)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }
}

/// What a declaration says about one field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    /// Kafka's name in snake_case.
    pub(crate) name: &'static str,
    /// First version that carries it.
    pub(crate) from: i16,
    /// Last version that carries it.
    pub(crate) to: i16,
    /// For an `Option`: the first version that allows null.
    pub(crate) null_from: i16,
    /// Its number, if it is a tagged field.
    pub(crate) tag: Option<u32>,
    /// Whether a version that does not carry it may drop a value silently.
    pub(crate) ignorable: bool,
}

impl Spec {
    /// A field of every version.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, from: 0, to: i16::MAX, null_from: 0, tag: None, ignorable: false }
    }

    pub(super) const fn versions(mut self, from: i16, to: i16) -> Self {
        self.from = from;
        self.to = to;
        self
    }

    pub(super) const fn null_from(mut self, version: i16) -> Self {
        self.null_from = version;
        self
    }

    pub(super) const fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    pub(super) const fn ignorable(mut self) -> Self {
        self.ignorable = true;
        self
    }

    /// Whether `version` carries the field, tagged or not.
    pub(super) const fn covers(&self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }

    /// Whether the field stands among the untagged ones.
    pub(super) const fn in_body(&self, version: i16) -> bool {
        self.tag.is_none() && self.covers(version)
    }

    /// Writes an untagged field, or makes sure that leaving it out loses nothing.
    pub(super) fn write<T: Field>(
        &self,
        value: &T,
        default: impl FnOnce() -> T,
        w: &mut Writer,
        at: At,
    ) -> Result<(), EncodeError> {
        if !self.covers(at.version) {
            if self.ignorable || *value == default() {
                return Ok(());
            }
            return Err(EncodeError::new(EncodeFault::NotInVersion(at.version)).in_field(self.name));
        }
        if self.tag.is_some() {
            return Ok(());
        }
        if at.version < self.null_from && value.is_null() {
            return Err(EncodeError::new(EncodeFault::Null(at.version)).in_field(self.name));
        }
        value.write(w, at).map_err(|e| e.in_field(self.name))
    }

    /// Reads a field, tagged or not.
    pub(super) fn read<T: Field>(&self, r: &mut Reader, at: At) -> Result<T, DecodeError> {
        let value = T::read(r, at).map_err(|e| e.in_field(self.name))?;
        if at.version < self.null_from && value.is_null() {
            return Err(DecodeError::new(DecodeFault::Null).in_field(self.name));
        }
        Ok(value)
    }
}

/// Collects the tagged fields of one struct; only those that differ from their default are written (KIP-482).
#[derive(Debug, Default)]
pub(crate) struct Tags {
    count: u32,
    body: Writer,
}

impl Tags {
    /// Adds a field if it is tagged, set, and known to the version. Call in the order of the tags.
    pub(super) fn add<T: Field>(
        &mut self,
        spec: &Spec,
        value: &T,
        default: impl FnOnce() -> T,
        at: At,
    ) -> Result<(), EncodeError> {
        let Some(tag) = spec.tag else { return Ok(()) };
        if !spec.covers(at.version) || *value == default() {
            return Ok(());
        }
        let mut field = Writer::new();
        value.write(&mut field, at).map_err(|e| e.in_field(spec.name))?;
        let len = u32::try_from(field.len())
            .map_err(|_| EncodeError::new(EncodeFault::TooLong(field.len())).in_field(spec.name))?;
        self.count += 1;
        self.body.uvarint(tag);
        self.body.uvarint(len);
        self.body.append(field);
        Ok(())
    }

    /// Writes the section.
    pub(super) fn write(self, w: &mut Writer) {
        w.uvarint(self.count);
        if self.count > 0 {
            w.append(self.body);
        }
    }
}

macro_rules! number {
    ($($t:ty),*) => { $(
        impl Field for $t {
            #[inline]
            fn write(&self, w: &mut Writer, _: At) -> Result<(), EncodeError> {
                w.put(&self.to_be_bytes());
                Ok(())
            }

            #[inline]
            fn read(r: &mut Reader, _: At) -> Result<Self, DecodeError> {
                r.array().map(<$t>::from_be_bytes)
            }
        }
    )* };
}

number!(i8, i16, i32, i64, u16, f64);

macro_rules! plain {
    ($t:ty, |$v:ident, $w:ident| $write:expr, |$r:ident| $read:expr) => {
        impl Field for $t {
            fn write(&self, $w: &mut Writer, _: At) -> Result<(), EncodeError> {
                let $v = self;
                $write;
                Ok(())
            }

            fn read($r: &mut Reader, _: At) -> Result<Self, DecodeError> {
                $read
            }
        }
    };
}

plain!(bool, |v, w| w.put(&[u8::from(*v)]), |r| Ok(r.u8()? != 0));
plain!(ErrorCode, |v, w| w.i16(v.0), |r| r.i16().map(ErrorCode));
plain!(Uuid, |v, w| w.put(&v.0), |r| r.array().map(Uuid));

/// Types that are a length and that many bytes or elements: null is a length, so `write` and `read` follow.
macro_rules! by_length {
    ($({$($generic:tt)*})? $t:ty) => {
        impl$(<$($generic)*>)? Field for $t {
            #[inline]
            fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
                Self::write_nullable(Some(self), w, at)
            }

            #[inline]
            fn read(r: &mut Reader, at: At) -> Result<Self, DecodeError> {
                Self::read_nullable(r, at)?.ok_or_else(|| DecodeError::new(DecodeFault::Null))
            }
        }
    };
}

by_length!(StrBytes);
by_length!(Bytes);
by_length!(Records);
by_length!({T: Field} Vec<T>);

fn write_len32(len: Option<usize>, w: &mut Writer, at: At) -> Result<(), EncodeError> {
    if at.flexible { w.compact_len(len) } else { w.len32(len) }
}

fn read_len32(r: &mut Reader, at: At) -> Result<Option<usize>, DecodeError> {
    if at.flexible { r.compact_len() } else { r.len32() }
}

impl Nullable for StrBytes {
    fn write_nullable(value: Option<&Self>, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        let len = value.map(|s| s.raw().len());
        // Java takes no string over 32,767 bytes in either form.
        match len {
            Some(n) if n > i16::MAX as usize => return Err(EncodeError::new(EncodeFault::TooLong(n))),
            _ if at.flexible => w.compact_len(len)?,
            _ => w.len16(len)?,
        }
        if let Some(s) = value {
            w.put(s.raw());
        }
        Ok(())
    }

    fn read_nullable(r: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
        match if at.flexible { r.compact_len()? } else { r.len16()? } {
            Some(n) => r.take(n)?.try_into().map(Some),
            None => Ok(None),
        }
    }
}

impl Nullable for Bytes {
    fn write_nullable(value: Option<&Self>, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_len32(value.map(Bytes::len), w, at)?;
        if let Some(bytes) = value {
            w.splice(bytes);
        }
        Ok(())
    }

    fn read_nullable(r: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
        read_len32(r, at)?.map(|n| r.take(n)).transpose()
    }
}

impl Nullable for Records {
    fn write_nullable(value: Option<&Self>, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_len32(value.map(Records::len), w, at)?;
        value.into_iter().flat_map(|records| &records.0).for_each(|chunk| w.splice(chunk));
        Ok(())
    }

    fn read_nullable(r: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::read_nullable(r, at)?.map(Records::from))
    }
}

impl<T: Field> Nullable for Vec<T> {
    fn write_nullable(value: Option<&Self>, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_len32(value.map(Vec::len), w, at)?;
        value.into_iter().flatten().try_for_each(|element| element.write(w, at))
    }

    fn read_nullable(r: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
        let Some(n) = read_len32(r, at)? else { return Ok(None) };
        // Never reserve more memory than the rest of the frame has bytes; beyond that, double with what really comes.
        let mut out = Vec::with_capacity(n.min(r.remaining() / size_of::<T>().max(1)));
        for read in 0..n {
            if read == out.capacity() {
                out.reserve_exact(read.clamp(1, n - read));
            }
            out.push(T::read(r, at)?);
        }
        Ok(Some(out))
    }
}
