//! `sympa-dist man`: writes the manual pages, one for the program and one for each command. For packagers, so hidden.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::roff::{Roff, bold, roman};

use super::{Arguments, CliError, Exit};

/// Writes the manual pages into a directory
#[derive(Args, Debug)]
pub struct Man {
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

const SOURCE: &str = concat!("sympa-dist ", env!("CARGO_PKG_VERSION"));

/// What the program's own page says beside its arguments: heading, then terms and what they mean.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "Done."),
            ("1", "Nothing matched, or something was found that should not be."),
            ("2", "Usage: what was asked, or the configuration, makes no sense."),
            ("75", "It did not work now: try again later (EX_TEMPFAIL of sysexits.h)."),
        ],
    ),
    (
        "SIGNALS",
        &[
            ("TERM, INT", "End run: final dots that are out are waited for. A second one ends it at once."),
            (
                "HUP",
                "Makes run read its configuration again. A bad one is reported, and the old one stays. All is taken up but \
                 spool, log, cluster, watch, http and metrics, which wait for a restart: a warning names what of them has \
                 changed. The files of http.token_file, http.tls_certificate and http.tls_key are read again.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("SYMPA_DIST_CONFIG", "The configuration file."),
            ("SYMPA_DIST_SECTION_KEY", "A key of the configuration, such as SYMPA_DIST_RUN_WORKERS."),
            ("NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd: run tells it how it is."),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/sympa-dist.toml", "The configuration. Not needed."),
            ("/var/spool/sympa-dist", "The spool. The contract for its files comes with the documentation."),
        ],
    ),
];

impl Man {
    pub fn run(self) -> Result<Exit, CliError> {
        let mut program = Arguments::command().disable_help_subcommand(true);
        program.build();
        self.write(&program, SECTIONS)?;
        for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
            self.write(command, &[])?;
            for part in command.get_subcommands() {
                self.write(part, &[])?;
            }
        }
        Ok(Exit::Done)
    }

    fn write(&self, command: &clap::Command, sections: &[(&str, &[(&str, &str)])]) -> Result<(), CliError> {
        let page = clap_mangen::Man::new(command.clone());
        let path = self.directory.join(page.get_filename());
        // An empty date would not be quoted, and what follows it would take its place.
        let page = page.source(SOURCE).date(" ").manual("User Commands");
        let text = text(&page, sections).map_err(|error| cannot_write(&path, &error))?;
        std::fs::write(&path, text).map_err(|error| cannot_write(&path, &error))
    }
}

fn text(page: &clap_mangen::Man, sections: &[(&str, &[(&str, &str)])]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut more = Roff::new();
    for (heading, terms) in sections {
        more.control("SH", [*heading]);
        for (term, meaning) in *terms {
            more.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
        }
    }
    more.to_writer(&mut text)?;
    Ok(text)
}

fn cannot_write(path: &Path, error: &io::Error) -> CliError {
    CliError::TryAgain(format!("cannot write {}: {error}", path.display()))
}
