//! A failure report: what a message's sender is told of recipients that it could not be delivered to.
//!
//! A `multipart/report` (RFC 6522) of three parts: a text for people, a `message/delivery-status` (RFC 3464) with one group
//! a recipient for list managers, which take bouncing members off by it, and the message's header. All of it is 7-bit, so
//! that every relay takes it; an address outside ASCII is written as RFC 6533 §3 says.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use lettre::message::header::{ContentTransferEncoding, ContentType, Date, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Body, MultiPart, SinglePart};

use super::head;
use crate::mail::{Epoch, MessageId, ReversePath};

/// What a report is about.
pub struct About<'a> {
    /// The message, and the report itself.
    pub message: &'a MessageId,
    pub report: &'a MessageId,
    /// The message's envelope sender, who is told.
    pub sender: &'a str,
    /// The message without the spool's own lines.
    pub original: &'a [u8],
    /// The host that tells.
    pub host: &'a str,
    pub now: Epoch,
}

/// A recipient that failed for good.
pub struct Failed<'a> {
    pub recipient: &'a str,
    /// The relay's URL.
    pub relay: &'a str,
    pub code: u16,
    /// RFC 3463.
    pub status: Option<&'a str>,
    pub text: &'a str,
    /// Unix seconds.
    pub time: u64,
}

/// Of the message's header, that go along.
const MAX_HEADER: usize = 64 * 1024;
/// RFC 5322 §2.1.1 recommends no longer lines.
const WIDTH: usize = 78;

/// Makes the report, with the spool's own lines in front: its envelope sender is null, so nothing is ever reported of it.
pub fn render(about: &About, failed: &[Failed]) -> Vec<u8> {
    let mut report = MultiPart::mixed().build();
    let kind = format!("multipart/report; report-type=delivery-status; boundary=\"{}\"", report.boundary());
    let kind = content_type(&kind);
    report = report
        .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(for_people(about, failed)))
        .singlepart(
            SinglePart::builder()
                .header(content_type("message/delivery-status"))
                .body(as_it_is(&delivery_status(about, failed))),
        )
        .singlepart(match String::from_utf8(header(about.original).to_vec()) {
            Ok(text) => SinglePart::builder().header(content_type("text/rfc822-headers")).body(text),
            Err(error) => SinglePart::builder().header(content_type("text/rfc822-headers")).body(error.into_bytes()),
        });
    let headers = report.headers_mut();
    headers.set(kind);
    headers.set(MIME_VERSION_1_0);
    headers.set(Date::from(UNIX_EPOCH + Duration::from_secs(about.now.0)));
    let domain = about.message.domain();
    let subject = format!("Not delivered to {} of {}", recipients(failed.len()), about.message.list());
    for (name, value) in [
        ("From", format!("<MAILER-DAEMON@{domain}>")),
        ("To", format!("<{}>", about.sender)),
        ("Subject", subject),
        ("Message-ID", format!("<{}>", about.report)),
        // RFC 3834 §5: nobody's vacation program answers.
        ("Auto-Submitted", "auto-replied".to_owned()),
    ] {
        let name = HeaderName::new_from_ascii(name.to_owned()).expect("a field's name");
        headers.insert_raw(HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value));
    }
    let own = head::SpoolHead {
        sender: Some(ReversePath::Null),
        recipients_total: Some(1),
        packets_total: Some(1),
        not_after: None,
    };
    [head::print(&own), report.formatted()].concat()
}

/// RFC 3464 §2.1 wants this part unencoded, also where an address makes a line longer than a library likes.
fn as_it_is(text: &str) -> Body {
    Body::dangerous_pre_encoded(text.replace('\n', "\r\n").into_bytes(), ContentTransferEncoding::SevenBit)
}

fn content_type(text: &str) -> ContentType {
    ContentType::parse(text).expect("a media type as RFC 2045 has it")
}

