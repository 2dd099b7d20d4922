//! A `sendmail` program as a relay: `PATH -oi -f SENDER -- RECIPIENT…`, the message on its standard input.
//!
//! The message is a sealed file in memory and not a pipe: a kill of this program can't cut it short, so the child has
//! all of it from its first instant. From then on it is as behind SMTP's final dot: only its exit tells what became of the
//! message, and no exit within the time means uncertain. A crash in here leaves the child running, with the whole message.
//!
//! The child has a process group of its own: the terminal's interrupt key is not meant for it. (Under systemd, keep it
//! alive over a stop of the unit with `KillMode=mixed`.)
//!
//! # What an exit status means (sysexits.h)
//!
//! | status | outcome | why |
//! | --- | --- | --- |
//! | 0 | sent | |
//! | 65 data, 67 no user, 68 no host | failed if the transaction has one recipient, else deferred | with several nobody knows whose fault it is, and almost every sendmail takes all or nothing: failing all of them would blame members who are fine |
//! | 64 usage, 77 permission, 78 configuration, 126, 127, cannot be started | relay unavailable | the operator's to repair; no recipient is to blame |
//! | 75 try again, 69, 70, 71, 72, 73, 74, 76, any other, killed by a signal | deferred | something passing, or unknown |

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::wire::{Fault, Patience};
use super::{BeforeDot, Connection, Interrupt, Proceed, Receipt, Refusals, Relay, Trouble};
use crate::mail::{Body, Envelope, Outcome, Reply};

/// Of the 2 MiB that Linux gives to arguments and environment together: recipients that don't fit in are for another
/// transaction.
const MAX_ARGUMENTS: usize = 256 * 1024;
/// How much of the child's complaints is kept; it can't write more.
const MAX_STDERR: usize = 64 * 1024;

/// See the module.
pub struct SendmailRelay(Arc<Program>);

struct Program {
    name: String,
    path: PathBuf,
    timeout: Duration,
    /// Children that were not waited for to the end, so that no zombies pile up.
    left_behind: Mutex<Vec<Child>>,
}

struct Sendmail(Arc<Program>);

impl SendmailRelay {
    pub(super) fn new(path: PathBuf, timeout: Duration) -> SendmailRelay {
        let name = format!("sendmail:{}", path.display());
        SendmailRelay(Arc::new(Program { name, path, timeout, left_behind: Mutex::default() }))
    }
}

impl Relay for SendmailRelay {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn connect(&self, _interrupt: &Interrupt) -> Result<Box<dyn Connection>, Trouble> {
        self.0.left_behind.lock().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        Ok(Box::new(Sendmail(Arc::clone(&self.0))))
    }
}

/// The message as programs on this system expect it: dots not doubled, lines ending with LF, no final dot.
pub(super) fn with_lf(body: &Body) -> Vec<u8> {
    let end = body.wire.len() - b".\r\n".len();
    let mut message = Vec::with_capacity(end);
    let mut rest = &body.wire[..end];
    while let Some(cr) = memchr::memmem::find(rest, b"\r\n") {
        let line = &rest[..cr];
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        message.push(b'\n');
        rest = &rest[cr + 2..];
    }
    message.extend_from_slice(rest);
    message
}

impl Connection for Sendmail {
    fn deliver_with(
        &mut self,
        envelope: &Envelope<'_>,
        body: &Body,
        interrupt: &Interrupt,
        before_dot: &mut BeforeDot<'_>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble> {
        outcomes.clear();
        if interrupt.is_raised() {
            return Err(Trouble::Interrupted { relay: self.0.name.clone() });
        }
        let mut length = 0;
        let fits = envelope.recipients.iter().take_while(|recipient| {
            length += recipient.len() + 16;
            length <= MAX_ARGUMENTS
        });
        let recipients = &envelope.recipients[..fits.count()];

        let message =
            message_file(body).map_err(|error| self.0.unavailable("cannot keep the message in memory", &error))?;
        let mut stderr =
            stderr_file().map_err(|error| self.0.unavailable("cannot keep the message in memory", &error))?;
        let sender = envelope.sender.as_str();
        if before_dot(Refusals::None) == Proceed::No {
            return Err(Trouble::Interrupted { relay: self.0.name.clone() });
        }
        let child = Command::new(&self.0.path)
            .args(["-oi", "-f", if sender.is_empty() { "<>" } else { sender }, "--"])
            .args(recipients)
            .stdin(message)
            .stdout(Stdio::null())
            .stderr(stderr.try_clone().map_err(|error| self.0.unavailable("cannot start", &error))?)
            .process_group(0)
            .spawn()
            .map_err(|error| self.0.unavailable("cannot start", &error))?;
        let status = self.0.wait(child, interrupt)?;
        let complaint = first_line(&mut stderr);
        self.0.judge(status, &complaint, recipients.len(), outcomes).inspect(|_| {
            outcomes.resize(envelope.recipients.len(), Outcome::TooMany);
        })
    }

    fn is_stale(&mut self) -> bool {
        false
    }

