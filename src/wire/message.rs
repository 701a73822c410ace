//! The `message!` macro: one declaration of a message gives its structs, both directions, every version, and the
//! self-description that a test holds against Kafka's own schemas.
//!
//! A field reads `name: Type [spec] = default`, all but the first two optional. The spec lists `from..`, `..=to` or
//! `from..=to` (versions that carry it), `tag n` (a tagged field), `null from..` (an `Option` that may be `None` only
//! from that version on) and `ignorable` (versions without it drop a value instead of refusing it).

use super::error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
use super::field::{At, Field};
use super::primitives::{Reader, Writer};

/// A value with versions: a request, a response, or a blob inside one.
pub(crate) trait Wire: Sized + Default {
    /// Appends it as `version` has it.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Takes it as `version` has it. Bytes behind it are left to the caller ([`Reader::finish`]).
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
}

/// A request of one API, at any version from `MIN` to `MAX`.
pub(crate) trait Request: Wire {
    /// What answers it.
    type Response: Wire;
    /// The API's number.
    const KEY: i16;
    /// The API's name in Kafka's documents.
    const NAME: &'static str;
    /// Oldest version declared here.
    const MIN: i16;
    /// Newest version declared here.
    const MAX: i16;
    /// First flexible version.
    const FLEXIBLE: i16;
}

/// The versions of a declaration; what `Wire` needs to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Versions {
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
    pub(crate) flexible: i16,
}

impl Versions {
    fn at(&self, version: i16) -> Option<At> {
        (self.min..=self.max).contains(&version).then_some(At { version, flexible: version >= self.flexible })
    }

    pub(super) fn encode(&self, value: &impl Field, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        match self.at(version) {
            Some(at) => value.write(w, at),
            None => Err(EncodeError::new(EncodeFault::Version(version))),
        }
        .map_err(|e| e.in_message(self.name))
    }

    pub(super) fn decode<T: Field>(&self, r: &mut Reader, version: i16) -> Result<T, DecodeError> {
        match self.at(version) {
            Some(at) => T::read(r, at),
            None => Err(DecodeError::new(DecodeFault::Version(version))),
        }
        .map_err(|e| e.in_message(self.name))
    }
}

/// Declares an API (`api … request … response …`) or a blob (`data …`), with the structs nested in it.
macro_rules! message {
    (
        api $api:ident = $key:literal, versions $min:literal ..= $max:literal, flexible $flexible:expr;

        request $request:ident { $($request_fields:tt)* }
        $(struct $rn:ident { $($rn_fields:tt)* })*

        response $response:ident { $($response_fields:tt)* }
        $(struct $sn:ident { $($sn_fields:tt)* })*
    ) => {
        $crate::wire::message::fields!($request { $($request_fields)* });
        $($crate::wire::message::fields!($rn { $($rn_fields)* });)*
        $crate::wire::message::fields!($response { $($response_fields)* });
        $($crate::wire::message::fields!($sn { $($sn_fields)* });)*
        $crate::wire::message::wire!($request, $min, $max, $flexible);
        $crate::wire::message::wire!($response, $min, $max, $flexible);

        impl $crate::wire::message::Request for $request {
            type Response = $response;
            const KEY: i16 = $key;
            const NAME: &'static str = stringify!($api);
            const MIN: i16 = $min;
            const MAX: i16 = $max;
            const FLEXIBLE: i16 = $flexible;
        }
    };
    (
        data $name:ident, versions $min:literal ..= $max:literal;

        { $($fields:tt)* }
        $(struct $nested:ident { $($nested_fields:tt)* })*
    ) => {
        $crate::wire::message::fields!($name { $($fields)* });
        $($crate::wire::message::fields!($nested { $($nested_fields)* });)*
        $crate::wire::message::wire!($name, $min, $max, i16::MAX);
    };
}

/// `Wire` for a top-level struct.
macro_rules! wire {
    ($name:ident, $min:expr, $max:expr, $flexible:expr) => {
        impl $name {
            pub(in $crate::wire) const VERSIONS: $crate::wire::message::Versions =
                $crate::wire::message::Versions { name: stringify!($name), min: $min, max: $max, flexible: $flexible };
        }

        impl $crate::wire::message::Wire for $name {
            fn encode(
                &self,
                w: &mut $crate::wire::primitives::Writer,
                version: i16,
            ) -> Result<(), $crate::wire::error::EncodeError> {
                Self::VERSIONS.encode(self, w, version)
            }

            fn decode(
                r: &mut $crate::wire::primitives::Reader,
                version: i16,
            ) -> Result<Self, $crate::wire::error::DecodeError> {
                Self::VERSIONS.decode(r, version)
            }
        }
    };
}

