//! Whether there is a relay of that URL: in the configuration, or in use by a scheduler that runs on the spool, whose
//! command line may name others.

use crate::deliver::RelaySettings;
use crate::spool::disk::Result;
use crate::spool::{Spool, running};

/// See the module. The URL is as relays print it.
pub fn is_there(spool: &Spool, configured: &[RelaySettings], url: &str) -> Result<bool> {
    if configured.iter().any(|relay| relay.url.to_string() == url) {
        return Ok(true);
    }
    Ok(running::list(spool)?.iter().flat_map(|scheduler| &scheduler.relays).any(|used| used.relay == url))
}
