//! The few requests that the floors make, by hand: Metadata 1, ListOffsets 1, Produce 8, Fetch 11; record batches of
//! format 2.
use crate::Res;
use std::io::{Read, Write};
use std::net::TcpStream;

const CLIENT: &str = "floor";

/// A connection whose requests are answered in their order.
pub struct Link {
    stream: TcpStream,
}

impl Link {
    pub fn open(address: &str) -> Res<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Link { stream })
    }

    /// The same connection, to read from in another thread.
    pub fn twin(&self) -> Res<Self> {
        Ok(Link { stream: self.stream.try_clone()? })
    }

    pub fn write(&mut self, request: &[u8]) -> Res<()> {
        Ok(self.stream.write_all(request)?)
    }

    /// The next response's body, read into `into`, which only grows.
    pub fn read<'b>(&mut self, into: &'b mut Vec<u8>) -> Res<&'b [u8]> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = i32::from_be_bytes(length) as usize;
        if into.len() < length {
            into.resize(length, 0);
        }
        self.stream.read_exact(&mut into[..length])?;
        Ok(&into[4..length]) // behind the correlation id
    }
}

struct Request(Vec<u8>);

impl Request {
    fn new(api: i16, version: i16) -> Self {
        let mut q = Request(vec![0; 4]);
        q.i16(api).i16(version).i32(0).text(CLIENT);
        q
    }
    fn i8(&mut self, v: i8) -> &mut Self {
        self.raw(&v.to_be_bytes())
    }
    fn i16(&mut self, v: i16) -> &mut Self {
        self.raw(&v.to_be_bytes())
    }
    fn i32(&mut self, v: i32) -> &mut Self {
        self.raw(&v.to_be_bytes())
    }
    fn i64(&mut self, v: i64) -> &mut Self {
        self.raw(&v.to_be_bytes())
    }
    fn text(&mut self, v: &str) -> &mut Self {
        self.i16(v.len() as i16).raw(v.as_bytes())
    }
    fn raw(&mut self, v: &[u8]) -> &mut Self {
        self.0.extend_from_slice(v);
        self
    }
    fn done(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as i32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

struct Body<'b>(&'b [u8]);

impl<'b> Body<'b> {
    fn raw(&mut self, n: usize) -> Res<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(n).ok_or("a response is too short")?;
        self.0 = rest;
        Ok(head)
    }
    fn i16(&mut self) -> Res<i16> {
        Ok(i16::from_be_bytes(self.raw(2)?.try_into()?))
    }
    fn i32(&mut self) -> Res<i32> {
        Ok(i32::from_be_bytes(self.raw(4)?.try_into()?))
    }
    fn i64(&mut self) -> Res<i64> {
        Ok(i64::from_be_bytes(self.raw(8)?.try_into()?))
    }
    fn text(&mut self) -> Res<&'b str> {
        let n = self.i16()?.max(0) as usize;
        Ok(std::str::from_utf8(self.raw(n)?)?)
    }
    fn ok(&mut self) -> Res<()> {
        match self.i16()? {
            0 => Ok(()),
            code => Err(format!("the broker answers with error {code}").into()),
        }
    }
}

/// The address of the one broker that leads the topic's partitions.
pub fn leader(brokers: &str, topic: &str) -> Res<String> {
    let mut link = Link::open(brokers.split(',').next().unwrap_or(brokers))?;
    let mut q = Request::new(3, 1);
    q.i32(1).text(topic);
    link.write(&q.done())?;
    let mut response = Vec::new();
    let mut b = Body(link.read(&mut response)?);
    if b.i32()? != 1 {
        return Err("the floors need a cluster of one broker".into());
    }
    b.i32()?;
    Ok(format!("{}:{}", b.text()?, b.i32()?))
}

pub fn end_offset(link: &mut Link, topic: &str, response: &mut Vec<u8>) -> Res<i64> {
    let mut q = Request::new(2, 1);
    q.i32(-1).i32(1).text(topic).i32(1).i32(0).i64(-1);
    link.write(&q.done())?;
    let mut b = Body(link.read(response)?);
    b.i32()?;
    b.text()?;
    b.i32()?;
    b.i32()?;
    b.ok()?;
    b.i64()?;
    b.i64()
}

pub fn produce(topic: &str, batches: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let mut q = Request::new(0, 8);
    q.i16(-1).i16(-1).i32(30_000).i32(1).text(topic).i32(batches.len() as i32);
    for (partition, batch) in batches {
        q.i32(*partition).i32(batch.len() as i32).raw(batch);
    }
    q.done()
}

/// How many batches it acknowledges; an error if not all.
pub fn produced(response: &[u8]) -> Res<usize> {
    let mut b = Body(response);
    let mut batches = 0;
    for _ in 0..b.i32()? {
        b.text()?;
        for _ in 0..b.i32()? {
            b.i32()?;
            b.ok()?;
            b.raw(24)?; // base offset, append time, log start
            for _ in 0..b.i32()? {
                b.i32()?;
                b.text()?;
            }
            b.text()?;
            batches += 1;
        }
    }
    Ok(batches)
}

