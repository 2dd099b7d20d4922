//! Stories for people: a line each, or one at length.

use std::io::{Result, Write};

use comfy_table::{CellAlignment, Table, presets};

use crate::cli::words::{age, local_time, printable};
use crate::daemon::events::{Happening, Why};
use crate::mail::{MessageId, Moment, Priority};
use crate::monitor::event_log::line::Line;
use crate::monitor::event_log::story::{End, Refusal, Story};

/// Lines of what happened; the rest is for `--json`.
const MOST_LINES: usize = 200;

pub fn table(out: &mut impl Write, stories: &[Story]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "came",
        "message",
        "P",
        "waited",
        "took",
        "sent",
        "deferred",
        "failed",
        "preempted",
        "for",
        "rate",
        "state",
    ]);
    let none = || "-".to_owned();
    for story in stories {
        table.add_row([
            time(story.came),
            story.message.to_string(),
            story.priority.clone().unwrap_or_else(none),
            story.waited.map_or_else(none, duration),
            story.took.map_or_else(none, duration),
            story.sent.to_string(),
            story.deferred.to_string(),
            story.failed.to_string(),
            story.preempted.to_string(),
            if story.preempted_for > 0.0 { duration(story.preempted_for) } else { none() },
            story.rate.map_or_else(none, |rate| format!("{rate:.1}")),
            state(&story.end),
        ]);
    }
    for column in table.column_iter_mut().skip(3).take(8) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let table = table.to_string();
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
}

pub fn story(out: &mut impl Write, story: &Story, events: &[Line]) -> Result<()> {
    writeln!(out, "{}: {}", story.message, at_length(story))?;
    let mut say = |what: &str, text: String| writeln!(out, "  {what:<11} {text}");
    let found = match story.found {
        Some(found) if found - story.came >= 1.0 => format!(", found {} later", duration(found - story.came)),
        Some(_) => String::new(),
        None => "; the log begins in the middle of it".into(),
    };
    say("came", format!("{}{found}", time(story.came)))?;
    if let Some(at) = story.not_before {
        say("not before", time(at))?;
    }
    match (story.started, story.waited) {
        (Some(started), Some(waited)) => say("waited", format!("{}, until {}", duration(waited), time(started)))?,
        _ => say("waited", "and was never begun with, as far as the log goes".into())?,
    }
    if let (Some(ended), Some(took)) = (story.ended, story.took) {
        say("took", format!("{}, until {}", duration(took), time(ended)))?;
    }
    let uncertain = match story.uncertain {
        0 => String::new(),
        uncertain => format!(", {uncertain} uncertain"),
    };
    let (sent, deferred, failed) = (story.sent, story.deferred, story.failed);
    // Of what was never begun with, there is nothing to tell.
    if story.recipients.is_some() || story.started.is_some() || sent + deferred + failed > 0 {
        let all = story.recipients.map_or(String::new(), |recipients| format!("{recipients}: "));
        say("recipients", format!("{all}{sent} sent, {deferred} deferred, {failed} failed{uncertain}"))?;
    }
    if let Some(rate) = story.rate {
        let hosts: Vec<String> = story.hosts.iter().map(|host| printable(host)).collect();
        say("busy", format!("{}, at {rate:.1} recipients a second, on {}", duration(story.busy), hosts.join(", ")))?;
    }
    if story.went_first > 0 {
        say("went first", format!("{}: others gave way to it", times(story.went_first)))?;
    }
    if story.preempted > 0 {
        say("preempted", format!("{}, for {} in all", times(story.preempted), duration(story.preempted_for)))?;
        for one in &story.preemptions {
            let lasted = one.lasted.map_or("not sent on since".into(), |lasted| format!("for {}", duration(lasted)));
            let place = format!("{} on {}, worker {}", printable(&one.packet), printable(&one.host), one.worker);
            say("", format!("{} by {} ({}), {lasted}: {place}", time(one.at), one.by, one.by_priority))?;
        }
        let more = story.preempted - story.preemptions.len() as u64;
        if more > 0 {
            say("", format!("and {} more", times(more)))?;
        }
    }
    for (what, refusals) in [("deferred", &story.deferrals), ("failed", &story.failures)] {
        for (n, refusal) in refusals.iter().enumerate() {
            say(if n == 0 { what } else { "" }, refused(refusal))?;
        }
    }
    writeln!(out)?;
    happened(out, story, events)
}

/// What happened, line by line: all but the ordinary course of packets.
fn happened(out: &mut impl Write, story: &Story, events: &[Line]) -> Result<()> {
    let told = events.iter().filter_map(|line| Some((line, told(&line.event.what, &story.message)?)));
    let told: Vec<(&Line, String)> = told.collect();
    for (line, what) in told.iter().take(MOST_LINES) {
        writeln!(
            out,
            "  {}  {}: {}",
            to_the_millisecond(line.event.at),
            printable(&line.writer().host),
            printable(what)
        )?;
    }
    match told.len().saturating_sub(MOST_LINES) {
        0 => Ok(()),
        more => writeln!(out, "  … and {more} lines more: --json tells all"),
    }
}

