//! `sympa-dist release`: lets held messages go, back to where they were.

use clap::Args;

use super::selection::Selection;
use super::{CliError, Exit, Global, moving};
use crate::daemon::{clock, late};
use crate::mail::Priority;

/// Lets held messages go
#[derive(Args, Debug)]
pub struct Release {
    #[command(flatten)]
    messages: Selection,
    /// Not back to where they were, but there
    #[arg(long, value_name = "P")]
    to: Option<Priority>,
    /// Only say what would be released
    #[arg(long)]
    dry_run: bool,
}

impl Release {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        if self.to == Some(Priority::Held) {
            return Err(CliError::Usage("--to z would hold, not release; nothing was changed".into()));
        }
        let settings = global.load()?.settings;
        let spool = global.open_spool()?;
        let ids = self.messages.of(&spool)?;
        let now = clock::epoch();
        moving::each(&spool, &ids, self.dry_run, |id| late::release(&spool, id, self.to, settings.inject.priority, now))
    }
}
