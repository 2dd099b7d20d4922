//! `sympa-dist cluster`, and what `run` says before it begins.

use std::fs;

use crate::on_both;
use crate::site::{DONE, FINDINGS, QUICKLY, SLOWLY, Site, TRY_AGAIN, USAGE};
use crate::support::database::{Database, Kind, PASSWORD};
use crate::support::spool::wait_until;

on_both! {
    of_two_that_share_a_spool_at_once_one_is_second;
    init_may_be_run_again;
    init_keeps_its_hands_off_a_newer_layout;
    init_keeps_its_hands_off_another_spools_tables_and_join_takes_a_lost_mark_up_again;
    status_says_who_works_on_what_and_leave_waits_until_nobody_does;
    leave_without_the_database_takes_force;
    run_and_the_spools_mark_have_to_agree;
    a_password_is_never_shown;
    what_a_row_says_reaches_no_terminal_raw;
}

const NAME: &str = "big@example.org.1700000000.1";

/// What the spool's mark says.
fn mark(site: &Site) -> Option<serde_json::Value> {
    let text = fs::read(site.spool.path().join("cluster")).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn init_may_be_run_again(kind: Kind) {
    let database = Database::start(kind);
    let site = Site::new(&database.url());
    site.runs("cluster status", TRY_AGAIN).says(&["cluster init"]);
    site.runs("cluster init", DONE).says(&["is shared through the database from now on"]);
    let marked = mark(&site).expect("it is marked");
    assert_eq!(database.sql(&format!("SELECT identity FROM {}", database.table("cluster"))), marked["identity"]);
    site.runs("cluster init", DONE).says(&["already"]);
    assert_eq!(mark(&site), Some(marked));
    site.runs("cluster status", FINDINGS).says(&["no scheduler has joined"]);
}

fn init_keeps_its_hands_off_a_newer_layout(kind: Kind) {
    let database = Database::start(kind);
    let site = Site::new(&database.url());
    site.runs("cluster init", DONE);
    database.sql(&format!("UPDATE {} SET version = 99", database.table("cluster")));
    for line in ["cluster init", "run", "cluster status", "cluster leave"] {
        let told = site.runs(line, if line == "cluster leave" { DONE } else { TRY_AGAIN });
        if line != "cluster leave" {
            told.says(&["a newer sympa-dist's", "layout 99"]);
        }
    }
    site.runs("cluster init", TRY_AGAIN).says(&["nothing was changed"]);
    assert_eq!(mark(&site), None, "a spool that could not be shared is as it was");
    assert_eq!(database.sql(&format!("SELECT version FROM {}", database.table("cluster"))), "99");
}

fn init_keeps_its_hands_off_another_spools_tables_and_join_takes_a_lost_mark_up_again(kind: Kind) {
    let database = Database::start(kind);
    let (one, other) = (Site::new(&database.url()), Site::new(&database.url()));
    one.runs("cluster init", DONE);
    other.runs("cluster init", USAGE).says(&["another spool", "--join"]);
    assert_eq!(mark(&other), None);
    let marked = mark(&one).unwrap();
    fs::remove_file(one.spool.path().join("cluster")).unwrap();
    one.runs("cluster init --join", DONE);
    assert_eq!(mark(&one).unwrap()["identity"], marked["identity"]);
}

fn status_says_who_works_on_what_and_leave_waits_until_nobody_does(kind: Kind) {
    let database = Database::start(kind);
    let site = Site::new(&database.url());
    site.runs("cluster init", DONE);
    site.sink.takes(SLOWLY);
    let everybody = site.put("5", NAME, "p", 2, 400);
    let mut node = site.node("one");
    site.sink.wait_for_recipients(20);
    let told = site.runs("cluster status", DONE);
    told.says(&["2 workers", "worker-0", "worker-1", NAME, "recipients.mail.0001", "recipients.mail.0002", "s left"]);
    let told = site.runs("cluster status --json", DONE);
    let status: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let processes = status["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 1, "{status}");
    assert_eq!(processes[0]["leases"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(status["identity"], mark(&site).unwrap()["identity"]);
    site.runs("cluster leave --drop-tables", TRY_AGAIN).says(&["stop it first", "nothing was changed"]);
    // A host whose file locks are not seen here is known to the database.
    fs::remove_dir_all(site.spool.path().join("running")).unwrap();
    site.runs("cluster leave", TRY_AGAIN).says(&["stop it first", "nothing was changed"]);
    assert!(mark(&site).is_some());
    site.sink.takes(QUICKLY);
    site.sink.wait_for_recipients(everybody.len());
    site.spool.wait_until_empty();
    node.stop();
    site.runs("cluster leave --drop-tables", DONE).says(&["one machine's again"]);
    assert_eq!(mark(&site), None);
    site.runs("cluster status", TRY_AGAIN).says(&["cluster init"]);
    site.runs("cluster leave", FINDINGS);
}

fn leave_without_the_database_takes_force(kind: Kind) {
    let mut database = Database::start(kind);
    let site = Site::new(&database.url());
    site.runs("cluster init", DONE);
    database.go_down();
    site.runs("cluster leave", TRY_AGAIN).says(&["nothing was changed", "--force"]);
    assert!(mark(&site).is_some());
    site.runs("cluster leave --force", DONE);
    assert_eq!(mark(&site), None);
}

fn run_and_the_spools_mark_have_to_agree(kind: Kind) {
    let database = Database::start(kind);
    let mut site = Site::new(&database.url());
    site.runs("run", TRY_AGAIN).says(&["not marked", "cluster init", "no mail is sent"]);
    site.runs("cluster init", DONE);
    site.database = String::new();
    site.runs("run", TRY_AGAIN).says(&["cluster.database is not set", "cluster leave", "no mail is sent"]);
    site.database = database.url_with(":wrong");
    let told = site.runs("run", TRY_AGAIN);
    told.says(&["sympa", "no mail is sent"]);
    assert!(!told.stderr.contains("wrong"), "{told:?}");
    site.database = database.url();
    database.sql(&format!("UPDATE {} SET identity = 'of another spool'", database.table("cluster")));
    site.runs("run", TRY_AGAIN).says(&["belong to another spool"]);
}

fn a_password_is_never_shown(kind: Kind) {
    let mut database = Database::start(kind);
    let mut site = Site::new(&database.url());
    site.runs("cluster init", DONE);
    let said = std::cell::RefCell::new(String::new());
    let hear = |site: &Site, line: &str, code| {
        let told = site.runs(line, code);
        said.borrow_mut().extend([told.stdout, told.stderr]);
    };
    hear(&site, "config show", DONE);
    hear(&site, "cluster status --json", DONE);
    site.put("5", NAME, "p", 1, 20);
    let mut node = site.node_with("one", &site.knobs);
    site.sink.wait_for_recipients(20);
    site.spool.wait_until_empty();
    database.go_down();
    node.wait_for_lines(1, &["is away"]);
    node.stop();
    said.borrow_mut().push_str(&node.log());
    assert!(node.log().contains("***"), "the log names the database");
    for line in ["cluster status", "cluster init"] {
        hear(&site, line, TRY_AGAIN);
    }
    database.come_up();
    site.database = format!("{}?no_such_option=1", database.url());
    hear(&site, "cluster status", USAGE);
    site.database = database.url_with("");
    hear(&site, "cluster status", TRY_AGAIN);
    let file = site.spool.path().with_extension("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    site.knobs.cluster = format!("password_file = '{}'", file.display());
    // The one that could not say goodbye is still in the tables.
    hear(&site, "cluster status", DONE);
    hear(&site, "config show", DONE);
    fs::remove_file(file).unwrap();
    hear(&site, "cluster status", USAGE);
    let said = said.into_inner();
    assert!(!said.contains(PASSWORD), "{said}");
}

fn what_a_row_says_reaches_no_terminal_raw(kind: Kind) {
    let database = Database::start(kind);
    let site = Site::new(&database.url());
    site.runs("cluster init", DONE);
    let _node = site.node("one");
    let shown = || site.runs("cluster status", DONE).stdout;
    wait_until("it has joined", || shown().contains("2 workers"), shown);
    let (table, escape) = (database.table("process"), if kind == Kind::Postgres { "chr(27)" } else { "char(27)" });
    database.sql(&format!("UPDATE {table} SET host = concat({escape}, '[2J')"));
    assert!(shown().contains("?[2J"), "{}", shown());
    assert!(!shown().contains('\u{1b}'));
}

fn of_two_that_share_a_spool_at_once_one_is_second(kind: Kind) {
    let database = Database::start(kind);
    let site = Site::new(&database.url());
    for _ in 0..5 {
        let ended: Vec<bool> = std::thread::scope(|scope| {
            // Each command writes the configuration that it is run with.
            let commands = [site.command("cluster init"), site.command("cluster init")];
            let init = |mut command: std::process::Command| command.output().unwrap().status.success();
            let threads = commands.map(|command| scope.spawn(move || init(command)));
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ended, [true, true]);
        let marked = mark(&site).expect("it is marked");
        let identity = database.sql(&format!("SELECT identity FROM {}", database.table("cluster")));
        assert_eq!(marked["identity"], identity);
        site.runs("cluster leave --drop-tables", DONE);
    }
}
