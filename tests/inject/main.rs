//! `sympa-dist inject`, the built program, on a spool of its own: what lies in the spool afterwards, what is said, and with
//! which exit code. What goes wrong around it is in [`adversity`].

#[path = "../support/mod.rs"]
mod support;

mod adversity;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::spool::TestSpool;
use tempfile::TempDir;

const POST: &str = "From: a@b.org\nSubject: x\n\nhello\n";
const DONE: i32 = 0;
const USAGE: i32 = 2;
const TRY_AGAIN: i32 = 75;

/// A spool, a place for files, and a command line to begin with.
struct Bench {
    spool: TestSpool,
    files: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { spool: TestSpool::new(), files: tempfile::tempdir().unwrap() };
        bench.file("post", POST);
        bench.file("members", "a@x.org\n");
        bench
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// `inject` into this spool; `more` in words, in the directory of the files.
    fn command(&self, more: &str) -> Command {
        self.command_into(self.spool.path(), more)
    }

    fn command_into(&self, spool: &Path, more: &str) -> Command {
        let mut command = support::program::command();
        // Small file systems are filled here.
        command.env("SYMPA_DIST_INJECT_MIN_FREE_SPACE", "0");
        command.current_dir(self.files.path()).arg("--spool").arg(spool).arg("inject").args(more.split(' '));
        command
    }

    fn run(&self, more: &str) -> Told {
        Told::of(more, self.command(more).output().unwrap())
    }

    /// What was queued under that id, file by file.
    fn queued(&self, priority: &str, name: &str) -> BTreeMap<String, String> {
        let folder = self.spool.at(priority).join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(&path).unwrap())
            })
            .collect()
    }

    #[track_caller]
    fn assert_nothing_is_queued(&self) {
        assert_eq!(self.spool.waiting(), [""; 0]);
        assert_eq!(self.spool.incoming(), [""; 0], "left behind under incoming/");
    }
}

