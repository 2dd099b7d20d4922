//! `sympa-dist config`: what is configured, and whether it can be.

use std::io::Write;

use clap::{Args, Subcommand};

use super::{CliError, Exit, Global};

/// Checks or shows the configuration
#[derive(Args, Debug)]
pub struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Reads file, environment and flags and says all that is wrong (exit code 2)
    Check,
    /// Shows the settings in force as a configuration file, each with where it comes from
    Show,
}

impl Config {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let loaded = global.load()?;
        let mut stdout = std::io::stdout().lock();
        match self.what {
            What::Check => {
                for relay in &loaded.settings.relays {
                    relay.build().map_err(|error| CliError::Usage(error.to_string()))?;
                }
                match &loaded.file {
                    Some(file) => writeln!(stdout, "{}: in order", file.display())?,
                    None => writeln!(stdout, "no file; defaults, environment and flags are in order")?,
                }
            }
            What::Show => write!(stdout, "{}", loaded.show())?,
        }
        Ok(Exit::Done)
    }
}