fn recipients(count: usize) -> String {
    if count == 1 { "1 recipient".to_owned() } else { format!("{count} recipients") }
}

fn for_people(about: &About, failed: &[Failed]) -> String {
    let mut text = format!(
        "A message to {} could not be delivered to\n{}, and is not sent to them again.\n\nIts id is {}.\n",
        about.message.list(),
        recipients(failed.len()),
        about.message
    );
    for Failed { recipient, relay, code, text: reply, .. } in failed {
        let _ = write!(text, "\n{recipient}\n    {code} {reply} ({relay})\n");
    }
    text
}

fn delivery_status(about: &About, failed: &[Failed]) -> String {
    let mut text = String::new();
    field(&mut text, "Reporting-MTA", &format!("dns; {}", about.host));
    field(&mut text, "Original-Envelope-Id", about.message.as_str());
    field(&mut text, "Arrival-Date", &date(about.message.arrival().0));
    for failed in failed {
        text.push('\n');
        field(&mut text, "Final-Recipient", &address(failed.recipient));
        field(&mut text, "Action", "failed");
        let status = failed.status.filter(|status| status.is_ascii());
        field(&mut text, "Status", status.unwrap_or(if failed.code / 100 == 4 { "4.0.0" } else { "5.0.0" }));
        if let Some(host) = host(failed.relay) {
            field(&mut text, "Remote-MTA", &format!("dns; {host}"));
        }
        field(&mut text, "Diagnostic-Code", &format!("smtp; {} {}", failed.code, failed.text));
        field(&mut text, "Last-Attempt-Date", &date(failed.time));
    }
    text
}

/// One field, folded at blanks, in ASCII.
fn field(text: &mut String, name: &str, value: &str) {
    let _ = write!(text, "{name}:");
    let mut width = name.len() + 1;
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if width + 1 + word.len() > WIDTH && width > name.len() + 1 {
            text.push('\n');
            width = 0;
        }
        text.push(' ');
        text.extend(word.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }));
        width += 1 + word.len();
    }
    text.push('\n');
}

