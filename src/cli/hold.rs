//! `sympa-dist hold`: moves messages to `z`, where nothing is sent, and remembers where they were and why.

use clap::Args;

use super::selection::Selection;
use super::{CliError, Exit, Global, moving, person};
use crate::daemon::clock;
use crate::spool::moves;

/// Holds messages: not sent until they are released
#[derive(Args, Debug)]
pub struct Hold {
    #[command(flatten)]
    messages: Selection,
    /// For whoever looks at the queue next
    #[arg(long, value_name = "TEXT", default_value = "held by hand")]
    reason: String,
    /// Only say what would be held
    #[arg(long)]
    dry_run: bool,
}

impl Hold {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let spool = global.open_spool()?;
        let ids = self.messages.of(&spool)?;
        moving::each(&spool, &ids, self.dry_run, |id| moves::hold(&spool, id, clock::epoch(), &person(), &self.reason))
    }
}
