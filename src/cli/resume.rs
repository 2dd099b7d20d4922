//! `sympa-dist resume`: lets go on what was paused.

use std::io::Write;

use clap::Args;

use super::pause::What;
use super::words;
use super::{CliError, Exit, Global, say};
use crate::daemon::clock;
use crate::spool::layout::PauseName;
use crate::spool::pause;

/// Lets go on what was paused; exit code 1 if it was not
#[derive(Args, Debug)]
pub struct Resume {
    #[command(flatten)]
    what: What,
    /// Whatever is paused
    #[arg(long, conflicts_with = "What")]
    all: bool,
}

impl Resume {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let name = self.what.name(&global.load()?.settings.relays)?;
        let spool = global.open_spool()?;
        let names: Vec<PauseName> = match self.all {
            true => pause::list(&spool, clock::epoch())?.into_iter().map(|paused| paused.name).collect(),
            false => vec![name],
        };
        let mut stdout = std::io::stdout().lock();
        // Whether anybody reads what is resumed has no say in what is resumed.
        let mut printed = Ok(());
        let mut resumed = false;
        for name in &names {
            if pause::resume(&spool, name)? {
                resumed = true;
                printed = printed.and_then(|()| writeln!(stdout, "{} is resumed", words::paused(name)));
            } else {
                say(&format!("{} is not paused", words::paused(name)));
            }
        }
        printed?;
        if !resumed && !self.what.is_given() {
            let left = pause::list(&spool, clock::epoch())?;
            for paused in &left {
                say(&format!("{} is paused; --all resumes whatever is", words::paused(&paused.name)));
            }
        }
        Ok(if resumed { Exit::Done } else { Exit::Findings })
    }
}
