//! Failure reports, as the message's sender gets them.

use std::collections::HashSet;

use mailparse::{MailHeaderMap, ParsedMail};

/// One report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub to: String,
    /// The id of the message that it is about.
    pub about: String,
    pub failed: Vec<Failed>,
    /// The message's header.
    pub header: String,
}

/// What it says of one recipient.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Failed {
    pub recipient: String,
    pub status: String,
    /// The reply's text, with its code.
    pub reply: String,
}

/// Takes a report apart as RFC 3464 has it. Panics about what is none.
pub fn read(mail: &[u8]) -> Report {
    let mail = mailparse::parse_mail(mail).unwrap();
    assert_eq!(mail.ctype.mimetype, "multipart/report");
    let [_for_people, status, header] = &mail.subparts[..] else { panic!("{} parts", mail.subparts.len()) };
    assert_eq!(status.ctype.mimetype, "message/delivery-status");
    assert_eq!(header.ctype.mimetype, "text/rfc822-headers");
    let text = |part: &ParsedMail| part.get_body().unwrap().replace("\r\n", "\n");
    let status = text(status);
    let mut groups = status.split("\n\n").filter(|group| !group.trim().is_empty());
    let of_the_message = fields(groups.next().expect("fields of the message"));
    let failed = groups.map(|group| {
        let fields = fields(group);
        assert_eq!(fields.get_first_value("Action").unwrap(), "failed");
        let value = |name: &str| fields.get_first_value(name).unwrap_or_else(|| panic!("no {name}: {group}"));
        let behind_type = |name: &str| value(name).split_once("; ").unwrap().1.to_owned();
        Failed {
            recipient: behind_type("Final-Recipient"),
            status: value("Status"),
            reply: behind_type("Diagnostic-Code"),
        }
    });
    Report {
        to: mail.headers.get_first_value("To").unwrap(),
        about: of_the_message.get_first_value("Original-Envelope-Id").unwrap(),
        failed: failed.collect(),
        header: text(header),
    }
}

fn fields(group: &str) -> Vec<mailparse::MailHeader<'_>> {
    mailparse::parse_headers(group.as_bytes()).unwrap().0
}

/// Who, by these reports, failed of that message, in order. Panics if somebody is reported twice.
pub fn failed<'m>(reports: impl IntoIterator<Item = &'m Vec<u8>>, message: &str) -> Vec<Failed> {
    let reports = reports.into_iter().map(|mail| read(mail)).filter(|report| report.about == message);
    let mut failed: Vec<Failed> = reports.flat_map(|report| report.failed).collect();
    failed.sort();
    let mut seen = HashSet::new();
    for Failed { recipient, .. } in &failed {
        assert!(seen.insert(recipient), "{recipient} is reported twice");
    }
    failed
}

/// The same by address alone.
pub fn failed_recipients<'m>(reports: impl IntoIterator<Item = &'m Vec<u8>>, message: &str) -> HashSet<String> {
    failed(reports, message).into_iter().map(|failed| failed.recipient).collect()
}
