//! Terminals that show less, or are of another size.

use crate::support::spool::{TestSpool, members};
use crate::tmux::Tmux;

const ID: &str = "a-list-with-a-long-name@lists.top.example.org.1700000000.123";

fn one() -> TestSpool {
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 5)]);
    spool
}

/// Whether escape sequences in it ask for a colour.
fn has_colour(screen: &str) -> bool {
    let sequences = screen.split("\u{1b}[").skip(1).filter_map(|rest| rest.split('m').next());
    let mut numbers = sequences.flat_map(|sequence| sequence.split(';').map(str::to_owned).collect::<Vec<_>>());
    // 39 and 49: no colour.
    numbers.any(|number| matches!(number.parse(), Ok(30..=38 | 40..=48 | 90..=107)))
}

#[test]
fn without_colour_everything_is_said_in_letters() {
    let spool = one();
    let path = spool.path().to_str().unwrap();
    for (environment, colour, ascii) in [
        (&[][..], true, false),
        (&["NO_COLOR=1"], false, false),
        (&["TERM=vt100"], false, true),
        (&["TERM=dumb"], false, true),
        (&["LC_ALL=C"], true, true),
    ] {
        let tmux = Tmux::start(&["--spool", path, "top"], environment);
        let screen = tmux.wait_for(&["! no scheduler runs", "> 3 stuck !", "[workers busy 0]", "?:help"]);
        assert_eq!(has_colour(&tmux.coloured()), colour, "{environment:?}: {}", tmux.coloured());
        assert_eq!(screen.is_ascii(), ascii, "{environment:?}: {screen}");
    }
}

#[test]
fn a_terminal_of_another_size_shows_as_much_as_it_has_room_for() {
    let spool = one();
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top"], &[]);
    tmux.wait_for(&["> 3 stuck !"]);
    tmux.resize(120, 40);
    tmux.wait_until("the id in the list and below it", |screen| screen.matches(ID).count() == 2);
    tmux.resize(60, 14);
    tmux.wait_until("few levels", |screen| screen.contains("levels 3:1") && screen.contains("> 3 stuck !"));
    tmux.resize(40, 5);
    tmux.wait_until("the message alone", |screen| screen.contains("> 3 stuck !") && !screen.contains("levels"));
    tmux.resize(80, 24);
    tmux.wait_for(&["P       msgs   left oldest   rate    ETA", "> 3 stuck !", ID, "q:quit"]);
}

#[test]
fn however_narrow_the_terminal_is_a_message_is_known_by_its_id() {
    let spool = one();
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top"], &[]);
    tmux.wait_for(&["> 3 stuck !"]);
    for (width, titles, id) in [
        (120, "  P state       done   left   rate    ETA    age  message, by priority", ID),
        (
            80,
            "  P state       done   left   rate    ETA    age  message, by priority",
            "a-list-with-a-l…1700000000.123",
        ),
        (60, "  P state       done   left    ETA    age  message, by prior", "a-list-w…0000.123"),
        (40, "  P state        left  message, by prior", "a-list-w…0000.123"),
    ] {
        tmux.resize(width, 24);
        let is_row = |row: &str| row.starts_with("> 3 stuck !") && row.ends_with(&format!("  {id}"));
        let is_drawn = |screen: &str| screen.lines().any(is_row) && screen.lines().any(|row| row.starts_with(titles));
        let screen = tmux.wait_until(&format!("{width} columns"), is_drawn);
        let clock = screen.lines().next().unwrap().rsplit(' ').next().unwrap();
        assert_eq!(clock.split(':').map(str::len).collect::<Vec<_>>(), [2, 2, 2], "{screen}");
    }
}
