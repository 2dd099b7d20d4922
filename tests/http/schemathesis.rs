//! Schemathesis makes requests of the document, right ones and wrong ones, and reads the answers with it.
//!
//! It is in no package of Debian 12: `tests/run` installs it below `target/tools/`, at a version of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::served::{Served, TOKEN};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, members};

/// Different requests each time would make a test that fails now and then. `TEST_SEED=7` tries others.
const SEED: &str = "1";
/// For each operation and way to make requests.
const EXAMPLES: &str = "50";

fn program() -> PathBuf {
    let tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tests.parent().expect("it is in target").join("tools/schemathesis/bin/schemathesis")
}

/// Messages that nobody sends yet, so that requests find some, also after a hundred were cancelled.
fn spool() -> TestSpool {
    let spool = TestSpool::new();
    for n in 0..300 {
        let id = format!("list{}@schema.example.org.1700000000.{n}", n % 10);
        match n % 4 {
            0 => spool.put_packets("z", &id, &[members("m", 3)]),
            level => spool.put_packets(&level.to_string(), &format!("{id}:at4000000000"), &[members("m", 3)]),
        }
    }
    // The one that the document has as an example.
    spool.put_packets("z", "my-list@my.dom.1192613090.972", &[members("m", 3)]);
    spool
}

/// Runs it with further arguments; what it finds is the failure.
fn finds_nothing(arguments: &[&str]) {
    let relay = Relay::start(Policy::new());
    let served = Served::start(spool(), &relay.url().to_string(), &[]);
    served.wait_until_counted(301);
    let document = format!("http://{}/api/v1/openapi.json", served.address);
    let seed = std::env::var("TEST_SEED").unwrap_or_else(|_| SEED.into());
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    // Nothing is kept between runs, and no configuration of somebody's directory is read.
    command.current_dir(place.path()).args(["run", &document, "--no-color", "--generation-database", "none"]);
    command.args(["--max-examples", EXAMPLES, "--seed", &seed, "--checks", "all", "--continue-on-failure"]);
    // A listener to events hears as much as it hears in that time.
    command.args(["--request-timeout", "2"]).args(arguments);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // That it has done something.
    assert!(said.contains("Tested: 17") && said.contains(" generated"), "{said}");
    assert_eq!(served.ask("GET", "/healthz", &[], "").0, 200);
}

#[test]
fn schemathesis_finds_nothing_with_the_token() {
    finds_nothing(&["--header", &format!("Authorization: Bearer {TOKEN}")]);
}

#[test]
fn schemathesis_finds_nothing_without_the_token() {
    finds_nothing(&[]);
}
