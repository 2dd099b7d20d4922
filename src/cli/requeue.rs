//! `sympa-dist requeue`: moves messages to another priority, by one rename each.
//!
//! Works with or without a running scheduler, also on a message that is being sent: the scheduler acts on it at the next
//! boundary.

use clap::Args;

use super::selection::Selection;
use super::{CliError, Exit, Global, moving, person};
use crate::daemon::clock;
use crate::mail::Priority;
use crate::spool::moves;

/// Moves messages to another priority, also while they are being sent
#[derive(Args, Debug)]
pub struct Requeue {
    #[command(flatten)]
    messages: Selection,
    /// 0 (first) to 9, or z (held)
    #[arg(long, value_name = "P")]
    to: Priority,
    /// Only say what would be moved
    #[arg(long)]
    dry_run: bool,
}

impl Requeue {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let spool = global.open_spool()?;
        let ids = self.messages.of(&spool)?;
        moving::each(&spool, &ids, self.dry_run, |id| match self.to {
            Priority::Held => moves::hold(&spool, id, clock::epoch(), &person(), "requeued to z"),
            to => moves::requeue(&spool, id, to),
        })
    }
}
