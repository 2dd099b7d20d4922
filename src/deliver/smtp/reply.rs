//! Reading replies (RFC 5321 §4.2): octets in, replies out, no I/O.
//!
//! Forgiving where a relay is merely sloppy: bare LF, a code with nothing behind it, text in any character set. Strict
//! where believing it would be a guess: no code, codes that change within one reply, lines and replies without end.
//! Replies that nobody will read cost no allocation: the text buffer is used again.

use crate::mail::Reply;

/// RFC 5321 §4.5.3.1.5 allows 512 octets; some relays say more.
pub(crate) const MAX_LINE: usize = 4 * 1024;
/// All lines of one reply.
pub(crate) const MAX_REPLY: usize = 64 * 1024;

/// What came is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Nonsense {
    #[error("not a reply: {0:?}")]
    NoCode(String),
    #[error("one reply with the codes {0} and {1}")]
    Mixed(u16, u16),
    #[error("a reply line of more than 4 KiB")]
    LongLine,
    #[error("a reply of more than 64 KiB")]
    LongReply,
}

/// One reply at a time: [`ReplyParser::advance`] until it says done, then [`ReplyParser::code`] and the text, which stay
/// until the next `advance`.
#[derive(Debug, Default)]
pub(crate) struct ReplyParser {
    code: u16,
    /// The lines' text, each ended by LF.
    text: Vec<u8>,
    total: usize,
    /// Between the lines of one reply.
    open: bool,
}

impl ReplyParser {
    /// Takes complete lines off the front of `input`, at most to the end of one reply. Returns how many octets it took
    /// and whether the reply is complete. What is left must be given again, with more behind it.
    pub fn advance(&mut self, input: &[u8]) -> Result<(usize, bool), Nonsense> {
        if !self.open {
            self.text.clear();
            (self.code, self.total) = (0, 0);
        }
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(MAX_LINE)]) else {
                return if rest.len() >= MAX_LINE { Err(Nonsense::LongLine) } else { Ok((taken, false)) };
            };
            taken += end + 1;
            self.total += end + 1;
            if self.total > MAX_REPLY {
                return Err(Nonsense::LongReply);
            }
            let last = self.line(&rest[..end])?;
            self.open = !last;
            if last {
                return Ok((taken, true));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<bool, Nonsense> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, last, text) = match *line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..] => {
                let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                match *rest {
                    [] => (code, true, &b""[..]),
                    [b' ', ref text @ ..] => (code, true, text),
                    [b'-', ref text @ ..] => (code, false, text),
                    _ => return Err(no_code(line)),
                }
            }
            _ => return Err(no_code(line)),
        };
        if self.open && code != self.code {
            return Err(Nonsense::Mixed(self.code, code));
        }
        self.code = code;
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
        Ok(last)
    }

    pub fn code(&self) -> u16 {
        self.code
    }

    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|&octet| octet == b'\n')
    }

    /// The reply as something to keep.
    pub fn reply(&self) -> Reply {
        Reply::new(self.code, &text(self.text.trim_ascii_end()))
    }
}

fn no_code(line: &[u8]) -> Nonsense {
    Nonsense::NoCode(text(&line[..line.len().min(80)]))
}

/// UTF-8 if it is; else each octet as Latin-1 has it.
fn text(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Answers = (Vec<Reply>, Option<Nonsense>);

    /// Feeds the chunks as a connection would: what was not taken is given again.
    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Answers {
        let (mut parser, mut pending, mut replies) = (ReplyParser::default(), Vec::new(), Vec::new());
        for chunk in chunks {
            pending.extend_from_slice(chunk);
            loop {
                match parser.advance(&pending) {
                    Ok((taken, done)) => {
                        pending.drain(..taken);
                        if !done {
                            break;
                        }
                        replies.push(parser.reply());
                    }
                    Err(nonsense) => return (replies, Some(nonsense)),
                }
            }
        }
        (replies, None)
    }

    fn one(input: &[u8]) -> Reply {
        let (mut replies, nonsense) = read([input]);
        assert_eq!((replies.len(), &nonsense), (1, &None), "{}", input.escape_ascii());
        replies.remove(0)
    }

    fn wrong(input: &[u8]) -> Nonsense {
        let (replies, nonsense) = read([input]);
        assert!(replies.is_empty(), "{replies:?}");
        nonsense.expect("nonsense")
    }

    #[test]
    fn a_reply_is_a_code_and_the_text_of_all_its_lines() {
        assert_eq!(one(b"250 2.1.5 Ok\r\n"), Reply::new(250, "2.1.5 Ok"));
        assert_eq!(one(b"550-5.1.1 no\r\n550-such\r\n550 user\r\n"), Reply::new(550, "5.1.1 no such user"));
    }

    #[test]
    fn sloppy_relays_are_understood() {
        assert_eq!(one(b"250\r\n"), Reply::new(250, ""));
        assert_eq!(one(b"250-\r\n250\r\n"), Reply::new(250, ""));
        assert_eq!(one(b"250 bare line feed\n"), Reply::new(250, "bare line feed"));
        assert_eq!(one(b"550 Empf\xe4nger unbekannt\r\n"), Reply::new(550, "Empfänger unbekannt"));
        assert_eq!(one("550 Empfänger\r\n".as_bytes()), Reply::new(550, "Empfänger"));
    }

    #[test]
    fn several_replies_in_one_read_are_taken_one_by_one() {
        let (replies, nonsense) = read([&b"250 a\r\n450-b\r\n450 c\r\n354 d\r\n25"[..]]);
        assert_eq!(replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [250, 450, 354]);
        assert_eq!(nonsense, None);
    }

    #[test]
    fn what_is_no_reply_is_not_guessed_at() {
        for input in [&b"\r\n"[..], b"hello\r\n", b"25\r\n", b"2500 x\r\n", b"199 x\r\n", b"650 x\r\n", b"2x0 x\r\n"] {
            assert!(matches!(wrong(input), Nonsense::NoCode(_)), "{}", input.escape_ascii());
        }
        assert_eq!(wrong(b"250-a\r\n550 b\r\n"), Nonsense::Mixed(250, 550));
    }

    #[test]
    fn lines_and_replies_without_end_are_cut_off() {
        assert_eq!(wrong(&[b'2'; MAX_LINE]), Nonsense::LongLine);
        assert_eq!(wrong(&b"250-no end in sight\r\n".repeat(MAX_REPLY / 20)), Nonsense::LongReply);
        let mut longest = b"250 ".to_vec();
        longest.resize(MAX_LINE - 2, b'x');
        longest.extend_from_slice(b"\r\n");
        assert_eq!(one(&longest).code, 250);
    }

    proptest! {
        #[test]
        fn any_octets_cut_anyhow_give_the_same_replies(
            input in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "((250|550|354|42)[- ]?[a-z é\\.]{0,9}(\r\n|\n|\r)?){0,20}".prop_map(String::into_bytes),
                (1usize..6000).prop_map(|n| [b"250-".to_vec(), vec![b'x'; n], b"\r\n250 y\r\n".to_vec()].concat()),
            ],
            cuts in proptest::collection::vec(1usize..50, 1..20),
        ) {
            let mut chunks = Vec::new();
            let (mut rest, mut cuts) = (&input[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                chunks.push(chunk);
                rest = behind;
            }
            prop_assert_eq!(read(chunks), read([&input[..]]));
        }
    }
}
