//! Stdin as a stream of messages: one a line, bytes as they are, at most so long.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its newline; a CR stays.
    Whole(Vec<u8>),
    /// Longer than the limit: passed over, its length counted.
    TooLong(u64),
}

/// Reads lines. Cancel-safe: what was read of a line is kept.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    chunk: Vec<u8>,
    /// Of `chunk`, what was not looked at.
    unread: std::ops::Range<usize>,
    line: Vec<u8>,
    length: u64,
    started: bool,
    limit: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        let chunk = vec![0; 64 << 10];
        Self { input, chunk, unread: 0..0, line: Vec::new(), length: 0, started: false, limit, ended: false }
    }

    /// The next line; None at the end of input. A last line without a newline counts.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if !self.unread.is_empty() {
                let rest = &self.chunk[self.unread.clone()];
                let end = rest.iter().position(|&b| b == b'\n');
                let piece = &rest[..end.unwrap_or(rest.len())];
                self.started = true;
                self.length += piece.len() as u64;
                if self.length <= self.limit as u64 {
                    self.line.extend_from_slice(piece);
                } else {
                    self.line = Vec::new();
                }
                self.unread.start += piece.len() + usize::from(end.is_some());
                if end.is_some() {
                    return Ok(Some(self.finish()));
                }
            }
            if self.ended {
                return Ok(self.started.then(|| self.finish()));
            }
            let read = self.input.read(&mut self.chunk).await?;
            self.unread = 0..read;
            self.ended = read == 0;
        }
    }

    /// Whether the next line is there without waiting for input.
    pub(super) fn is_buffered(&self) -> bool {
        self.chunk[self.unread.clone()].contains(&b'\n')
    }

    fn finish(&mut self) -> Line {
        let (line, length) = (std::mem::take(&mut self.line), std::mem::take(&mut self.length));
        self.started = false;
        if length <= self.limit as u64 { Line::Whole(line) } else { Line::TooLong(length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &[u8], limit: usize) -> Vec<Line> {
        let mut lines = Lines::new(input, limit);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(line);
        }
        found
    }

    #[tokio::test]
    async fn lines_are_bytes_without_their_newline() {
        let whole = |text: &[u8]| Line::Whole(text.to_vec());
        assert_eq!(all(b"", 9).await, []);
        assert_eq!(all(b"\n", 9).await, [whole(b"")]);
        assert_eq!(all(b"a\r\n\n\xff\x00\nlast", 9).await, [&b"a\r"[..], b"", b"\xff\x00", b"last"].map(whole));
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_passed_over_and_the_next_is_read() {
        let mut input = vec![b'x'; 200_000];
        input.extend_from_slice(b"\nok\n");
        assert_eq!(all(&input, 100_000).await, [Line::TooLong(200_000), Line::Whole(b"ok".to_vec())]);
        assert_eq!(all(b"12345\n", 5).await, [Line::Whole(b"12345".to_vec())]);
    }
}
