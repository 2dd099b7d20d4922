//! The built binary hands mail to Postfix and to its smtp-sink. What counts is what the sink at the far end keeps.

mod support;

use std::time::Duration;

use support::postfix::{Postfix, SmtpSink, Speaks};
use support::program::Program;
use support::spool::{TestSpool, members, wait_until};

const WORKERS: usize = 4;
const TRANSACTION: usize = 50;

fn start(spool: &TestSpool, relay: &str) -> Program {
    let (workers, transaction) = (WORKERS.to_string(), TRANSACTION.to_string());
    let arguments = ["--relay", relay, "--workers", &workers, "--recipients-per-transaction", &transaction];
    Program::run_with(spool.path(), &arguments, &[("SYMPA_DIST_RETRY_SCHEDULE", "1s")])
}

fn smtp(port: u16) -> String {
    format!("smtp://127.0.0.1:{port}")
}

fn put(spool: &TestSpool, members: &[String]) -> String {
    let name = "big@lists.example.org.1700000000.1";
    let packets: Vec<Vec<String>> = members.chunks(250).map(<[String]>::to_vec).collect();
    spool.put_packets("5", name, &packets);
    name.to_owned()
}

fn wait_for_all(sink: &SmtpSink, count: usize) -> Vec<String> {
    let far = || sink.recipients();
    wait_until("the far end has all", || far().len() >= count, || format!("{} of {count}", far().len()));
    far()
}

#[test]
fn smtp_sink_takes_everything_once() {
    for (speaks, scheme) in [(Speaks::Smtp, "smtp"), (Speaks::Lmtp, "lmtp")] {
        let sink = SmtpSink::start(speaks);
        let spool = TestSpool::new();
        let everybody = members("m", 2000);
        put(&spool, &everybody);
        let mut program = start(&spool, &format!("{scheme}://127.0.0.1:{}", sink.port));
        spool.wait_until_empty();
        assert!(program.stop().success());
        assert_eq!(sink.recipients(), everybody);
    }
}

#[test]
fn postfix_with_a_limit_of_recipients_gets_everything_once_and_nobody_is_deferred() {
    let sink = SmtpSink::start(Speaks::Smtp);
    let postfix = Postfix::start(&sink, "smtpd_recipient_limit = 20");
    let spool = TestSpool::new();
    let everybody = members("m", 1000);
    put(&spool, &everybody);
    let mut program = start(&spool, &smtp(postfix.port));
    spool.wait_until_empty();
    assert!(program.stop().success());
    assert_eq!(wait_for_all(&sink, 1000), everybody);
}

#[test]
fn those_postfix_does_not_know_are_reported_and_all_others_get_it_once() {
    let sink = SmtpSink::start(Speaks::Smtp);
    let postfix = Postfix::start(
        &sink,
        "smtpd_recipient_restrictions = check_recipient_access regexp:{{/^unknown/ 550 5.1.1 User unknown}}",
    );
    let spool = TestSpool::new();
    let known = members("m", 400);
    let mut everybody = [known.clone(), members("unknown", 40)].concat();
    // In each transaction some of both.
    everybody.sort_by_key(|address| address[address.len() - 14..].to_owned());
    let name = put(&spool, &everybody);
    let mut program = start(&spool, &smtp(postfix.port));
    spool.wait_until_empty();
    assert!(program.stop().success());
    // And the report.
    let mut got = wait_for_all(&sink, 401);
    let failed = support::reports::failed(&sink.reports(), &name);
    assert!(failed.iter().all(|failed| failed.reply.starts_with("550 5.1.1")), "{failed:?}");
    assert_eq!(failed.into_iter().map(|failed| failed.recipient).collect::<Vec<_>>(), members("unknown", 40));
    got.retain(|recipient| recipient.starts_with('m'));
    assert_eq!(got, known);
}

/// More of them in a transaction than the errors (20) behind which Postfix ends a connection with 421.
#[test]
fn greylisted_recipients_get_it_later_and_once() {
    let sink = SmtpSink::start(Speaks::Smtp);
    let mut postfix = Postfix::start(
        &sink,
        "smtpd_recipient_restrictions = check_recipient_access regexp:{{/^grey/ 450 4.7.1 Greylisted}}\n\
         smtpd_error_sleep_time = 0",
    );
    let spool = TestSpool::new();
    let everybody = [members("grey", 100), members("m", 100)].concat();
    let name = put(&spool, &everybody);
    let mut program = start(&spool, &smtp(postfix.port));
    let packets = |names: &[String]| {
        let packets = names.iter().filter(|name| name.starts_with("recipients") && !name.ends_with(".status"));
        packets.cloned().collect::<Vec<_>>().into_iter()
    };
    // Of the first generation or of a later one.
    let is_retry = |name: String| name.contains(".r");
    let place = spool.at("5").join(&name);
    let deferred = || {
        let Ok(files) = std::fs::read_dir(&place) else { return false };
        let names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        !names.is_empty() && packets(&names).all(is_retry)
    };
    wait_until("nobody but deferred recipients is left", deferred, || format!("{:?}", spool.waiting()));
    postfix.wait_until_idle();
    postfix.restart("");
    spool.wait_until_empty();
    assert!(program.stop().success());
    assert_eq!(wait_for_all(&sink, 200), everybody);
}

#[test]
fn postfix_may_go_down_and_up_in_the_middle() {
    let sink = SmtpSink::start(Speaks::Smtp);
    let mut postfix = Postfix::start(&sink, "");
    let spool = TestSpool::new();
    let everybody = members("m", 5000);
    put(&spool, &everybody);
    let mut program = start(&spool, &smtp(postfix.port));
    wait_until("it has begun", || !sink.recipients().is_empty(), String::new);
    postfix.go_down();
    assert!(!spool.is_empty(), "it was over before the relay went down");
    std::thread::sleep(Duration::from_millis(300));
    postfix.come_up();
    spool.wait_until_empty();
    assert!(program.stop().success());
    wait_until(
        "everybody",
        || {
            let mut got = sink.recipients();
            got.dedup();
            got == everybody
        },
        || format!("{}", sink.recipients().len()),
    );
    let repeats = sink.recipients().len() - everybody.len();
    println!(
        "Postfix down and up: {} recipients, missing 0, repeated {repeats} behind unanswered dots",
        everybody.len()
    );
    assert!(repeats <= WORKERS * TRANSACTION, "{repeats}");
}
