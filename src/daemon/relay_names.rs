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
    // Of another host's, nobody here may see whether it still runs.
    let host = running::host();
    let schedulers = running::list_with(spool, |name| name.host != host)?;
    Ok(schedulers.iter().flat_map(|scheduler| &scheduler.relays).any(|used| used.relay == url))
}