/// RFC 3464 §2.3.2, and RFC 6533 §3 (utf-8-addr-xtext) for what is outside ASCII.
fn address(recipient: &str) -> String {
    if recipient.is_ascii() {
        return format!("rfc822; {recipient}");
    }
    let mut text = String::from("utf-8; ");
    for c in recipient.chars() {
        if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
            text.push(c);
        } else {
            let _ = write!(text, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    text
}

/// Of a relay's URL, if it has one.
fn host(relay: &str) -> Option<&str> {
    let (scheme, rest) = relay.split_once("://")?;
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty())?;
    let host = match authority.strip_prefix('[') {
        Some(_) => authority.split_inclusive(']').next()?,
        None => authority.split(':').next()?,
    };
    matches!(scheme, "smtp" | "smtps" | "lmtp").then_some(host)
}

fn date(seconds: u64) -> String {
    let timestamp = Timestamp::from_second(seconds.try_into().unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    rfc2822::to_string(&timestamp.to_zoned_datetime(TimeZone::UTC)).unwrap_or_else(|_| seconds.to_string())
}

/// The message's header, up to a length that a mailbox takes, in whole lines.
fn header(message: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in message.split_inclusive(|&b| b == b'\n') {
        if matches!(line, b"\n" | b"\r\n") || end + line.len() > MAX_HEADER {
            break;
        }
        end += line.len();
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailparse::MailHeaderMap;

    fn report(original: &[u8], failed: &[Failed]) -> Vec<u8> {
        let about = About {
            message: &"my-list@my.dom.1192613090.972".parse().unwrap(),
            report: &"my-list+report-1@my.dom.1192613090.972".parse().unwrap(),
            sender: "my-list-owner@my.dom",
            original,
            host: "lists.my.dom",
            now: Epoch(1192613691),
        };
        render(&about, failed)
    }

    fn failed<'a>(recipient: &'a str, text: &'a str) -> Failed<'a> {
        Failed { recipient, relay: "smtp://[::1]:2525", code: 550, status: Some("5.1.1"), text, time: 1192613690 }
    }

    #[test]
    fn a_report_is_what_list_managers_read() {
        let original = b"From: a@b.org\nSubject: Hello\nX: \xff\n\nthe body\n";
        let long = format!("5.1.1 {}", "nobody of that name lives here ".repeat(9));
        let endless = format!("{}@y.org", "k=y".repeat(20));
        let all = [failed("x@y.org", "5.1.1 unknown"), failed("p\u{fc}@y.org", &long), failed(&endless, &endless)];
        let report = report(original, &all);
        let (head, rest) = head::split(&report).unwrap();
        assert_eq!(head.sender, Some(ReversePath::Null));
        assert!(rest.is_ascii() && rest.split(|&b| b == b'\n').all(|line| line.len() < 998));
        let mail = mailparse::parse_mail(rest).unwrap();
        assert_eq!(mail.headers.get_first_value("To").unwrap(), "<my-list-owner@my.dom>");
        assert_eq!(mail.headers.get_first_value("Auto-Submitted").unwrap(), "auto-replied");
        assert_eq!(mail.ctype.mimetype, "multipart/report");
        assert_eq!(mail.ctype.params["report-type"], "delivery-status");
        let kinds: Vec<_> = mail.subparts.iter().map(|part| part.ctype.mimetype.as_str()).collect();
        assert_eq!(kinds, ["text/plain", "message/delivery-status", "text/rfc822-headers"]);
        assert!(mail.subparts[0].get_body().unwrap().contains("p\u{fc}@y.org"));
        // Some readers don't decode this part.
        assert_eq!(mail.subparts[1].headers.get_first_value("Content-Transfer-Encoding").unwrap(), "7bit");
        let status = String::from_utf8(mail.subparts[1].get_body_raw().unwrap())
            .unwrap()
            .replace("\r\n", "\n")
            .replace("\n ", " ");
        let groups: Vec<&str> = status.trim_end().split("\n\n").collect();
        assert_eq!(groups.len(), 4);
        assert!(groups[3].contains(&endless), "{}", groups[3]);
        assert_eq!(
            groups[0],
            "Reporting-MTA: dns; lists.my.dom\nOriginal-Envelope-Id: my-list@my.dom.1192613090.972\n\
             Arrival-Date: Wed, 17 Oct 2007 09:24:50 +0000"
        );
        assert_eq!(
            groups[1],
            "Final-Recipient: rfc822; x@y.org\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; [::1]\n\
             Diagnostic-Code: smtp; 550 5.1.1 unknown\nLast-Attempt-Date: Wed, 17 Oct 2007 09:34:50 +0000"
        );
        assert!(groups[2].starts_with("Final-Recipient: utf-8; p\\x{FC}@y.org\n"), "{}", groups[2]);
        assert!(groups[2].contains(long.trim()), "{}", groups[2]);
        let header = mail.subparts[2].get_body_raw().unwrap();
        assert_eq!(header, b"From: a@b.org\nSubject: Hello\nX: \xff\n");
    }

    #[test]
    fn a_header_without_end_goes_along_in_part() {
        let lines = "X-Long: 0123456789\n".repeat(10_000);
        assert_eq!(header(lines.as_bytes()).len(), MAX_HEADER / 19 * 19);
        assert_eq!(header(&[b'x'; 100_000]), b"");
        assert_eq!(header(b""), b"");
        report(b"", &[failed("x@y.org", "")]);
    }

    #[test]
    fn a_relay_has_a_host_or_none() {
        assert_eq!(host("smtps://mail.example.org"), Some("mail.example.org"));
        assert_eq!(host("lmtp:///run/lmtp"), None);
        assert_eq!(host("maildir:/var/mail"), None);
    }
}
