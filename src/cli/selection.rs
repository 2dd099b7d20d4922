//! Which messages a command is about: by id, by list, by priority, or all.

use clap::Args;

use super::CliError;
use crate::mail::{MessageId, Priority};
use crate::spool::Spool;

#[derive(Args, Debug)]
pub struct Selection {
    /// Message ids
    #[arg(value_name = "ID")]
    ids: Vec<MessageId>,
    /// All messages of this list
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ids")]
    list: Option<String>,
    /// All messages at this priority; with --list: those of the list there
    #[arg(long, value_name = "P", conflicts_with = "ids")]
    from: Option<Priority>,
    /// All messages
    #[arg(long, conflicts_with_all = ["ids", "list", "from"])]
    all: bool,
}

impl Selection {
    /// The messages meant, most urgent first. Ids are taken as they are: whether they are there, the command finds.
    pub fn of(&self, spool: &Spool) -> Result<Vec<MessageId>, CliError> {
        if !self.ids.is_empty() {
            return Ok(self.ids.clone());
        }
        if self.list.is_none() && self.from.is_none() && !self.all {
            return Err(CliError::Usage(
                "which messages? Give ids, --list, --from or --all; nothing was changed".into(),
            ));
        }
        let mut chosen = Vec::new();
        for priority in Priority::all().filter(|priority| self.from.is_none_or(|from| from == *priority)) {
            let mut messages = spool.messages(priority)?;
            messages.retain(|name| self.list.as_deref().is_none_or(|list| name.id.list() == list));
            messages.sort_by_key(|name| name.id.arrival());
            chosen.extend(messages.into_iter().map(|name| name.id));
        }
        Ok(chosen)
    }
}
