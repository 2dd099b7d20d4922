//! A maildir as a relay: one file a recipient, for trying things out and for hosts that fetch their mail themselves.
//!
//! It promises: a name in `new/` is a whole message, on disk. All copies of a transaction are written and synced in
//! `tmp/` first; only then do they move to `new/`, which takes the place of SMTP's final dot. A crash before leaves
//! files in `tmp/` (readers of maildirs clear them after 36 hours) and nobody got anything; one in the middle of the
//! moves leaves some recipients with their copy.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{BeforeDot, Connection, Interrupt, Proceed, Receipt, Refusals, Relay, Trouble};
use crate::mail::{Body, Envelope, Outcome, Reply};

/// See the module.
pub struct MaildirRelay {
    name: String,
    directory: PathBuf,
}

struct Maildir {
    name: String,
    directory: PathBuf,
    host: String,
}

impl MaildirRelay {
    pub(super) fn new(directory: PathBuf) -> MaildirRelay {
        MaildirRelay { name: format!("maildir:{}", directory.display()), directory }
    }
}

impl Relay for MaildirRelay {
    fn name(&self) -> &str {
        &self.name
    }

    fn connect(&self, _interrupt: &Interrupt) -> Result<Box<dyn Connection>, Trouble> {
        for folder in ["tmp", "new", "cur"] {
            let path = self.directory.join(folder);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| unavailable(&self.name, "cannot create the maildir", &path, &error))?;
        }
        let host = rustix::system::uname().nodename().to_string_lossy().replace('/', "\\057").replace(':', "\\072");
        Ok(Box::new(Maildir { name: self.name.clone(), directory: self.directory.clone(), host }))
    }
}

fn unavailable(relay: &str, doing: &'static str, path: &Path, error: &io::Error) -> Trouble {
    Trouble::Unavailable { relay: relay.to_owned(), doing, why: format!("{}: {error}", path.display()), reply: None }
}

/// Files in `tmp/` that are removed again unless they were moved.
struct Drafts(Vec<(PathBuf, PathBuf)>);

impl Drop for Drafts {
    fn drop(&mut self) {
        for (draft, _) in &self.0 {
            let _ = std::fs::remove_file(draft);
        }
    }
}

impl Connection for Maildir {
    fn deliver_with(
        &mut self,
        envelope: &Envelope<'_>,
        body: &Body,
        interrupt: &Interrupt,
        before_dot: &mut BeforeDot<'_>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble> {
        outcomes.clear();
        let message = super::sendmail::with_lf(body);
        let mut drafts = Drafts(Vec::with_capacity(envelope.recipients.len()));
        for recipient in envelope.recipients {
            if interrupt.is_raised() {
                return Err(Trouble::Interrupted { relay: self.name.clone() });
            }
            let unique = self.unique();
            let draft = self.directory.join("tmp").join(&unique);
            let written = write_draft(&draft, envelope, recipient, &message, &mut drafts, || {
                self.directory.join("new").join(&unique)
            });
            written.map_err(|error| unavailable(&self.name, "cannot write", &draft, &error))?;
        }
        let new = self.directory.join("new");
        let folder =
            File::open(&new).map_err(|error| unavailable(&self.name, "cannot open the maildir", &new, &error))?;
        if before_dot(Refusals::None) == Proceed::No {
            return Err(Trouble::Interrupted { relay: self.name.clone() });
        }
        for i in 0..drafts.0.len() {
            let (draft, final_name) = &drafts.0[i];
            if let Err(error) = renameat_with(CWD, draft, CWD, final_name, RenameFlags::NOREPLACE) {
                let trouble = unavailable(&self.name, "cannot move to new/", draft, &error.into());
                if i == 0 {
                    return Err(trouble);
                }
                return Err(Trouble::Uncertain { relay: self.name.clone(), why: trouble.to_string() });
            }
            outcomes.push(Outcome::Sent);
        }
        drafts.0.clear();
        if let Err(error) = folder.sync_all() {
            outcomes.clear();
            let why = format!("cannot sync {}: {error}", new.display());
            return Err(Trouble::Uncertain { relay: self.name.clone(), why });
        }
        Ok(Receipt { reply: Reply::new(250, &format!("2.0.0 {} files written", outcomes.len())), about_all: false })
    }

