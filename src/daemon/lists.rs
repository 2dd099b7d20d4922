//! What holds for one list and not for the others.
//!
//! By the list's address, exact or with a glob; of several tables that match, the first one in the file holds, and it alone:
//! what it leaves open, the general settings say.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use globset::{Glob, GlobMatcher};

use crate::mail::{Priority, ReversePath};
use crate::schedule::Windows;

/// All of them, in the order of the file.
#[derive(Clone, Default, Debug)]
pub struct Lists(pub Vec<ListSettings>);

/// One table.
#[derive(Clone, Debug)]
pub struct ListSettings {
    pub pattern: Pattern,
    /// Where new messages go.
    pub priority: Option<Priority>,
    /// Recipients a packet.
    pub packet_size: Option<NonZero<usize>>,
    pub sender: Option<ReversePath>,
    /// The only relays that its mail is handed to, by their URLs as logs name them.
    pub relays: Option<Arc<[String]>>,
    /// Workers that its messages may have at a time.
    pub max_workers: Option<NonZero<usize>>,
    /// When its messages may be sent.
    pub deliver: Option<Arc<Windows>>,
    /// So long after it may first be sent, a message is too late to be useful.
    pub not_after: Option<Duration>,
}

/// A list's address, perhaps with `*`, `?`, `[…]` or `{…,…}`.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    glob: GlobMatcher,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, String> {
        let glob = Glob::new(text).map_err(|error| error.kind().to_string())?;
        Ok(Pattern { text: text.to_owned(), glob: glob.compile_matcher() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A list's name may have a `*` of its own: what is written as it is called is it.
    pub fn matches(&self, list: &str) -> bool {
        self.text == list || self.glob.is_match(list)
    }
}

impl ListSettings {
    pub fn new(pattern: Pattern) -> ListSettings {
        ListSettings {
            pattern,
            priority: None,
            packet_size: None,
            sender: None,
            relays: None,
            deliver: None,
            max_workers: None,
            not_after: None,
        }
    }
}

impl Lists {
    /// Which table holds for that list.
    pub fn position(&self, list: &str) -> Option<usize> {
        self.0.iter().position(|table| table.pattern.matches(list))
    }

    pub fn of(&self, list: &str) -> Option<&ListSettings> {
        self.position(list).map(|at| &self.0[at])
    }

    /// How many workers messages of that list may have at a time; `None`: all.
    pub fn max_workers(&self, list: &str) -> Option<NonZero<usize>> {
        self.of(list)?.max_workers
    }

    /// When its messages may be sent; `None`: always.
    pub fn deliver(&self, list: &str) -> Option<Arc<Windows>> {
        self.of(list)?.deliver.clone()
    }

    /// The only relays that its mail is handed to; `None`: all.
    pub fn relays(&self, list: &str) -> Option<Arc<[String]>> {
        self.of(list)?.relays.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_table_that_matches_holds() {
        let table = |text| ListSettings::new(Pattern::new(text).unwrap());
        let lists = Lists(["news@my.dom", "news@*", "*@other.dom", "a*b@x.org"].map(table).to_vec());
        for (list, at) in [
            ("news@my.dom", Some(0)),
            ("news@other.dom", Some(1)),
            ("x/y@other.dom", Some(2)),
            ("a*b@x.org", Some(3)),
            ("a{b@x.org", Some(3)),
            ("renews@my.dom", None),
            ("News@my.dom", None),
        ] {
            assert_eq!(lists.position(list), at, "{list}");
        }
        assert!(Pattern::new("news@[").is_err());
    }
}
