//! An opened batch and the records in it. A record is looked at only when it is asked for, and never copied.

use std::ops::Range;

use bytes::Bytes;

use super::{BatchHeader, RecordsError, varint};

/// A batch whose checksum is right and whose records are uncompressed.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    header: BatchHeader,
    data: Bytes,
}

/// A place between two records of a batch; the default is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Where the next record starts in the batch's data.
    pub(crate) pos: u32,
    /// How many records lie before it.
    pub(crate) index: u32,
}

/// One record: offsets and ranges into [`Batch::data`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordView {
    /// Its offset in the partition.
    pub(crate) offset: i64,
    /// Milliseconds since 1970: when it was made or, by the topic's choice, appended.
    pub(crate) timestamp: i64,
    /// The key.
    pub(crate) key: Option<Range<u32>>,
    /// The value; `None` is a tombstone.
    pub(crate) value: Option<Range<u32>>,
    /// The encoded headers, without their count.
    pub(crate) headers: Range<u32>,
    /// How many headers there are.
    pub(crate) headers_count: u32,
}

impl Batch {
    pub(super) fn new(header: BatchHeader, data: Bytes) -> Self {
        Self { header, data }
    }

    /// The header.
    pub(crate) fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The uncompressed records; a slice of the frame if they came so.
    pub(crate) fn data(&self) -> &Bytes {
        &self.data
    }

    /// How many records there are.
    pub(crate) fn records_count(&self) -> u32 {
        self.header.records_count as u32
    }

    /// The bytes of a range of one of this batch's records.
    pub(crate) fn bytes_of(&self, range: Range<u32>) -> &[u8] {
        self.data.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// The record at `at`, which moves behind it; `None` behind the last.
    pub(crate) fn next(&self, at: &mut Cursor) -> Result<Option<RecordView>, RecordsError> {
        let Some(body) = self.record_at(at)? else { return Ok(None) };
        let data = &self.data[..body.end];
        let mut pos = body.start + 1; // one byte of attributes, unused by Kafka so far
        let timestamp_delta = varint::get(data, &mut pos, "timestamp_delta")?;
        let offset_delta = varint::get_i32(data, &mut pos, "offset_delta")?;
        let key = take_nullable(data, &mut pos, "key")?;
        let value = take_nullable(data, &mut pos, "value")?;
        let headers_count = varint::get_i32(data, &mut pos, "headers_count")?;
        let headers_count = u32::try_from(headers_count).map_err(|_| RecordsError::malformed("headers_count"))?;
        let headers_from = pos;
        for _ in 0..headers_count {
            take_nullable(data, &mut pos, "header_key")?.ok_or(RecordsError::malformed("header_key"))?;
            take_nullable(data, &mut pos, "header_value")?;
        }
        if pos != body.end || offset_delta < 0 || offset_delta > self.header.last_offset_delta {
            return Err(RecordsError::malformed(if pos == body.end { "offset_delta" } else { "record_length" }));
        }
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.wrapping_add(timestamp_delta)
        };
        *at = Cursor { pos: body.end as u32, index: at.index + 1 };
        Ok(Some(RecordView {
            offset: self.header.base_offset + i64::from(offset_delta),
            timestamp,
            key,
            value,
            headers: headers_from as u32..pos as u32,
            headers_count,
        }))
    }

    /// Moves `at` behind the record there, reading only its length; false behind the last.
    pub(crate) fn skip(&self, at: &mut Cursor) -> Result<bool, RecordsError> {
        let Some(body) = self.record_at(at)? else { return Ok(false) };
        *at = Cursor { pos: body.end as u32, index: at.index + 1 };
        Ok(true)
    }

    /// The cursor before the first record whose offset is `offset` or more; behind the last if there is none.
    pub(crate) fn seek(&self, offset: i64) -> Result<Cursor, RecordsError> {
        let mut at = Cursor::default();
        if offset <= self.header.base_offset {
            return Ok(at);
        }
        while let Some(body) = self.record_at(&at)? {
            let mut pos = body.start + 1;
            varint::get(&self.data[..body.end], &mut pos, "timestamp_delta")?;
            let delta = varint::get_i32(&self.data[..body.end], &mut pos, "offset_delta")?;
            if self.header.base_offset + i64::from(delta) >= offset {
                break;
            }
            at = Cursor { pos: body.end as u32, index: at.index + 1 };
        }
        Ok(at)
    }

    /// The headers of a record of this batch, in order, repeated names and all.
    pub(crate) fn headers(&self, record: &RecordView) -> HeaderIter<'_> {
        HeaderIter { data: self.bytes_of(record.headers.clone()), pos: 0, left: record.headers_count }
    }

    /// Where the body of the record at `at` lies, after its length.
    #[inline]
    fn record_at(&self, at: &Cursor) -> Result<Option<Range<usize>>, RecordsError> {
        let mut pos = at.pos as usize;
        if at.index >= self.records_count() {
            if pos != self.data.len() {
                return Err(RecordsError::malformed("records_count"));
            }
            return Ok(None);
        }
        let length = varint::get_i32(&self.data, &mut pos, "record_length")?;
        let length = usize::try_from(length).map_err(|_| RecordsError::malformed("record_length"))?;
        match pos.checked_add(length) {
            Some(end) if end <= self.data.len() && length > 0 => Ok(Some(pos..end)),
            _ => Err(RecordsError::malformed("record_length")),
        }
    }
}

/// Reads a length and steps over as many bytes; −1 is null.
#[inline]
fn take_nullable(data: &[u8], pos: &mut usize, field: &'static str) -> Result<Option<Range<u32>>, RecordsError> {
    let length = varint::get_i32(data, pos, field)?;
    if length < 0 {
        return if length == -1 { Ok(None) } else { Err(RecordsError::Malformed { field }) };
    }
    let start = *pos;
    let end = start + length as usize;
    if end > data.len() {
        return Err(RecordsError::Malformed { field });
    }
    *pos = end;
    Ok(Some(start as u32..end as u32))
}

/// The headers of one record: name and value.
#[derive(Debug, Clone)]
pub(crate) struct HeaderIter<'a> {
    data: &'a [u8],
    pos: usize,
    left: u32,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // `Batch::next` has checked these bytes; a view of another batch merely ends early.
        let name = take_nullable(self.data, &mut self.pos, "header_key").ok()??;
        let value = take_nullable(self.data, &mut self.pos, "header_value").ok()?;
        let slice = |range: Range<u32>| &self.data[range.start as usize..range.end as usize];
        Some((slice(name), value.map(slice)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}
