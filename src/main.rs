//! Arguments → command → exit code.

use std::process::ExitCode;

use clap::Parser;
use sympa_dist::cli::{self, Arguments};

fn main() -> ExitCode {
    cli::main(Arguments::parse())
}
