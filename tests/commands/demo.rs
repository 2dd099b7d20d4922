//! `sympa-dist demo`.

use crate::bench::{Bench, DONE, Told};

#[test]
fn the_demo_counts_no_repeats_and_nobody_missing_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let temporary = tempfile::tempdir().unwrap();
    let mut command = bench.bare_command("demo --recipients 10000 --relay-delay 1");
    let told = Told::of(command.env("TMPDIR", temporary.path()), DONE);
    // 10,000, five urgent messages of three, and one of 5,000.
    told.prints(&["counted at the sink:", "  15,015 recipients in ", "stopped in ", "  repeats 0, missing 0\n"]);
    told.prints(&["  an urgent message, when all workers hang in a relay of 600ms a transaction, waited\n"]);
    told.prints(&[" without an express worker, ", " with one\n"]);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
