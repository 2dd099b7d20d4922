//! What a relay says it can do: the answer to EHLO or LHLO (RFC 5321 §4.1.1.1), read without caring for case.

/// See the module. All absent is what HELO gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(dead_code, reason = "ENHANCEDSTATUSCODES and DSN are read for the log; nothing depends on them yet")]
pub(crate) struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: offered at all, so that MAIL may say a size.
    pub size: bool,
    /// RFC 1870: the biggest message, in octets.
    pub max_size: Option<u64>,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4954, those spoken here.
    pub auth_plain: bool,
    pub auth_login: bool,
    /// RFC 2034.
    pub enhanced_status: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 9422: recipients a transaction.
    pub rcpt_max: Option<usize>,
    /// RFC 9422: transactions a connection.
    pub mail_max: Option<u64>,
}

impl Capabilities {
    /// Reads the lines of a 250 answer; the first is a greeting.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Capabilities {
        let mut found = Capabilities::default();
        for line in lines.skip(1) {
            // A keyword is ASCII by grammar; a line that isn't text announces nothing known.
            let Ok(line) = std::str::from_utf8(line) else { continue };
            found.line(line);
        }
        found
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let Some(keyword) = words.next() else { return };
        let keyword = keyword.to_ascii_uppercase();
        match keyword.as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = true;
                // RFC 1870 §4: 0 is no limit.
                self.max_size = words.next().and_then(|word| word.parse().ok()).filter(|&size| size > 0);
            }
            "8BITMIME" => self.eight_bit = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "STARTTLS" => self.starttls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status = true,
            "DSN" => self.dsn = true,
            "AUTH" => self.mechanisms(words),
            "LIMITS" => words.for_each(|limit| self.limit(limit)),
            // The draft before RFC 2554; some relays still say it beside the right one.
            _ => {
                if let Some(first) = keyword.strip_prefix("AUTH=") {
                    self.mechanisms(std::iter::once(first).chain(words));
                }
            }
        }
    }

    fn mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            self.auth_plain |= word.eq_ignore_ascii_case("PLAIN");
            self.auth_login |= word.eq_ignore_ascii_case("LOGIN");
        }
    }

    fn limit(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else { return };
        // RFC 9422 §4.1: a limit is at least 1.
        let Some(value) = value.parse::<usize>().ok().filter(|&value| value > 0) else { return };
        if name.eq_ignore_ascii_case("RCPTMAX") {
            self.rcpt_max = Some(value);
        } else if name.eq_ignore_ascii_case("MAILMAX") {
            self.mail_max = u64::try_from(value).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Capabilities {
        Capabilities::read(text.split('\n').map(str::as_bytes))
    }

    #[test]
    fn capabilities_are_read_in_any_case() {
        let all = read(
            "relay.example.org greets you\npipelining\nSize 1000\n8BITMIME\nSmtpUtf8\nSTARTTLS\nAUTH CRAM-MD5 plain LOGIN\n\
             ENHANCEDSTATUSCODES\nDSN\nLIMITS MAILMAX=5 rcptmax=20 RCPTDOMAINMAX=1",
        );
        let expected = Capabilities {
            pipelining: true,
            size: true,
            max_size: Some(1000),
            eight_bit: true,
            smtputf8: true,
            starttls: true,
            auth_plain: true,
            auth_login: true,
            enhanced_status: true,
            dsn: true,
            rcpt_max: Some(20),
            mail_max: Some(5),
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn the_greeting_line_announces_nothing() {
        assert_eq!(read("PIPELINING"), Capabilities::default());
    }

    #[test]
    fn absent_zero_and_senseless_limits_are_no_limits() {
        let odd = read("x\nSIZE 0\nLIMITS RCPTMAX=0 MAILMAX=many RCPTMAX\nAUTH\nAUTH=LOGIN\n\u{e9}");
        assert_eq!(odd, Capabilities { size: true, auth_login: true, ..Capabilities::default() });
        assert_eq!(read("x\nSIZE").max_size, None);
    }
}
