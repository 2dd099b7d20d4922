//! `sympa-dist completions`: what a shell needs to complete command lines.

use std::io::Write;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, CliError, Exit};

/// Prints the completion script of a shell
#[derive(Args, Debug)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<Exit, CliError> {
        // Not straight to the output: the generator panics where nobody reads.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut what_is_shown(), "sympa-dist", &mut script);
        let script = String::from_utf8_lossy(&script);
        std::io::stdout().lock().write_all(mended(&script).as_bytes())?;
        Ok(Exit::Done)
    }
}

/// The program without its hidden commands, which the generator would offer like all others.
fn what_is_shown() -> Command {
    let all = Arguments::command();
    Command::new("sympa-dist")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|command| !command.is_hide_set()).cloned())
}

/// For a program with a `-` in its name, clap_complete 4.6 looks bash's commands up by other names than it gives them, and
/// nothing behind a command is completed (a bug known there). Other scripts have no such names.
fn mended(script: &str) -> String {
    script.replace("sympa__subcmd__dist__subcmd__", "sympa__dist__subcmd__")
}
