//! Failure reports, as the message's sender gets them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use mailparse::{MailHeaderMap, ParsedMail};
use sympa_dist::mail::Priority;
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::failures;

use super::spool::TestSpool;

/// One report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The report's own.
    pub id: String,
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
        id: mail.headers.get_first_value("Message-ID").unwrap(),
        to: mail.headers.get_first_value("To").unwrap(),
        about: of_the_message.get_first_value("Original-Envelope-Id").unwrap(),
        failed: failed.collect(),
        header: text(header),
    }
}

fn fields(group: &str) -> Vec<mailparse::MailHeader<'_>> {
    mailparse::parse_headers(group.as_bytes()).unwrap().0
}

/// Who, by these reports, failed of that message, in order. The same report may have come several times; panics if two
/// reports name one recipient.
pub fn failed<'m>(reports: impl IntoIterator<Item = &'m Vec<u8>>, message: &str) -> Vec<Failed> {
    let reports = reports.into_iter().map(|mail| read(mail)).filter(|report| report.about == message);
    let by_id: BTreeMap<String, Report> = reports.map(|report| (report.id.clone(), report)).collect();
    let mut failed: Vec<Failed> = by_id.into_values().flat_map(|report| report.failed).collect();
    failed.sort();
    let mut seen = HashSet::new();
    for Failed { recipient, .. } in &failed {
        assert!(seen.insert(recipient), "{recipient} is reported twice");
    }
    failed
}

/// The recipients of the message of that name who failed for good so far, as its folder says. Nobody works on it meanwhile.
pub fn failed_so_far(spool: &TestSpool, name: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for folder in folders(spool).filter(|folder| folder.ends_with(name)) {
        let folder = Disk::default().open_root(&folder).unwrap();
        found.extend(failures::read(&folder).unwrap().into_iter().map(|failure| failure.recipient));
    }
    found
}

/// Reports that wait in the spool, or that could not be delivered.
pub fn in_spool(spool: &TestSpool) -> Vec<Vec<u8>> {
    let is_report = |folder: &PathBuf| folder.to_string_lossy().contains("+report-");
    folders(spool).filter(is_report).map(|folder| std::fs::read(folder.join("message")).unwrap()).collect()
}

fn folders(spool: &TestSpool) -> impl Iterator<Item = PathBuf> {
    let places = Priority::all().map(|priority| spool.at(priority.dir_name())).chain([spool.path().join("bad")]);
    let entries = places.flat_map(|place| std::fs::read_dir(place).unwrap());
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
}
