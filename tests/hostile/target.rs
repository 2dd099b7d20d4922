//! Runs one target: a strategy's cases through a property, once or for as long as the environment asks.

use std::io::Write;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// `SYMPA_DIST_…` would be taken for a key of the configuration.
const SECONDS: &str = "TEST_SECONDS";

/// What a property says of a case.
pub type Verdict = Result<(), TestCaseError>;

/// Holds `property` against `cases` values, then against as many again until `TEST_SECONDS` are over.
pub fn run<S: Strategy>(name: &str, cases: u32, strategy: S, property: impl Fn(S::Value) -> Verdict) {
    let seconds = std::env::var(SECONDS).ok().map_or(0, |text| text.parse().expect("TEST_SECONDS is a number"));
    let start = Instant::now();
    let mut done = 0_u64;
    loop {
        let config = Config {
            cases,
            // What is found becomes a test of its own, with a name that says what it is about.
            failure_persistence: None,
            max_shrink_iters: 4096,
            max_global_rejects: u32::MAX,
            ..Config::default()
        };
        if let Err(error) = TestRunner::new(config).run(&strategy, &property) {
            panic!("{name}, behind {done} cases: {error}");
        }
        done += u64::from(cases);
        if start.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    // Past the harness, which keeps to itself what a test that passes prints.
    let line = format!("{name}: {done} cases in {:.1} s\n", start.elapsed().as_secs_f64());
    let _ = std::io::stderr().write_all(line.as_bytes());
}