/// What a command said.
struct Told {
    command: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Told {
    fn of(command: &str, output: Output) -> Told {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is said is UTF-8");
        Told {
            command: command.to_owned(),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    fn expect(self, code: i32, stderr: &str) -> Told {
        let Told { command, stdout, stderr: said, .. } = &self;
        assert_eq!(self.code, Some(code), "inject {command}\n{stdout}--\n{said}");
        assert!(said.contains(stderr), "inject {command}: no {stderr:?} in\n{said}");
        if code != DONE {
            assert!(said.contains("nothing was queued") && stdout.is_empty(), "inject {command}\n{stdout}--\n{said}");
        }
        assert!(said.lines().all(|line| line.starts_with("sympa-dist: ")), "{said}");
        self
    }

    fn id(&self) -> &str {
        let id = self.stdout.strip_suffix('\n').expect("a line");
        assert!(!id.contains('\n'), "the id alone: {id:?}");
        id
    }
}

const L: &str = "--list l@x.org --message post --recipients mail=members";

#[test]
fn a_message_goes_in_whole_and_its_id_alone_is_printed() {
    let bench = Bench::new();
    bench.file("members", "b@z.org\nA@Y.ORG\nb@Z.org\nc@y.org\t{\"name\": \"C\"}\n");
    bench.file("quiet", "q@x.org");
    let told = bench.run(&format!("{L} --recipients notice=quiet --priority 3")).expect(DONE, "");
    assert!(told.stderr.is_empty(), "{}", told.stderr);
    assert!(told.id().starts_with("l@x.org."));
    let files = bench.queued("3", told.id());
    let message = format!("Return-Path: <l-owner@x.org>\nX-Sympa-Dist-Recipients: 4\nX-Sympa-Dist-Packets: 2\n{POST}");
    let expected = [
        ("message", message.as_str()),
        ("recipients.mail.0001", "A@y.org\nc@y.org\t{\"name\": \"C\"}\nb@z.org\n"),
        ("recipients.notice.0001", "q@x.org\n"),
    ];
    assert_eq!(files, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    assert_eq!(bench.spool.incoming(), [""; 0]);
}

#[test]
fn two_messages_of_one_second_get_two_ids() {
    let bench = Bench::new();
    let ids: Vec<String> = (0..3).map(|_| bench.run(L).expect(DONE, "").id().to_owned()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    assert_eq!(bench.spool.waiting().len(), 3);
}

#[test]
fn recipients_are_split_as_asked() {
    let members: String = (0..10).map(|n| format!("m{n}@x.org\n")).collect();
    let check = |how: &str, sizes: &[usize]| {
        let bench = Bench::new();
        bench.file("members", &members);
        let id = bench.run(&format!("{L} {how}")).expect(DONE, "").id().to_owned();
        let mut files = bench.queued("5", &id);
        files.remove("message");
        let split: Vec<usize> = files.values().map(|packet| packet.lines().count()).collect();
        assert_eq!(split, sizes, "{how}");
        assert_eq!(files.into_values().collect::<String>(), members, "{how}");
    };
    check("--packet-size 4", &[4, 4, 2]);
    check("--packet-size 10", &[10]);
    check("--packets 4", &[3, 3, 2, 2]);
    check("--packets 1", &[10]);
    check("--packets 20", &[1; 10]);
    check("--packets 4 --keep-order", &[3, 3, 2, 2]);
    // More than are synced one by one.
    let bench = Bench::new();
    bench.file("members", (0..200).map(|n| format!("m{n}@x.org\n")).collect::<String>());
    let id = bench.run(&format!("{L} --packet-size 1")).expect(DONE, "").id().to_owned();
    assert_eq!(bench.queued("5", &id).len(), 201);
}

#[test]
fn of_repeats_the_first_stays_and_the_order_may_be_kept() {
    let bench = Bench::new();
    bench.file("members", "z@z.org\t{\"n\": 1}\na@a.org\nz@Z.ORG\nZ@z.org\na@a.org\t{}\nb@a.org\n");
    let id = bench.run(&format!("{L} --keep-order")).expect(DONE, "").id().to_owned();
    let given = "z@z.org\t{\"n\": 1}\na@a.org\nZ@z.org\nb@a.org\n";
    assert_eq!(bench.queued("5", &id)["recipients.mail.0001"], given);
    let id = bench.run(L).expect(DONE, "").id().to_owned();
    let sorted = "a@a.org\nb@a.org\nZ@z.org\nz@z.org\t{\"n\": 1}\n";
    assert_eq!(bench.queued("5", &id)["recipients.mail.0001"], sorted);
}

#[test]
fn several_files_of_one_mode_are_one() {
    let bench = Bench::new();
    bench.file("more", "b@x.org\na@x.org\n");
    let id = bench.run(&format!("{L} --recipients mail=more")).expect(DONE, "").id().to_owned();
    assert_eq!(bench.queued("5", &id)["recipients.mail.0001"], "a@x.org\nb@x.org\n");
}

#[test]
fn standard_input_may_be_the_message_or_the_recipients() {
    let bench = Bench::new();
    let feed = |more: &str, text: &str| {
        let mut child =
            bench.command(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Told::of(more, child.wait_with_output().unwrap()).expect(DONE, "").id().to_owned()
    };
    let id = feed("--list l@x.org --message - --recipients mail=members", POST);
    assert!(bench.queued("5", &id)["message"].ends_with(POST));
    let id = feed("--list l@x.org --message post --recipients mail=-", "s@x.org\nt@x.org");
    assert_eq!(bench.queued("5", &id)["recipients.mail.0001"], "s@x.org\nt@x.org\n");
}

#[test]
fn a_line_that_is_no_recipient_is_named_and_nothing_is_queued() {
    let long_address = format!("{}@{}.org", "l".repeat(60), "d.".repeat(118));
    let long_line = vec![b'x'; 10_000_000];
    let cases: [(&[u8], &str); 14] = [
        (b"", "\"\": empty"),
        (b"a@b.org\r", "\"a@b.org\\r\": ends with CR: lines end with LF alone"),
        (b"a\0@b.org", "\"a\\x00@b.org\": contains a NUL octet"),
        (b"\xff@b.org", "\"\\xff@b.org\": not UTF-8"),
        (&long_line, "\": longer than 65535 octets"),
        (long_address.as_bytes(), "\": longer than 254 octets"),
        (b"nobody", "\"nobody\": has no @"),
        (b"A B <a@b.org>", "contains a space or an angle bracket"),
        (b"a@b..org", "not a valid domain"),
        (b"\x1b[2J@b.org", "\"\\x1b[2J@b.org\": contains a control character"),
        (b"a@b.org\t[]", "not a JSON object"),
        (b"a@b.org\t{}\r", "ends with CR"),
        (b"a@b.org\t{\"a\": \"\0\"}", "not a JSON object"),
        (b"a@b.org\t{\"a\": \"\xff\"}", "not UTF-8"),
    ];
    for (line, reason) in cases {
        let bench = Bench::new();
        bench.file("members", [b"first@x.org\n", line, b"\nlast@x.org\n"].concat());
        let expected = "1 line is no recipient";
        for order in ["", " --keep-order"] {
            let told = bench.run(&format!("{L}{order}")).expect(USAGE, expected);
            let named = told.stderr.lines().next().unwrap();
            assert!(named.starts_with("sympa-dist: members: line 2: ") && named.contains(reason), "{reason}: {named}");
            assert!(told.stderr.len() < 500, "{}", told.stderr);
            bench.assert_nothing_is_queued();
        }
        let told = bench.run(&format!("{L} --skip-invalid")).expect(DONE, reason);
        assert!(told.stderr.starts_with("sympa-dist: skipped members: line 2: "), "{}", told.stderr);
        assert_eq!(bench.queued("5", told.id())["recipients.mail.0001"], "first@x.org\nlast@x.org\n");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_an_address() {
    let bench = Bench::new();
    bench.file("members", b"\xef\xbb\xbfa@x.org\n");
    bench.run(L).expect(USAGE, "byte order mark");
    bench.assert_nothing_is_queued();
}

#[test]
fn bad_lines_of_all_files_are_told_the_first_hundred_one_by_one_skipped_ones_all() {
    let bench = Bench::new();
    bench.file("members", "bad\n".repeat(60));
    bench.file("quiet", format!("{}q@x.org\n", "worse\n".repeat(60)));
    let more = format!("{L} --recipients notice=quiet");
    let told = bench.run(&more).expect(USAGE, "120 lines are no recipients (20 more than are shown)");
    assert_eq!(told.stderr.lines().count(), 101);
    assert!(told.stderr.contains("members: line 60:") && told.stderr.contains("quiet: line 40:"), "{}", told.stderr);
    bench.assert_nothing_is_queued();
    let told = bench.run(&format!("{more} --skip-invalid")).expect(DONE, "");
    assert_eq!(told.stderr.lines().count(), 120);
    let files = bench.queued("5", told.id());
    assert_eq!(files.keys().collect::<Vec<_>>(), ["message", "recipients.notice.0001"]);
}

#[test]
fn without_a_recipient_there_is_no_message() {
    let bench = Bench::new();
    bench.file("members", "");
    bench.run(L).expect(USAGE, "there is no recipient");
    bench.file("members", "nobody\n");
    bench.run(&format!("{L} --skip-invalid")).expect(USAGE, "there is no recipient");
    bench.assert_nothing_is_queued();
}

#[test]
fn what_is_no_message_is_refused() {
    for (post, why) in [
        ("", "is empty"),
        ("\nhello\n", "has no header"),
        ("hello\n", "has no header"),
        (" Subject: folded\n\n", "has no header"),
        ("Return-Path: <a@b.org>\n", "has no header"),
    ] {
        let bench = Bench::new();
        bench.file("post", post);
        bench.run(L).expect(USAGE, why);
        bench.file("good", POST);
        let variant = "--list l@x.org --message good --recipients txt=members --variant txt=post";
        bench.run(variant).expect(USAGE, why);
        bench.assert_nothing_is_queued();
    }
}

#[test]
fn a_request_that_makes_no_sense_is_refused_with_what_was_expected() {
    let bench = Bench::new();
    let long_list = format!("--list {}@x.org --message post --recipients mail=members", "l".repeat(150));
    let long_owner = format!("--list {}@x.org --message post --recipients mail=members", "l".repeat(60));
    let many = [
        ("--list l@x.org --message missing --recipients mail=members", "cannot read missing: No such file"),
        ("--list l@x.org --message post --recipients mail=missing", "cannot read missing: No such file"),
        ("--list l@x.org --message - --recipients mail=-", "standard input (-) can be read for one thing only"),
        ("--list nobody --message post --recipients mail=members", "has no @"),
        ("--list ../l@x.org --message post --recipients mail=members", "--list"),
        ("--list .l@x.org --message post --recipients mail=members", "--list"),
        ("--list a/b@x.org --message post --recipients mail=members", "--list"),
        (&long_list, "longer than 160 octets"),
        (&long_owner, "give --sender"),
        ("--list l@x.org --message post --recipients digest=members", "give --variant digest=FILE"),
    ];
    for (command, why) in many {
        bench.run(command).expect(USAGE, why);
    }
    for (more, why) in [
        ("--variant mail=post", "get the message itself"),
        ("--variant txt=post --variant txt=post", "given twice"),
        ("--sender nobody", "--sender"),
        ("--sender a@b.org\r", "--sender"),
        ("--at soon", "expected unix seconds"),
        ("--at 2026-12-01T18:00", "expected unix seconds"),
        ("--at 9999999999999999", "further away"),
        ("--id l@x.org.1", "is not a message id"),
        ("--id other@x.org.1.2", "is no id of a message of l@x.org"),
        ("--id ../l@x.org.1.2", "--id"),
    ] {
        bench.run(&format!("{L} {more}")).expect(USAGE, why);
    }
    // What clap or the configuration refuses, before anything else.
    for more in [
        "--priority 10",
        "--packet-size 0",
        "--packets 0",
        "--packets 2 --packet-size 2",
        "--recipients members",
        "--recipients Mail=members",
        "--recipients mail=",
    ] {
        let told = bench.run(&format!("{L} {more}"));
        assert_eq!((told.code, told.stdout.as_str()), (Some(USAGE), ""), "{more}: {}", told.stderr);
    }
    bench.assert_nothing_is_queued();
}

#[test]
fn an_id_is_used_once() {
    let bench = Bench::new();
    let command = format!("{L} --id l@x.org.1192613090.972");
    assert_eq!(bench.run(&command).expect(DONE, "").id(), "l@x.org.1192613090.972");
    for priority in ["5", "5 --at +2h", "0"] {
        let told = bench.run(&format!("{command} --priority {priority}")).expect(USAGE, "a message of that id exists");
        assert!(told.stderr.contains("l@x.org.1192613090.972"), "{}", told.stderr);
    }
    assert_eq!(bench.spool.waiting(), ["5/l@x.org.1192613090.972"]);
}

#[test]
fn a_post_cannot_set_its_own_options() {
    let bench = Bench::new();
    bench.file("post", format!("Return-Path: <evil@x.org>\nX-Sympa-Dist-Packets: 9\n{POST}"));
    let id = bench.run(&format!("{L} --sender <>")).expect(DONE, "").id().to_owned();
    let own = "Return-Path: <>\nX-Sympa-Dist-Recipients: 1\nX-Sympa-Dist-Packets: 1\n";
    assert_eq!(bench.queued("5", &id)["message"], format!("{own}{POST}"));
}

#[test]
fn a_mode_gets_its_variant() {
    let bench = Bench::new();
    bench.file("digest", format!("X-Sympa-Dist-Packets: 9\n{POST}more\n"));
    let command = "--list l@x.org --message post --recipients digest=members --variant digest=digest";
    let id = bench.run(command).expect(DONE, "").id().to_owned();
    assert_eq!(bench.queued("5", &id)["message.digest"], format!("{POST}more\n"));
}

#[test]
fn a_message_may_wait_for_its_time_or_be_held() {
    let bench = Bench::new();
    let id = bench.run(&format!("{L} --at 4102444800")).expect(DONE, "").id().to_owned();
    assert_eq!(bench.spool.waiting(), [format!("5/{id}:at4102444800")]);
    let id = bench.run(&format!("{L} --priority z")).expect(DONE, "").id().to_owned();
    let held = &bench.queued("z", &id)["held"];
    assert!(held.contains("injected as held"), "{held}");
}
