//! The lines of a stream, in bounded memory however long they are.

use std::io::{self, Read};

/// The longest line that is a line: an address and its fields.
pub const MAX_LINE: usize = 65_535;

/// Room for one longest line, its newline, and enough more to read in large pieces.
const BUFFER: usize = 256 * 1024;

/// Of a line that is too long, so much is kept, to show it.
const BEGINNING: usize = 256;

/// See the module.
pub struct Lines<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What of the buffer is read and not yet given.
    start: usize,
    end: usize,
    ended: bool,
    /// Octets read so far.
    read: u64,
    /// The number of the line given last, from 1.
    number: u64,
    beginning: Vec<u8>,
}

pub struct Line<'l> {
    /// From 1.
    pub number: u64,
    /// Without the newline. The beginning alone if it is cut.
    pub content: &'l [u8],
    /// It was longer than [`MAX_LINE`].
    pub cut: bool,
}

impl<R: Read> Lines<R> {
    pub fn new(source: R) -> Lines<R> {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Lines { source, buffer, start: 0, end: 0, ended: false, read: 0, number: 0, beginning: Vec::new() }
    }

    /// Octets read so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The next line; `None` at the end. The last line may lack its newline.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(found) = memchr::memchr(b'\n', &unread[searched..]) {
                let length = searched + found;
                if length > MAX_LINE {
                    return self.give_cut().map(Some);
                }
                return Ok(Some(self.give(length, 1)));
            }
            searched = unread.len();
            if searched > MAX_LINE {
                return self.give_cut().map(Some);
            }
            if self.ended {
                return Ok((searched > 0).then(|| self.give(searched, 0)));
            }
            self.fill()?;
        }
    }

    fn give(&mut self, length: usize, newline: usize) -> Line<'_> {
        let start = self.start;
        self.start += length + newline;
        self.number += 1;
        Line { number: self.number, content: &self.buffer[start..start + length], cut: false }
    }

    /// Passes the rest of a line that is too long.
    fn give_cut(&mut self) -> io::Result<Line<'_>> {
        self.beginning.clear();
        self.beginning.extend_from_slice(&self.buffer[self.start..self.start + BEGINNING]);
        loop {
            if let Some(found) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
                self.start += found + 1;
                break;
            }
            self.start = self.end;
            if self.ended {
                break;
            }
            self.fill()?;
        }
        self.number += 1;
        Ok(Line { number: self.number, content: &self.beginning, cut: true })
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.end += n;
                    self.read += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives a few octets a read, as pipes do.
    struct Dribble<'d>(&'d [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn all(text: &[u8], piece: usize) -> Vec<(u64, Vec<u8>, bool)> {
        let mut lines = Lines::new(Dribble(text, piece));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.content.to_vec(), line.cut));
        }
        all
    }

    proptest! {
        #[test]
        fn lines_are_what_stands_between_newlines(text in "[ab\n]{0,40}", piece in 1..20_usize) {
            let read = all(text.as_bytes(), piece);
            let expected: Vec<_> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(read.into_iter().map(|(_, line, _)| line).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_line_of_ten_megabytes_is_passed_in_bounded_memory_and_the_next_one_is_read() {
        for piece in [1000, 70_000, usize::MAX] {
            let text =
                [b"a\n", &[b'x'; 10_000_000][..], b"\nb\n", &[b'y'; MAX_LINE], b"\n", &[b'z'; MAX_LINE + 1]].concat();
            let read = all(&text, piece);
            let numbers: Vec<_> = read.iter().map(|(number, line, cut)| (*number, line.len(), *cut)).collect();
            let expected =
                [(1, 1, false), (2, BEGINNING, true), (3, 1, false), (4, MAX_LINE, false), (5, BEGINNING, true)];
            assert_eq!(numbers, expected);
        }
    }
}