    fn close(self: Box<Self>) {}
}

impl Program {
    fn unavailable(&self, doing: &'static str, why: impl ToString) -> Trouble {
        Trouble::Unavailable { relay: self.name.clone(), doing, why: why.to_string(), reply: None }
    }

    fn wait(&self, mut child: Child, interrupt: &Interrupt) -> Result<ExitStatus, Trouble> {
        let uncertain = |why: String| Trouble::Uncertain { relay: self.name.clone(), why };
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return Err(uncertain("the program has no process id".into()));
        };
        let waited = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| Fault::Io(error.into()))
            .and_then(|exit| Patience::behind_the_dot(self.timeout, interrupt).wait(exit.as_fd(), PollFlags::IN));
        match waited {
            Ok(_) => child.wait().map_err(|error| uncertain(error.to_string())),
            Err(fault) => {
                // A program that hangs is told to end, or every retry would leave one more. At shutdown it may go on: it
                // has the whole message.
                if matches!(fault, Fault::TimedOut(_)) {
                    let _ = kill_process(pid, Signal::TERM);
                }
                self.left_behind.lock().push(child);
                Err(uncertain(format!("the program has not ended: {fault}")))
            }
        }
    }

    /// See the table at the top.
    fn judge(
        &self,
        status: ExitStatus,
        complaint: &str,
        recipients: usize,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble> {
        let said = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (_, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
        };
        let said = if complaint.is_empty() { said } else { format!("{said}: {complaint}") };
        let (reply, outcome) = match status.code() {
            Some(0) => (Reply::new(250, &format!("2.0.0 {said}")), Outcome::Sent),
            Some(64 | 77 | 78 | 126 | 127) => return Err(self.unavailable("the program refuses to work", said)),
            Some(65 | 67 | 68) if recipients == 1 => {
                let reply = Reply::new(550, &format!("5.0.0 {said}"));
                (reply.clone(), Outcome::Failed(Box::new(reply)))
            }
            _ => {
                let reply = Reply::new(451, &format!("4.0.0 {said}"));
                (reply.clone(), Outcome::Deferred(Box::new(reply)))
            }
        };
        outcomes.resize(recipients, outcome);
        // With several recipients nobody knows whom it meant.
        Ok(Receipt { reply, about_all: recipients > 1 })
    }
}

