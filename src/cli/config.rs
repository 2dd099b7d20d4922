//! `sympa-dist config`: what is configured, and whether it can be.

use std::io::Write;

use clap::{Args, Subcommand};

use super::words::printable;
use super::{CliError, Exit, Global};
use crate::mail::message_id;

/// Checks or shows the configuration
#[derive(Args, Debug)]
pub struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Reads file, environment and flags, and the files that they name, and says all that is wrong (exit code 2)
    Check,
    /// Shows the settings in force as a configuration file, each with where it comes from
    Show,
    /// Shows what holds for a list, and which line says so
    Explain {
        /// The list's address
        #[arg(value_name = "LIST")]
        list: String,
    },
}

impl Config {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let loaded = global.load()?;
        let mut stdout = std::io::stdout().lock();
        match self.what {
            What::Check => {
                let unserved = loaded.unserved(cfg!(feature = "http"));
                let wrong: Vec<String> = unserved.into_iter().chain(loaded.unfit_files()).collect();
                if !wrong.is_empty() {
                    let printable: Vec<String> = wrong.iter().map(|line| printable(line)).collect();
                    return Err(CliError::Usage(printable.join("\n")));
                }
                match &loaded.file {
                    Some(file) => writeln!(stdout, "{}: in order", file.display())?,
                    None => writeln!(stdout, "no file; defaults, environment and flags are in order")?,
                }
            }
            What::Show => write!(stdout, "{}", loaded.show())?,
            What::Explain { list } => {
                message_id::check_list(&list).map_err(|why| CliError::Usage(format!("{list:?}: {why}")))?;
                write!(stdout, "{}", loaded.explain(&list))?;
            }
        }
        Ok(Exit::Done)
    }
}
