//! `sympa-dist check`: what in the spool breaks its contract.

use std::io::Write;

use clap::Args;

use super::words::printable;
use super::{CliError, Exit, Global};
use crate::daemon::clock;
use crate::daemon::mended::KNOWLEDGE;
use crate::spool::Spool;
use crate::spool::check;
use crate::spool::disk::Disk;

/// Looks for damage in the spool; exit code 1 if there is any
#[derive(Args, Debug)]
pub struct Check {
    /// Mends what can be mended without losing anything
    #[arg(long)]
    repair: bool,
}

impl Check {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let root = global.load()?.settings.spool;
        let now = clock::epoch();
        let mut findings = check::check(&root, &KNOWLEDGE, now)?;
        let mut stdout = std::io::stdout().lock();
        if self.repair && findings.iter().any(check::Finding::is_repairable) {
            if let Ok(spool) = Spool::open(&Disk::default(), &root) {
                spool.require_owner()?;
            }
            let (left, mended) = check::repair(&root, findings, now)?;
            findings = left;
            writeln!(stdout, "{mended} mended")?;
        }
        for finding in &findings {
            let hint = if finding.is_repairable() { " (--repair mends this)" } else { "" };
            writeln!(stdout, "{}{hint}", printable(&finding.to_string()))?;
        }
        if findings.is_empty() {
            writeln!(stdout, "{}: in order", root.display())?;
            return Ok(Exit::Done);
        }
        Ok(Exit::Findings)
    }
}
