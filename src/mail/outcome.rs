//! What became of one recipient.

use std::fmt;

/// An enhanced status code, RFC 3463: class, subject, detail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EnhancedStatus {
    pub class: u8,
    pub subject: u16,
    pub detail: u16,
}

impl EnhancedStatus {
    pub const fn new(class: u8, subject: u16, detail: u16) -> EnhancedStatus {
        EnhancedStatus { class, subject, detail }
    }

    /// Reads `5.1.1` at the start of a reply's text; what follows must be blank or nothing. Classes other than 2, 4
    /// and 5 are not defined.
    pub fn parse(text: &str) -> Option<EnhancedStatus> {
        let word = text.split_ascii_whitespace().next()?;
        let mut parts = word.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let mut number = || {
            let part = parts.next()?;
            if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            part.parse::<u16>().ok()
        };
        let (subject, detail) = (number()?, number()?);
        parts.next().is_none().then_some(EnhancedStatus { class, subject, detail })
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A relay's answer, or this program's own in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// RFC 5321 §4.2 reply code.
    pub code: u16,
    /// Only where its class matches the code's first digit; otherwise the basic code decides (RFC 3463 §3.1).
    pub enhanced: Option<EnhancedStatus>,
    /// All lines' text, joined by a blank, printable, cut to a bounded length.
    pub text: Box<str>,
}

impl Reply {
    /// Makes a reply from a code and its text. The text is made printable and an enhanced status is read off its front.
    pub fn new(code: u16, text: &str) -> Reply {
        /// RFC 5321 §4.5.3.1.5 allows 512 octets a line; several lines are cut to about that as well.
        const MAX_TEXT: usize = 512;
        let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect();
        clean.truncate(clean.trim_end().len());
        let enhanced = EnhancedStatus::parse(&clean).filter(|e| u16::from(e.class) == code / 100);
        Reply { code, enhanced, text: clean.into() }
    }

    pub fn is_positive(&self) -> bool {
        matches!(self.code / 100, 2 | 3)
    }

    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// What became of one recipient in one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The relay has taken the message for this recipient: it is the relay's now.
    Sent,
    /// Not now (4xx): to be tried again later.
    Deferred(Box<Reply>),
    /// Never (5xx).
    Failed(Box<Reply>),
    /// The relay took no more recipients in this transaction (452, RFC 5321 §4.5.3.1.10): send to this one in a new
    /// transaction at once. Nobody behind this one in the transaction was sent to.
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enhanced_status_counts_only_if_its_class_is_the_codes() {
        assert_eq!(Reply::new(550, "5.1.1 no such user").enhanced, Some(EnhancedStatus::new(5, 1, 1)));
        assert_eq!(Reply::new(450, "5.1.1 confused").enhanced, None);
        assert_eq!(Reply::new(250, "2.0.0").enhanced, Some(EnhancedStatus::new(2, 0, 0)));
        for text in ["", "5.1", "5.1.1.1 x", "5.1111.1", "3.1.1", "5.a.1", "5..1"] {
            assert_eq!(EnhancedStatus::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_replys_text_is_printable_and_bounded() {
        let reply = Reply::new(550, &format!("a\r\n\x1b[31mb{}", "x".repeat(10_000)));
        assert!(reply.text.starts_with("a   [31mb") && reply.text.len() <= 512);
    }
}
