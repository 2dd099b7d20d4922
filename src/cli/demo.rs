//! demo
use super::{CliError, Exit, Global};
use clap::Args;
/// Shows it all at work in a temporary spool: no MTA, no database, no configuration
#[derive(Args, Debug)]
pub struct Demo {}
impl Demo {
    pub fn run(self, _global: &Global) -> Result<Exit, CliError> {
        Ok(Exit::Done)
    }
}
