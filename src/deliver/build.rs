//! From a relay's settings to the relay, by its URL's scheme.

use std::sync::Arc;

use super::maildir::MaildirRelay;
use super::sendmail::SendmailRelay;
use super::settings::{RelaySettings, RelayUrl, SetupError};
use super::smtp::SmtpRelay;
use super::{Relay, lmtp};

impl RelaySettings {
    /// Makes the relay. Reads the certificate authorities, opens no connection.
    pub fn build(&self) -> Result<Arc<dyn Relay>, SetupError> {
        if self.login.is_some() && matches!(self.url, RelayUrl::Sendmail { .. } | RelayUrl::Maildir { .. }) {
            return Err(SetupError::LoginUnused { relay: self.url.to_string() });
        }
        Ok(match &self.url {
            RelayUrl::Smtp { host, port } => Arc::new(SmtpRelay::smtp(self, host, *port, false)?),
            RelayUrl::Smtps { host, port } => Arc::new(SmtpRelay::smtp(self, host, *port, true)?),
            RelayUrl::Lmtp { host, port } => Arc::new(lmtp::tcp(self, host, *port)?),
            RelayUrl::LmtpUnix { path } => Arc::new(lmtp::unix(self, path)?),
            RelayUrl::Sendmail { path } => Arc::new(SendmailRelay::new(path.clone(), self.dot_timeout)),
            RelayUrl::Maildir { path } => Arc::new(MaildirRelay::new(path.clone())),
        })
    }
}