fn told(what: &Happening, id: &MessageId) -> Option<String> {
    use Happening as H;
    Some(match what {
        H::SchedulerStarted { pid, workers, .. } => format!("scheduler {pid} starts, with {workers} workers"),
        H::SchedulerStopped { pid, .. } => format!("scheduler {pid} stops"),
        H::PausesChanged { paused } if paused.is_empty() => "not paused any more".into(),
        H::PausesChanged { paused } => format!("paused: {}", paused.join("; ")),
        H::Arrived { priority, not_before, .. } => {
            format!(
                "found at {priority}{}",
                not_before.map_or(String::new(), |at| format!(", not before {}", local_time(at)))
            )
        }
        H::Requeued { from: Priority::Held, to, .. } => format!("released to {to}"),
        H::Requeued { from, to: Priority::Held, why, .. } => {
            format!("held, from {from}{}", why.as_ref().map_or(String::new(), |why| format!(", by {why}")))
        }
        H::Requeued { from, to, .. } => format!("requeued from {from} to {to}"),
        H::Rescheduled { not_before: None, .. } => "rescheduled: at once".into(),
        H::Rescheduled { not_before: Some(at), .. } => format!("rescheduled: not before {}", local_time(*at)),
        H::Started { packets, priority, .. } => format!("opened at {priority}, {packets} packets to send"),
        H::PacketLeft { packet, recipients, done, why, .. } => {
            let why = match why {
                Why::Finished | Why::Preempted => return None,
                Why::Relay => "the relay is in trouble",
                Why::Paused => "it is paused",
                Why::WindowClosed => "its list's window has closed",
                Why::Reloaded => "the configuration was reloaded",
                Why::NotItsOwn => "another worker is to go on",
                Why::Stopped => "the scheduler stops",
                Why::Held => "it is to be held",
                Why::NotDue => "its time has not come",
                Why::NotHeld => "another process may have it",
                Why::Doubtful => "everything was refused, which may be a mistake",
                Why::Gone => "the message is not where it was",
                Why::Other => "for a reason that this version does not know",
            };
            format!("{packet} is left at {done} of {recipients}: {why}")
        }
        H::Preempted { message, by, .. } if by == id => format!("{message} gives way to it"),
        H::Preempted { packet, by, by_priority, worker, .. } => {
            format!("worker {worker} leaves {packet} for {by} ({by_priority})")
        }
        H::Resumed { packet, lasted, .. } => format!("{packet} is sent on, after {}", duration(*lasted)),
        H::Deferred { packet, recipients, relay, reply, until, .. } => {
            format!("{recipients} of {packet} deferred until {} by {relay}: {reply}", local_time(*until))
        }
        H::Failed { packet, recipients, relay, reply, .. } => {
            format!("{recipients} of {packet} failed at {relay}: {reply}")
        }
        H::Uncertain { packet, recipients, why, .. } => format!("{recipients} of {packet} are uncertain: {why}"),
        H::Held { why, .. } => format!("held: {why}"),
        H::SetAside { why, .. } => format!("set aside in bad/: {why}"),
        H::Gone { why: Some(why), .. } => format!("cancelled by {why}"),
        H::Gone { why: None, .. } => "gone from where it was".into(),
        H::Done { .. } => "distributed".into(),
        H::RelayDown { relay, why, pause } => {
            // The connection's errors begin with whose they are.
            let why = why.strip_prefix(relay.as_str()).and_then(|why| why.strip_prefix(": ")).unwrap_or(why);
            format!("relay {relay} is out of use for {}: {why}", duration(*pause))
        }
        H::RelayUp { relay } => format!("relay {relay} is back"),
        H::Lost { lost } => format!("{lost} events are missing here"),
        H::Reloaded | H::Scanned | H::PacketTaken { .. } => return None,
    })
}

fn at_length(story: &Story) -> String {
    let at = story.priority.as_deref().map_or(String::new(), |priority| format!(" at {priority}"));
    match &story.end {
        End::Waiting => format!("waits{at}, as far as the log goes"),
        End::Active => format!("is being sent{at}, as far as the log goes"),
        End::Deferred => format!("waits{at} for another try of who was deferred, as far as the log goes"),
        End::Held(None) => "is held, as far as the log goes".into(),
        End::Held(Some(why)) => format!("is held, as far as the log goes: {}", printable(why)),
        End::Done => "is distributed".into(),
        End::SetAside(why) => format!("was set aside in bad/: {}", printable(why)),
        End::Gone(Some(why)) => format!("was cancelled by {}", printable(why)),
        End::Gone(None) => "was cancelled, or finished by somebody who keeps no log".into(),
    }
}

/// As `--json` has it.
fn state(end: &End) -> String {
    let value = serde_json::to_value(end).expect("strings are always JSON");
    value["state"].as_str().expect("each has a name").to_owned()
}

fn refused(refusal: &Refusal) -> String {
    let Refusal { relay, reply, recipients, first, last, until } = refusal;
    let span = match last - first >= 1.0 {
        true => format!("{} to {}", time(*first), time(*last)),
        false => time(*first),
    };
    let until = until.map_or(String::new(), |until| format!(", until {}", local_time(until)));
    format!("{recipients}, {span}{until}: {} ({})", printable(reply), printable(relay))
}

fn times(n: u64) -> String {
    if n == 1 { "once".into() } else { format!("{n} times") }
}

fn time(at: f64) -> String {
    local_time(at as u64)
}

fn to_the_millisecond(at: Moment) -> String {
    format!("{}.{:03}", local_time(at.epoch().0), at.0 / 1000 % 1000)
}

/// As `age`, and to the millisecond where that is much of it.
fn duration(seconds: f64) -> String {
    if (0.0..10.0).contains(&seconds) { format!("{seconds:.3}s") } else { age(seconds as u64) }
}