/// Partition i of `offsets` from its offset on, at most 500 ms, 50 MiB in all.
pub fn fetch(topic: &str, offsets: &[i64], partition_bytes: i32) -> Vec<u8> {
    let mut q = Request::new(1, 11);
    q.i32(-1).i32(500).i32(1).i32(50 << 20).i8(0).i32(0).i32(-1).i32(1).text(topic).i32(offsets.len() as i32);
    for (partition, offset) in offsets.iter().enumerate() {
        q.i32(partition as i32).i32(-1).i64(*offset).i64(-1).i32(partition_bytes);
    }
    q.i32(0).text("");
    q.done()
}

pub struct Answer<'b> {
    pub partition: i32,
    records: &'b [u8],
}

pub fn fetched(response: &[u8]) -> Res<Vec<Answer<'_>>> {
    let mut b = Body(response);
    b.i32()?;
    b.ok()?;
    b.i32()?;
    let mut out = Vec::new();
    for _ in 0..b.i32()? {
        b.text()?;
        for _ in 0..b.i32()? {
            let partition = b.i32()?;
            b.ok()?;
            b.raw(24)?; // high watermark, last stable offset, log start
            let aborted = b.i32()?.max(0) as usize;
            b.raw(aborted * 16)?;
            b.i32()?;
            let length = b.i32()?.max(0) as usize;
            out.push(Answer { partition, records: b.raw(length)? });
        }
    }
    Ok(out)
}

impl<'b> Answer<'b> {
    /// The whole batches; the last one may have been cut.
    pub fn batches(&self) -> impl Iterator<Item = Found<'b>> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let length = i32::from_be_bytes(rest.get(8..12)?.try_into().ok()?) as usize;
            let (batch, behind) = rest.split_at_checked(12 + length)?;
            rest = behind;
            (batch.len() >= HEAD).then_some(Found(batch))
        })
    }
}

/// A batch as it came.
pub struct Found<'b>(&'b [u8]);

/// Of a batch: everything in front of the records.
const HEAD: usize = 61;

impl<'b> Found<'b> {
    fn number<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("a batch has its head")
    }
    pub fn next_offset(&self) -> i64 {
        i64::from_be_bytes(self.number(0)) + i64::from(i32::from_be_bytes(self.number(23))) + 1
    }
    pub fn records(&self) -> usize {
        i32::from_be_bytes(self.number(57)) as usize
    }
    pub fn crc_matches(&self) -> bool {
        u32::from_be_bytes(self.number(17)) == crc32c::crc32c(&self.0[21..])
    }
    /// The records' values, given that all have `size` bytes, neither key nor headers, and are not compressed.
    pub fn values(&self, size: usize) -> impl Iterator<Item = &'b [u8]> {
        let mut rest = &self.0[HEAD..];
        std::iter::from_fn(move || {
            let (length, behind) = varint(rest)?;
            let (record, next) = behind.split_at_checked(length as usize)?;
            rest = next;
            record.get(record.len().checked_sub(size + 1)?..record.len() - 1)
        })
    }
}

fn varint(from: &[u8]) -> Option<(i64, &[u8])> {
    let mut raw = 0u64;
    for (i, byte) in from.iter().enumerate().take(10) {
        raw |= u64::from(byte & 127) << (7 * i);
        if byte & 128 == 0 {
            return Some(((raw >> 1) as i64 ^ -((raw & 1) as i64), &from[i + 1..]));
        }
    }
    None
}

fn put_varint(into: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw > 127 {
        into.push(raw as u8 | 128);
        raw >>= 7;
    }
    into.push(raw as u8);
}

/// Records for one batch.
#[derive(Default)]
pub struct Batch {
    records: Vec<u8>,
    count: i32,
}

impl Batch {
    pub fn count(&self) -> i32 {
        self.count
    }
    pub fn len(&self) -> usize {
        HEAD + self.records.len()
    }
    pub fn push(&mut self, value: &[u8]) {
        let mut front = vec![0, 0]; // attributes, time delta
        put_varint(&mut front, i64::from(self.count));
        put_varint(&mut front, -1);
        put_varint(&mut front, value.len() as i64);
        put_varint(&mut self.records, (front.len() + value.len() + 1) as i64);
        self.records.extend_from_slice(&front);
        self.records.extend_from_slice(value);
        self.records.push(0); // headers
        self.count += 1;
    }
    pub fn seal(self, lz4: bool) -> Vec<u8> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_millis() as i64);
        let records = if lz4 { compressed(&self.records) } else { self.records };
        let mut b = Request(Vec::with_capacity(HEAD + records.len()));
        b.i64(0).i32((HEAD - 12 + records.len()) as i32).i32(-1).i8(2).i32(0);
        b.i16(if lz4 { 3 } else { 0 }).i32(self.count - 1).i64(now).i64(now);
        b.i64(-1).i16(-1).i32(-1).i32(self.count).raw(&records);
        let crc = crc32c::crc32c(&b.0[21..]);
        b.0[17..21].copy_from_slice(&crc.to_be_bytes());
        b.0
    }
}

fn compressed(records: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
    let mut out = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    out.write_all(records).and_then(|()| out.flush()).expect("writing into memory");
    out.finish().expect("writing into memory")
}
