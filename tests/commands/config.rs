//! `sympa-dist config check` and `config show`: what is in force, where it comes from, and what is wrong with it.

use std::os::unix::fs::PermissionsExt;

use crate::bench::{Bench, DONE, Told, USAGE};

const GOOD: &str =
    "[run]\nworkers = 2\nshutdown_grace = \"5s\"\nrescan = \"2m\"\n\n[[relay]]\nurl = \"lmtp:///run/l\"\n";

/// `config check` of that file must find these, a line each.
#[track_caller]
fn finds(text: &str, lines: &[&str]) {
    let bench = Bench::new();
    bench.file("c.toml", text);
    for command in ["config check", "config show", "run"] {
        let told = bench.runs(&format!("{command} --config c.toml"), USAGE);
        assert_eq!(told.stdout, "");
        let mut said: Vec<&str> = told.stderr.lines().map(|line| line.strip_prefix("sympa-dist: ").unwrap()).collect();
        said.sort_unstable();
        assert_eq!(said.len(), lines.len(), "{said:#?}");
        for (said, line) in said.iter().zip(lines) {
            assert!(said.starts_with(line), "{command}: {said}\nis not\n{line}");
        }
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    finds("[run]\n\nworkres = 2\n", &["c.toml:3:1: run.workres is not known; is run.workers meant?"]);
    finds("spol = \"x\"\n", &["c.toml:1:1: spol is not known; is spool meant?"]);
    finds("[zzz]\nqqq = 1\n", &["c.toml:2:1: zzz.qqq is not known; expected one of spool, ageing, "]);
    finds(
        "[[relay]]\nurl = \"smtp://h\"\nstartls = \"never\"\n",
        &["c.toml:3:1: startls is not known; is starttls meant?"],
    );
}

#[test]
fn a_bad_value_is_named_with_its_line_and_what_was_expected() {
    for (text, line) in [
        ("[run]\nworkers = 0\n", "c.toml:2:1: run.workers: expected a number from 1 to 1024"),
        ("[run]\nworkers = \"many\"\n", "c.toml:2:1: run.workers: expected a number from 1 to 1024"),
        ("[run]\nrescan = \"soon\"\n", "c.toml:2:1: run.rescan: expected a duration"),
        ("[run]\nshutdown_grace = true\n", "c.toml:2:1: run.shutdown_grace: expected a duration"),
        ("[run]\ncheckpoint_sync = \"all\"\n", "c.toml:2:1: run.checkpoint_sync: expected \"data\""),
        ("[inject]\n# a comment\npriority = 10\n", "c.toml:3:1: inject.priority: expected a priority: 0 (first) to 9"),
        ("[log]\nformat = \"xml\"\n", "c.toml:2:1: log.format: expected \"auto\""),
        ("[retry]\nschedule = []\n", "c.toml:2:1: retry.schedule: expected at least one duration"),
        ("[[relay]]\nurl = \"ftp://h\"\n", "c.toml:2:1: url: \"ftp://h\" is not a relay"),
        ("[[relay]]\nhelo = \"h\"\n", "c.toml:1:1: relay: a relay needs a url"),
        ("[run]\nworkers = = 2\n", "c.toml:2:11: "),
    ] {
        finds(text, &[line]);
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let lines =
        ["c.toml:1:1: spol is not known", "c.toml:3:1: run.workers: expected", "c.toml:4:1: run.rescan: expected"];
    finds("spol = 1\n[run]\nworkers = 0\nrescan = \"soon\"\n", &lines);
}

#[test]
fn a_good_file_is_in_order_and_one_that_is_not_there_is_not() {
    let bench = Bench::new();
    bench.file("c.toml", GOOD);
    assert_eq!(bench.runs("config check --config c.toml", DONE).stdout, "c.toml: in order\n");
    bench.runs("config check --config missing.toml", USAGE).complains(&["missing.toml: cannot read it"]);
}

#[test]
fn a_path_begins_with_a_slash_but_on_the_command_line() {
    for (text, at) in [
        ("spool = \"a/b\"\n", "c.toml:1:1: spool"),
        ("[http]\nlisten = \"unix:a/b\"\n", "c.toml:2:1: http.listen"),
        ("[http]\ntoken_file = \"a/b\"\n", "c.toml:2:1: http.token_file"),
        ("[http]\ntls_certificate = \"/a\"\ntls_key = \"a/b\"\n", "c.toml:3:1: http.tls_key"),
        ("[http]\ntls_certificate = \"a/b\"\ntls_key = \"/a\"\n", "c.toml:2:1: http.tls_certificate"),
        ("[events]\npath = \"a/b\"\n", "c.toml:2:1: events.path"),
        ("[cluster]\npassword_file = \"a/b\"\n", "c.toml:2:1: cluster.password_file"),
        ("[cluster]\nca_file = \"a/b\"\n", "c.toml:2:1: cluster.ca_file"),
        ("[[relay]]\nurl = \"smtp://h\"\nca_file = \"a/b\"\n", "c.toml:3:1: ca_file"),
        ("[[relay]]\nurl = \"smtp://h\"\nhelo = \"h\"\npassword_file = \"a/b\"\n", "c.toml:4:1: password_file"),
    ] {
        finds(text, &[&format!("{at}: expected a path that begins with /, not \"a/b\"")]);
    }
    let out = "url: \"maildir:out\" is not a relay: the directory's path must begin with /";
    finds("[[relay]]\nurl = \"maildir:out\"\n", &[&format!("c.toml:2:1: {out}")]);
    let bench = Bench::new();
    let mut command = bench.bare_command("config check");
    command.env("SYMPA_DIST_EVENTS_PATH", "events.jsonl");
    let expected = "environment, SYMPA_DIST_EVENTS_PATH: expected a path that begins with /, not \"events.jsonl\"";
    Told::of(&mut command, USAGE).complains(&[expected]);
    // Whoever types it is somewhere.
    let here = bench.file("x", "").with_file_name("some/spool");
    let shown = Told::of(&mut bench.bare_command("config show --spool some/spool"), DONE);
    shown.prints(&[&format!("spool = \"{}\"  # command line, --spool\n", here.display())]);
}

/// A certificate for localhost, and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// `config check` of that file must complain of one thing, with all of `words`; `DIR` is the directory of the files.
#[track_caller]
fn unfit(bench: &Bench, text: &str, words: &[&str]) {
    let here = bench.file("c.toml", "");
    let here = here.parent().unwrap().to_str().unwrap();
    bench.file("c.toml", &text.replace("DIR", here));
    let mut command = bench.bare_command("config check --config c.toml");
    let told = Told::of(command.env_remove("SYMPA_DIST_HTTP_LISTEN"), USAGE);
    assert_eq!((told.stderr.lines().count(), &*told.stdout), (1, ""), "{}", told.stderr);
    for word in words {
        let word = word.replace("DIR", here);
        assert!(told.stderr.contains(&word), "no {word:?} in\n{}", told.stderr);
    }
}

#[test]
fn a_file_that_is_named_and_is_not_what_run_needs_is_said_with_what_run_does() {
    let bench = Bench::new();
    let secret = |name: &str, text: &str, mode| {
        std::fs::set_permissions(bench.file(name, text), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let ((certificate, key), (_, other)) = (certificate(), self::certificate());
    secret("certificate.pem", &certificate, 0o644);
    secret("key.pem", &key, 0o600);
    secret("other.pem", &other, 0o600);
    secret("open.pem", &key, 0o644);
    secret("empty", "", 0o600);
    secret("words", "no PEM at all\n", 0o600);
    secret("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600);
    secret("token", "a-token-that-nobody-guesses\n", 0o600);
    secret("open", "a-token-that-nobody-guesses\n", 0o604);

    let all = "[http]\ntoken_file = 'DIR/token'\ntls_certificate = 'DIR/certificate.pem'\ntls_key = 'DIR/key.pem'\n";
    let here = bench.file("c.toml", "").parent().unwrap().display().to_string();
    bench.file("c.toml", &all.replace("DIR", &here));
    let mut good = bench.bare_command("config check --config c.toml");
    assert_eq!(Told::of(good.env_remove("SYMPA_DIST_HTTP_LISTEN"), DONE).stdout, "c.toml: in order\n");

    let refuses = "run shows all over HTTP, and refuses whatever would change something";
    for (file, why) in
        [("nowhere", "No such file or directory"), ("empty", "expected a token of at least 16"), ("open", "mode 604")]
    {
        let text = format!("[http]\ntoken_file = 'DIR/{file}'\n");
        unfit(&bench, &text, &[&format!("c.toml:2: http.token_file DIR/{file}: "), why, refuses]);
    }
    let nothing = "run serves nothing over HTTP, and distributes mail all the same";
    for (certificate, key, words) in [
        ("nowhere", "key.pem", ["c.toml:2: http.tls_certificate DIR/nowhere: ", "No such file"]),
        ("empty", "key.pem", ["c.toml:2: http.tls_certificate DIR/empty: ", "expected a certificate in PEM"]),
        ("words", "key.pem", ["c.toml:2: http.tls_certificate DIR/words: ", "expected a certificate in PEM"]),
        ("key.pem", "key.pem", ["c.toml:2: http.tls_certificate DIR/key.pem: ", "expected a certificate in PEM"]),
        ("broken.pem", "key.pem", ["c.toml:2: http.tls_certificate DIR/broken.pem: ", "BadEncoding"]),
        ("certificate.pem", "nowhere", ["c.toml:3: http.tls_key DIR/nowhere: ", "No such file"]),
        ("certificate.pem", "open.pem", ["c.toml:3: http.tls_key DIR/open.pem: ", "mode 644"]),
        ("certificate.pem", "words", ["c.toml:3: http.tls_key DIR/words: ", "expected a private key in PEM"]),
        ("certificate.pem", "other.pem", ["c.toml:2: http.tls_certificate DIR/certificate.pem: ", "KeyMismatch"]),
    ] {
        let text = format!("[http]\ntls_certificate = 'DIR/{certificate}'\ntls_key = 'DIR/{key}'\n");
        unfit(&bench, &text, &[words[0], words[1], nothing]);
    }
    let both = "[http]\ntls_certificate = '/nowhere/c'\ntls_key = '/nowhere/k'\ntoken_file = '/nowhere/t'\n";
    bench.file("c.toml", both);
    let mut command = bench.bare_command("config check --config c.toml");
    let told = Told::of(command.env_remove("SYMPA_DIST_HTTP_LISTEN"), USAGE);
    told.complains(&["http.tls_certificate /nowhere/c", "http.tls_key /nowhere/k", "http.token_file /nowhere/t"]);
    let in_the_way = ["c.toml:2: http.listen: ", "unix:DIR/words", "a file that is no socket is there", nothing];
    unfit(&bench, "[http]\nlisten = 'unix:DIR/words'\n", &in_the_way);

    let no_start = "run does not start";
    let postgres = "[cluster]\ndatabase = 'postgres://u@db.example.org/lists'\n";
    for (key, file, why) in [
        ("password_file", "nowhere", "No such file"),
        ("password_file", "empty", "its first line is empty"),
        ("ca_file", "nowhere", "No such file"),
        ("ca_file", "words", "it holds no certificate"),
    ] {
        let text = format!("{postgres}{key} = 'DIR/{file}'\n");
        unfit(&bench, &text, &[&format!("c.toml:3: cluster.{key}"), &format!("DIR/{file}"), why, no_start]);
    }
    let relay = "[[relay]]\nurl = 'smtp://h'\n";
    for (lines, words) in [
        ("starttls = 'required'\nca_file = 'DIR/nowhere'\n", ["DIR/nowhere (ca_file)", "No such file", no_start]),
        ("starttls = 'required'\nca_file = 'DIR/words'\n", ["DIR/words (ca_file)", "holds no certificate", no_start]),
        ("ca_file = 'DIR/nowhere'\n", ["DIR/nowhere (ca_file)", "No such file", "run does not read it"]),
        ("username = 'u'\npassword_file = 'DIR/nowhere'\n", ["password_file DIR/nowhere", "No such file", no_start]),
        ("username = 'u'\npassword_file = 'DIR/empty'\n", ["password_file DIR/empty", "first line is empty", no_start]),
    ] {
        unfit(&bench, &format!("{relay}{lines}"), &[words[0], words[1], words[2], "c.toml:1"]);
    }
    let down = ["c.toml:1: relay sendmail:DIR/token: ", "Permission denied", "takes the relay for one that is down"];
    unfit(&bench, "[[relay]]\nurl = 'sendmail:DIR/token'\n", &down);
    let kept = "run keeps no events";
    unfit(&bench, "[events]\npath = 'DIR'\n", &["c.toml:2: events.path DIR: ", "Is a directory", kept]);
    unfit(&bench, "[events]\npath = 'DIR/none/e'\n", &["c.toml:2: events.path DIR/none/e: ", "No such file", kept]);
    unfit(&bench, "[events]\npath = 'DIR/words/e'\n", &["events.path DIR/words/e: ", "Not a directory", kept]);
}

#[test]
fn what_only_needs_to_be_made_is_in_order_and_is_not_made() {
    let bench = Bench::new();
    let events = bench.file("c.toml", "").with_file_name("events.jsonl");
    bench.file("c.toml", &format!("[events]\npath = '{}'\n", events.display()));
    bench.runs("config check --config c.toml", DONE);
    assert!(!events.exists());
}

#[test]
fn the_environment_goes_before_the_file_and_flags_before_both() {
    let bench = Bench::new();
    bench.file("c.toml", GOOD);
    let show = |variables: &[(&str, &str)], flags: &str| {
        let mut command = bench.bare_command(&format!("config show {flags}"));
        Told::of(command.env("SYMPA_DIST_CONFIG", "c.toml").envs(variables.iter().copied()), DONE)
    };
    show(&[], "").prints(&[
        "workers = 2  # c.toml:2\n",
        "rescan = \"2m\"  # c.toml:4\n",
        "spool = \"/var/spool/sympa-dist\"  # default\n",
        "[[relay]]  # c.toml:6\nurl = \"lmtp:///run/l\"\n",
    ]);
    let variables = [
        ("SYMPA_DIST_RUN_WORKERS", "3"),
        ("SYMPA_DIST_SPOOL", "/env"),
        ("SYMPA_DIST_LOG_LEVEL", "debug"),
        ("SYMPA_DIST_RELAY", "smtp://one:26,smtp://two:27"),
    ];
    let told = show(&variables, "--spool /flag");
    told.prints(&[
        "workers = 3  # environment, SYMPA_DIST_RUN_WORKERS\n",
        "rescan = \"2m\"  # c.toml:4\n",
        "spool = \"/flag\"  # command line, --spool\n",
        "level = \"debug\"  # environment, SYMPA_DIST_LOG_LEVEL\n",
        "[[relay]]  # environment, SYMPA_DIST_RELAY\nurl = \"smtp://one:26\"\n",
        "url = \"smtp://two:27\"\n",
    ]);
    assert!(!told.stdout.contains("lmtp:"), "the relays of the nearer place are all there are");
    show(&variables, "--log-level warn").prints(&["level = \"warn\"  # command line, --log-level\n"]);
}

#[test]
fn what_is_wrong_with_the_environment_or_a_flag_is_named_too() {
    let bench = Bench::new();
    let mut command = bench.bare_command("config check --log-format xml");
    command.env("SYMPA_DIST_RUN_WROKERS", "3").env("SYMPA_DIST_RUN_RESCAN", "soon");
    Told::of(&mut command, USAGE).complains(&[
        "environment: SYMPA_DIST_RUN_WROKERS is not known; is SYMPA_DIST_RUN_WORKERS meant?\n",
        "environment, SYMPA_DIST_RUN_RESCAN: expected a duration",
        "command line, --log-format: expected \"auto\"",
    ]);
    bench.runs("run --workers 0", USAGE).complains(&["command line, --workers: expected a number from 1 to 1024"]);
    bench.runs("run --relay ftp://h", USAGE).complains(&["command line, --relay: \"ftp://h\""]);
    bench.runs("run --shutdown-grace never", USAGE).complains(&["command line, --shutdown-grace: expected"]);
}

#[test]
fn what_is_shown_is_a_configuration_that_shows_the_same() {
    let bench = Bench::new();
    bench.file("c.toml", GOOD);
    let values =
        |shown: &str| shown.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    let first = bench.runs("config show --config c.toml", DONE).stdout;
    bench.file("again.toml", &first);
    let mut again = bench.bare_command("config show --config again.toml");
    let second = Told::of(&mut again, DONE).stdout;
    assert_eq!(values(&second), values(&first));
    assert!(!second.contains("# default"), "every value is written down: {second}");
}