fn message_file(body: &Body) -> io::Result<File> {
    let mut file = File::from(memfd_create("message", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(&with_lf(body))?;
    file.seek(SeekFrom::Start(0))?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// Of fixed size. A pipe would have to be read while waiting, and would break under the child if this program dies.
fn stderr_file() -> io::Result<File> {
    let file = File::from(memfd_create("stderr", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    ftruncate(&file, MAX_STDERR as u64)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// The first line that says something; [`Reply`] makes it printable.
fn first_line(stderr: &mut File) -> String {
    let mut text = vec![0; 1024];
    let read = stderr.seek(SeekFrom::Start(0)).and_then(|_| stderr.read(&mut text)).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..read]);
    text.split(['\n', '\0']).map(str::trim).find(|line| !line.is_empty()).unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::mail::ReversePath;

    /// A program that does what `script` says.
    fn program(folder: &Path, script: &str) -> SendmailRelay {
        let path = folder.join("sendmail");
        std::fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{script}\n", folder.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        SendmailRelay::new(path, Duration::from_secs(60))
    }

    fn body() -> Body {
        let wire = b"Subject: x\r\n\r\n..dot\r\n.. \r\nend\r\n.\r\n".to_vec();
        Body { wire, eight_bit: false, utf8_header: false, long_line: None }
    }

    fn deliver(relay: &SendmailRelay, recipients: &[&str]) -> (Result<Receipt, Trouble>, Vec<Outcome>) {
        let interrupt = Interrupt::new().unwrap();
        let sender = ReversePath::Address("list-owner@example.org".parse().unwrap());
        let mut outcomes = Vec::new();
        let mut connection = relay.connect(&interrupt).unwrap();
        // Another test's child, between its fork and its exec, holds the script open for writing: not this test's matter.
        loop {
            let envelope = Envelope { sender: &sender, recipients };
            let result = connection.deliver(&envelope, &body(), &interrupt, &mut outcomes);
            match &result {
                Err(Trouble::Unavailable { why, .. }) if why.contains("Text file busy") => continue,
                _ => return (result, outcomes),
            }
        }
    }

    #[test]
    fn the_program_gets_sender_recipients_and_the_message_with_plain_lines() {
        let scratch = tempfile::tempdir().unwrap();
        let relay = program(scratch.path(), "printf '%s\\n' \"$@\" >arguments; cat >message");
        let (result, outcomes) = deliver(&relay, &["-a@example.org", "b@example.org"]);
        assert_eq!(result.unwrap().reply, Reply::new(250, "2.0.0 exit 0"));
        assert_eq!(outcomes, [Outcome::Sent, Outcome::Sent]);
        let read = |name| std::fs::read_to_string(scratch.path().join(name)).unwrap();
        assert_eq!(read("arguments"), "-oi\n-f\nlist-owner@example.org\n--\n-a@example.org\nb@example.org\n");
        assert_eq!(read("message"), "Subject: x\n\n.dot\n. \nend\n");
    }

    #[test]
    fn the_null_sender_is_spelled_out() {
        let scratch = tempfile::tempdir().unwrap();
        let relay = program(scratch.path(), "printf '%s' \"$3\" >sender");
        let interrupt = Interrupt::new().unwrap();
        let mut connection = relay.connect(&interrupt).unwrap();
        let envelope = Envelope { sender: &ReversePath::Null, recipients: &["a@example.org"] };
        while connection.deliver(&envelope, &body(), &interrupt, &mut Vec::new()).is_err() {}
        assert_eq!(std::fs::read_to_string(scratch.path().join("sender")).unwrap(), "<>");
    }

    #[test]
    fn an_exit_status_means_what_the_table_says() {
        let scratch = tempfile::tempdir().unwrap();
        let text = |status: &str| format!("4.0.0 {status}: it is so");
        for (end, one, several) in [
            ("exit 75", "deferred", "deferred"),
            ("exit 74", "deferred", "deferred"),
            ("exit 71", "deferred", "deferred"),
            ("exit 69", "deferred", "deferred"),
            ("exit 1", "deferred", "deferred"),
            ("kill -9 $$", "deferred", "deferred"),
            ("exit 65", "failed", "deferred"),
            ("exit 67", "failed", "deferred"),
            ("exit 68", "failed", "deferred"),
            ("exit 64", "unavailable", "unavailable"),
            ("exit 77", "unavailable", "unavailable"),
            ("exit 78", "unavailable", "unavailable"),
            ("exit 127", "unavailable", "unavailable"),
        ] {
            let relay = program(scratch.path(), &format!("echo >&2; echo 'it is so' >&2; echo more >&2; {end}"));
            for (recipients, expected) in [(&["a@b.org"][..], one), (&["a@b.org", "c@b.org"], several)] {
                let status = if end.starts_with("kill") { "killed by signal 9" } else { end };
                let (result, outcomes) = deliver(&relay, recipients);
                match expected {
                    "unavailable" => {
                        assert!(result.unwrap_err().to_string().contains(&format!("{status}: it is so")));
                        assert_eq!(outcomes, []);
                    }
                    "deferred" => {
                        let reply = Reply::new(451, &text(status));
                        assert_eq!(result.unwrap().reply, reply);
                        assert_eq!(outcomes, vec![Outcome::Deferred(Box::new(reply)); recipients.len()]);
                    }
                    _ => {
                        let reply = Reply::new(550, &format!("5.0.0 {status}: it is so"));
                        assert_eq!(outcomes, [Outcome::Failed(Box::new(reply))]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_unavailable() {
        let (result, outcomes) =
            deliver(&SendmailRelay::new("/nonexistent".into(), Duration::from_secs(60)), &["a@b.org"]);
        assert!(result.unwrap_err().to_string().contains("sendmail:/nonexistent: cannot start: No such file"));
        assert_eq!(outcomes, []);
    }

    #[test]
    fn a_program_that_does_not_end_within_the_grace_is_uncertain_and_not_cut_short() {
        let scratch = tempfile::tempdir().unwrap();
        let fifo = scratch.path().join("fifo");
        let relay = program(
            scratch.path(),
            "mkfifo fifo.tmp; mv fifo.tmp fifo; read go <fifo; cat >message.tmp; mv message.tmp message",
        );
        let interrupt = Interrupt::new().unwrap();
        let mut connection = relay.connect(&interrupt).unwrap();
        let envelope = Envelope { sender: &ReversePath::Null, recipients: &["a@example.org"] };
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !fifo.exists() {
                    std::thread::yield_now();
                }
                interrupt.raise(Duration::from_millis(50));
            });
            loop {
                match connection.deliver(&envelope, &body(), &interrupt, &mut Vec::new()) {
                    Err(Trouble::Unavailable { .. }) => {}
                    other => return other,
                }
            }
        });
        assert!(matches!(result, Err(Trouble::Uncertain { .. })), "{result:?}");
        std::fs::write(&fifo, "go\n").unwrap();
        let message = scratch.path().join("message");
        while !message.exists() {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read(message).unwrap(), with_lf(&body()));
    }

    #[test]
    fn recipients_beyond_what_arguments_may_hold_are_for_another_transaction() {
        let scratch = tempfile::tempdir().unwrap();
        let relay = program(scratch.path(), "exit 0");
        let address = format!("{}@example.org", "a".repeat(200));
        let recipients = vec![address.as_str(); 3_000];
        let (result, outcomes) = deliver(&relay, &recipients);
        assert!(result.is_ok(), "{result:?}");
        let sent = outcomes.iter().take_while(|outcome| **outcome == Outcome::Sent).count();
        assert!(sent > 1_000 && outcomes.len() == 3_000 && outcomes[sent..].iter().all(|o| *o == Outcome::TooMany));
    }
}