/// One struct: the type, its defaults, and `Field`.
macro_rules! fields {
    ($name:ident { $(
        $(#[$meta:meta])* $field:ident: $type:ty $([$($spec:tt)*])? $(= $default:expr)?
    ),* $(,)? }) => {
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $name {
            $($(#[$meta])* pub(crate) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::wire::message::default_value!($($default)?),)* }
            }
        }

        impl $crate::wire::field::Field for $name {
            fn write(
                &self,
                w: &mut $crate::wire::primitives::Writer,
                at: $crate::wire::field::At,
            ) -> Result<(), $crate::wire::error::EncodeError> {
                $(
                    $crate::wire::message::spec!($field $($($spec)*)?).write(
                        &self.$field,
                        || $crate::wire::message::default_value!($($default)?),
                        w,
                        at,
                    )?;
                )*
                if at.flexible {
                    #[allow(unused_mut)]
                    let mut tags = $crate::wire::field::Tags::default();
                    $($crate::wire::message::if_tagged!([$($($spec)*)?] tags.add(
                        &$crate::wire::message::spec!($field $($($spec)*)?),
                        &self.$field,
                        || $crate::wire::message::default_value!($($default)?),
                        at,
                    )?;);)*
                    tags.write(w);
                }
                Ok(())
            }

            fn read(
                r: &mut $crate::wire::primitives::Reader,
                at: $crate::wire::field::At,
            ) -> Result<Self, $crate::wire::error::DecodeError> {
                #[allow(unused_mut)]
                let mut value = Self::default();
                $({
                    const SPEC: $crate::wire::field::Spec = $crate::wire::message::spec!($field $($($spec)*)?);
                    if SPEC.in_body(at.version) {
                        value.$field = SPEC.read(r, at)?;
                    }
                })*
                if at.flexible {
                    r.tags(|_tag, _r| {
                        $($crate::wire::message::if_tagged!([$($($spec)*)?] {
                            const SPEC: $crate::wire::field::Spec =
                                $crate::wire::message::spec!($field $($($spec)*)?);
                            if SPEC.tag == Some(_tag) && SPEC.covers(at.version) {
                                value.$field = SPEC.read(_r, at)?;
                                return Ok(true);
                            }
                        });)*
                        Ok(false)
                    })?;
                }
                Ok(value)
            }
        }

        #[cfg(test)]
        impl $crate::wire::schema::Described for $name {
            const TYPE: $crate::wire::schema::Type = $crate::wire::schema::Type::Struct(&[$((
                $crate::wire::message::spec!($field $($($spec)*)?),
                <$type as $crate::wire::schema::Described>::TYPE,
                || format!("{:?}", $name::default().$field),
            )),*]);
        }

        #[cfg(any(test, feature = "fuzzing"))]
        impl $crate::wire::sample::Sample for $name {
            fn sample(g: &mut $crate::wire::sample::Gen, at: $crate::wire::field::At, _null: bool) -> Self {
                let mut value = Self::default();
                $({
                    let spec = $crate::wire::message::spec!($field $($($spec)*)?);
                    if spec.covers(at.version) {
                        value.$field = $crate::wire::sample::Sample::sample(g, at, at.version >= spec.null_from);
                    }
                })*
                value
            }

            fn weight(&self) -> usize {
                0 $(+ $crate::wire::sample::Sample::weight(&self.$field))*
            }
        }
    };
}

/// The declared default, else the type's.
macro_rules! default_value {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// The spec of a field as a constant [`Spec`](super::field::Spec).
macro_rules! spec {
    ($field:ident $($spec:tt)*) => {
        $crate::wire::message::spec!(@ ($crate::wire::field::Spec::new(stringify!($field))) $($spec)*)
    };
    (@ ($s:expr)) => { $s };
    (@ ($s:expr) ..= $to:literal $(, $($rest:tt)*)?) => {
        $crate::wire::message::spec!(@ ($s.versions(0, $to)) $($($rest)*)?)
    };
    (@ ($s:expr) $from:literal ..= $to:literal $(, $($rest:tt)*)?) => {
        $crate::wire::message::spec!(@ ($s.versions($from, $to)) $($($rest)*)?)
    };
    (@ ($s:expr) $from:literal .. $(, $($rest:tt)*)?) => {
        $crate::wire::message::spec!(@ ($s.versions($from, i16::MAX)) $($($rest)*)?)
    };
    (@ ($s:expr) null $from:literal .. $(, $($rest:tt)*)?) => {
        $crate::wire::message::spec!(@ ($s.null_from($from)) $($($rest)*)?)
    };
    (@ ($s:expr) tag $tag:literal $(, $($rest:tt)*)?) => {
        $crate::wire::message::spec!(@ ($s.tag($tag)) $($($rest)*)?)
    };
    (@ ($s:expr) ignorable $(, $($rest:tt)*)?) => {
        $crate::wire::message::spec!(@ ($s.ignorable()) $($($rest)*)?)
    };
}

/// Keeps the code only where the spec has a tag: `[.. tag n ..] code`.
macro_rules! if_tagged {
    ([] $($code:tt)*) => {};
    ([tag $($rest:tt)*] $($code:tt)*) => { $($code)* };
    ([$_other:tt $($rest:tt)*] $($code:tt)*) => { $crate::wire::message::if_tagged!([$($rest)*] $($code)*) };
}

pub(in crate::wire) use {default_value, fields, if_tagged, message, spec, wire};
