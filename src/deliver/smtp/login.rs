//! Logging in (RFC 4954): PLAIN (RFC 4616), or LOGIN where a relay knows nothing better.

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::Auth;
use lettre::transport::smtp::response::{Category, Code, Detail, Response, Severity};

use super::session::Session;
use crate::deliver::{Interrupt, Trouble};

const DOING: &str = "AUTH";

impl Session {
    /// Logs in if there is a login.
    pub(super) fn log_in(&mut self, interrupt: &Interrupt) -> Result<(), Trouble> {
        let Some(credentials) = self.peer.login.clone() else { return Ok(()) };
        if !self.wire.is_encrypted() && !self.wire.is_local() {
            return Err(self.peer.unavailable(
                DOING,
                "the connection is not encrypted, and a password is sent in the clear to this machine only; no mail is sent",
            ));
        }
        if self.capabilities.auth_plain {
            let code = self.say(Auth::new(Mechanism::Plain, credentials, None), interrupt)?;
            return self.logged_in(code);
        }
        if self.capabilities.auth_login {
            let mut code = self.say(Auth::new(Mechanism::Login, credentials.clone(), None), interrupt)?;
            // The challenges' wording differs from relay to relay, their order doesn't.
            for challenge in ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"] {
                if code != 334 {
                    break;
                }
                code = self.say(answer(&credentials, challenge), interrupt)?;
            }
            return self.logged_in(code);
        }
        Err(self.peer.unavailable(DOING, "there is a login, but the relay offers neither AUTH PLAIN nor AUTH LOGIN"))
    }

    fn say(
        &mut self,
        command: Result<Auth, lettre::transport::smtp::Error>,
        interrupt: &Interrupt,
    ) -> Result<u16, Trouble> {
        let command = command.map_err(|error| self.peer.unavailable(DOING, error))?;
        self.command(DOING, command.to_string().as_bytes(), interrupt)
    }

    fn logged_in(&self, code: u16) -> Result<(), Trouble> {
        if code == 235 { Ok(()) } else { Err(self.refused(DOING)) }
    }
}

fn answer(credentials: &Credentials, challenge: &str) -> Result<Auth, lettre::transport::smtp::Error> {
    let code = Code::new(Severity::PositiveIntermediate, Category::Unspecified3, Detail::Four);
    Auth::new_from_response(Mechanism::Login, credentials.clone(), &Response::new(code, vec![challenge.to_owned()]))
}
