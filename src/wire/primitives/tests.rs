//! Promises of the reader and the writer.

use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Reader, Records, StrBytes, Writer};
use crate::wire::error::DecodeFault;

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

proptest! {
    #[test]
    fn a_varint_reads_as_it_was_written(v: u32) {
        let mut w = Writer::new();
        w.uvarint(v);
        let bytes = w.finish().unwrap().into_bytes();
        let mut r = Reader::new(bytes);
        prop_assert_eq!(r.uvarint().unwrap(), v);
        prop_assert!(r.finish().is_ok());
    }
}

#[test]
fn a_varint_of_more_than_32_bits_is_an_error() {
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint().unwrap(), u32::MAX);
    for bytes in [[0xff, 0xff, 0xff, 0xff, 0x1f, 0], [0x80, 0x80, 0x80, 0x80, 0x80, 0]] {
        assert_eq!(*reader(&bytes).uvarint().unwrap_err().fault(), DecodeFault::Varint);
    }
}

#[test]
fn a_length_beyond_the_frame_is_refused_before_anything_is_reserved() {
    assert_eq!(*reader(&[0x7f, 0xff, 0xff, 0xff, 1, 2]).len32().unwrap_err().fault(), DecodeFault::Length(0x7fff_ffff));
    assert_eq!(*reader(&[0x80, 0, 0, 0, 1]).len32().unwrap_err().fault(), DecodeFault::Length(-0x8000_0000));
    assert_eq!(*reader(&[0xff, 0xfe, 1]).len16().unwrap_err().fault(), DecodeFault::Length(-2));
    assert_eq!(*reader(&[4, 1, 2]).compact_len().unwrap_err().fault(), DecodeFault::Length(3));
    assert_eq!(reader(&[3, 1, 2]).compact_len().unwrap(), Some(2));
    assert_eq!(reader(&[0]).compact_len().unwrap(), None);
    assert_eq!(reader(&[0xff; 4]).len32().unwrap(), None);
}

#[test]
fn what_is_taken_shares_the_frame() {
    let frame = Bytes::from(vec![7; 100]);
    let mut r = Reader::new(frame.clone());
    let first = r.take(40).unwrap();
    assert_eq!(first.as_ptr(), frame.as_ptr());
    assert_eq!(*r.take(61).unwrap_err().fault(), DecodeFault::Truncated { needed: 61, left: 60 });
    assert_eq!(r.remaining(), 60);
    assert_eq!(*r.clone().finish().unwrap_err().fault(), DecodeFault::Trailing(60));
    assert_eq!(r.take(60).unwrap(), frame.slice(40..));
}

#[test]
fn unknown_tags_are_skipped_and_known_ones_must_fill_their_size() {
    let bytes = [2, 7, 3, 1, 2, 3, 9, 2, 0, 5];
    let mut seen = None;
    let mut r = reader(&bytes);
    r.tags(|tag, field| {
        if tag == 9 {
            seen = Some(field.i16()?);
        }
        Ok(tag == 9)
    })
    .unwrap();
    assert_eq!((seen, r.remaining()), (Some(5), 0));
    let short = reader(&bytes).tags(|tag, field| Ok(tag == 9 && field.u8().is_ok())).unwrap_err();
    assert_eq!(*short.fault(), DecodeFault::Trailing(1));
    assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).tags(|_, _| Ok(false)).is_err(), "four thousand million tags");
}

#[test]
fn large_chunks_are_spliced_and_small_ones_copied() {
    let body = Bytes::from(vec![1; 5000]);
    let small = Bytes::from_static(b"small");
    let mut w = Writer::framed();
    w.i16(3);
    w.splice(&small);
    w.splice(&body);
    w.splice(&body);
    w.splice(&small);
    w.splice(&body);
    w.i16(4);
    let frame = w.finish().unwrap();
    assert_eq!(frame.parts.iter().map(Bytes::len).collect::<Vec<_>>(), [11, 5000, 5000, 5, 5000, 2]);
    assert!([1, 2, 4].iter().all(|&i| frame.parts[i].as_ptr() == body.as_ptr()), "never copied");
    let bytes = frame.into_bytes();
    assert_eq!(bytes.len(), 4 + 2 + 3 * 5000 + 2 * 5 + 2);
    assert_eq!(bytes[..4], i32::try_from(bytes.len() - 4).unwrap().to_be_bytes(), "the size leads the frame");
}

#[test]
fn an_appended_writer_keeps_its_order() {
    let mut inner = Writer::new();
    inner.put(b"head");
    inner.splice(&Bytes::from(vec![b'-'; 2000]));
    inner.put(b"tail");
    let mut w = Writer::new();
    w.put(b"[");
    w.append(inner);
    w.put(b"]");
    let expected = format!("[head{}tail]", "-".repeat(2000));
    assert_eq!(w.len(), expected.len());
    assert_eq!(w.finish().unwrap().into_bytes(), expected);
}

#[test]
fn a_string_is_its_text_wherever_it_came_from() {
    let all: [StrBytes; 4] = ["größe".into(), String::from("größe").into(), Arc::<str>::from("größe").into(), {
        StrBytes::try_from(Bytes::from("größe")).unwrap()
    }];
    let hash = std::collections::hash_map::RandomState::new();
    for s in &all {
        assert_eq!((s, s.as_str(), s.len()), (&all[0], "größe", 7));
        assert_eq!(*s, "größe");
        assert_eq!(hash.hash_one(s), hash.hash_one("größe"), "so that maps can be asked with &str");
        assert_eq!(format!("{s}{s:?}"), "größe\"größe\"");
    }
    assert_eq!(StrBytes::try_from(Bytes::from_static(&[0xc3])).unwrap_err().fault(), &DecodeFault::NotUtf8);
}

#[test]
fn records_are_equal_however_they_are_cut() {
    let cut = Records(vec!["ab".into(), Bytes::new(), "c".into()]);
    assert_eq!(cut, Records::from(Bytes::from("abc")));
    assert_ne!(cut, Records::from(Bytes::from("abd")));
    assert_eq!((cut.len(), cut.into_bytes()), (3, Bytes::from("abc")));
    assert!(Records(vec![Bytes::new()]).is_empty());
}