    fn is_stale(&mut self) -> bool {
        false
    }

    fn close(self: Box<Self>) {}
}

impl Maildir {
    /// Time, process and a counter, then the host: what no other file in any maildir is called.
    fn unique(&self) -> String {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        format!("{}.M{}P{}Q{count}.{}", now.as_secs(), now.subsec_micros(), std::process::id(), self.host)
    }
}

fn write_draft(
    draft: &Path,
    envelope: &Envelope<'_>,
    recipient: &str,
    message: &[u8],
    drafts: &mut Drafts,
    final_name: impl FnOnce() -> PathBuf,
) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    drafts.0.push((draft.to_owned(), final_name()));
    let mut text = Vec::with_capacity(message.len() + 600);
    writeln!(text, "Return-Path: {}", envelope.sender)?;
    writeln!(text, "Delivered-To: {recipient}")?;
    text.extend_from_slice(message);
    file.write_all(&text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReversePath;

    fn body(wire: &[u8]) -> Body {
        Body { wire: wire.to_vec(), eight_bit: false, utf8_header: false, long_line: None }
    }

    fn files(directory: &Path) -> Vec<String> {
        let mut texts: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        texts.sort();
        texts
    }

    #[test]
    fn each_recipient_gets_a_file_that_says_from_whom_and_for_whom() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("deep/maildir");
        let relay = MaildirRelay::new(directory.clone());
        let interrupt = Interrupt::new().unwrap();
        let mut connection = relay.connect(&interrupt).unwrap();
        let sender = ReversePath::Address("list-owner@example.org".parse().unwrap());
        let envelope = Envelope { sender: &sender, recipients: &["a@example.org", "b@example.org"] };
        let mut outcomes = Vec::new();
        let message = body(b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n");
        let receipt = connection.deliver(&envelope, &message, &interrupt, &mut outcomes).unwrap();
        assert_eq!(receipt.reply.code, 250);
        assert_eq!(outcomes, [Outcome::Sent, Outcome::Sent]);
        let text = |to: &str| {
            format!("Return-Path: <list-owner@example.org>\nDelivered-To: {to}@example.org\nSubject: x\n\n.dot\nend\n")
        };
        assert_eq!(files(&directory.join("new")), [text("a"), text("b")]);
        assert_eq!(files(&directory.join("tmp")), [""; 0]);
        assert!(directory.join("cur").is_dir());
    }

    #[test]
    fn an_interrupt_or_a_disk_in_trouble_leaves_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let relay = MaildirRelay::new(scratch.path().to_owned());
        let interrupt = Interrupt::new().unwrap();
        let mut connection = relay.connect(&interrupt).unwrap();
        let envelope = Envelope { sender: &ReversePath::Null, recipients: &["a@example.org"] };
        let mut outcomes = Vec::new();
        std::fs::remove_dir(scratch.path().join("new")).unwrap();
        let trouble = connection.deliver(&envelope, &body(b"x\r\n.\r\n"), &interrupt, &mut outcomes).unwrap_err();
        assert!(matches!(trouble, Trouble::Unavailable { .. }), "{trouble}");
        assert_eq!(files(&scratch.path().join("tmp")), [""; 0]);

        interrupt.raise(std::time::Duration::from_secs(60));
        let trouble = connection.deliver(&envelope, &body(b"x\r\n.\r\n"), &interrupt, &mut outcomes).unwrap_err();
        assert_eq!(trouble, Trouble::Interrupted { relay: relay.name().to_owned() });
        assert_eq!(outcomes, []);
    }

    #[test]
    fn a_maildir_that_cannot_be_made_is_unavailable() {
        let relay = MaildirRelay::new("/dev/null/maildir".into());
        let trouble = relay.connect(&Interrupt::new().unwrap()).err().expect("trouble").to_string();
        assert!(trouble.contains("cannot create the maildir: /dev/null/maildir/tmp"), "{trouble}");
    }
}
