//! The screen, drawn: for 80×24, and as much of it as fits into less.
//!
//! ```text
//! the spool, the rate                        title
//! schedulers                                 what is wrong with it all
//! levels, six rows in two columns
//! messages                                   as many as there is room for
//! the chosen message                         all of its id, why it is stuck
//! workers, relays or pauses
//! keys, a question, or what became of a move
//! ```

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::words::{self, local_time};
use super::columns::{Column, Columns};
use super::foot::{draw_foot, draw_help};
use super::format::{count, fit, percent, rate, span, time_left};
use super::screen::{Panel, Screen};
use super::terminal::Look;
use super::tone::Tone;
use crate::daemon::MAX_WORKERS;
use crate::mail::{Epoch, Priority};
use crate::monitor::survey::{self, LevelSum, Picture};
use crate::spool::census::State;
use crate::spool::pause::Paused;

/// Draws it all.
pub fn draw(frame: &mut Frame, screen: &mut Screen) {
    let area = frame.area();
    let (height, width) = (area.height, area.width);
    let levels = match height {
        20.. if width >= 80 => 7,
        12.. => 1,
        _ => 0,
    };
    let panel = match height {
        30.. => (height / 4).min(1 + panel_rows(screen) as u16).max(4),
        20.. => 4,
        16.. => 2,
        _ => 0,
    };
    let [title, state, levels, head, messages, details, panel, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::from(height >= 6)),
        Constraint::Length(levels),
        Constraint::Length(u16::from(height >= 4)),
        Constraint::Fill(1),
        Constraint::Length(if height >= 12 { 2 } else { 0 }),
        Constraint::Length(panel),
        Constraint::Length(u16::from(height >= 2)),
    ])
    .areas(area);
    screen.set_rows(messages.height.into());
    frame.render_widget(draw_title(screen, title.width.into()), title);
    draw_foot(frame, screen, foot);
    let screen = &*screen;
    let Some(picture) = &screen.picture else {
        frame.render_widget(Paragraph::new("looks at the spool"), messages);
        return;
    };
    frame.render_widget(draw_state(screen, picture), state);
    draw_levels(frame, screen.look, picture, levels);
    let columns = Columns::fit(width.into());
    frame.render_widget(draw_head(screen, &columns), head);
    frame.render_widget(draw_messages(screen, picture, &columns, messages), messages);
    frame.render_widget(draw_details(screen), details);
    frame.render_widget(draw_panel(screen, picture, panel), panel);
    if screen.helps {
        draw_help(frame, screen.look);
    }
}

fn draw_title(screen: &Screen, width: usize) -> Line<'static> {
    let look = screen.look;
    let Some(picture) = &screen.picture else {
        return look.line(format!("sympa-dist {}", screen.spool), Tone::Title);
    };
    let left: u64 = picture.levels.iter().map(|level| level.left).sum();
    let figures = format!(
        "{} messages  {} left  {}",
        picture.lines.len(),
        count(left),
        match heard(picture, picture.rate) {
            now if now < 0.05 => "0/s".into(),
            now => rate(now),
        },
    );
    let clock = local_time(picture.at.epoch().0);
    let clock = clock.split(' ').next_back().unwrap_or_default().to_owned();
    let spark = if width < 60 { 0 } else { width / 6 };
    let room = width.saturating_sub(figures.len() + spark + clock.len() + 3);
    let name = fit(&format!("sympa-dist {}", screen.spool), room, look.unicode);
    Line::from(vec![
        look.span(format!("{name:<room$} {figures} "), Tone::Title),
        look.span(sparkline(&picture.recent, spark, look.unicode), Tone::Active),
        look.span(format!(" {clock}"), Tone::Title),
    ])
}

/// A rate; none where all schedulers have fallen silent, whatever they did before in this minute.
fn heard(picture: &Picture, rate: f64) -> f64 {
    if picture.schedulers.iter().any(|at| at.silent.is_none()) { rate } else { 0.0 }
}

/// The last so many rates, the newest at the right end.
fn sparkline(rates: &[f64], columns: usize, unicode: bool) -> String {
    let steps: &[char] = if unicode {
        &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        &['_', '.', '-', '=', '+', '*', '%', '#']
    };
    let rates = &rates[rates.len().saturating_sub(columns)..];
    let most = rates.iter().copied().fold(0.0, f64::max);
    let step = |rate: f64| match rate {
        rate if rate <= 0.0 => ' ',
        rate => steps[((rate / most * steps.len() as f64).ceil() as usize).clamp(1, steps.len()) - 1],
    };
    let line: String = rates.iter().map(|&rate| step(rate)).collect();
    format!("{line:>columns$}")
}

/// What holds for all of it, the worst first.
fn draw_state(screen: &Screen, picture: &Picture) -> Line<'static> {
    let look = screen.look;
    if let Some(trouble) = &picture.trouble {
        return look.line(format!("! {trouble}"), Tone::Alarm);
    }
    let mut parts = Vec::new();
    let mut say = |text: String, tone: Tone| {
        if !parts.is_empty() {
            parts.push(look.span("; ", Tone::Plain));
        }
        parts.push(look.span(text, tone));
    };
    match &picture.schedulers[..] {
        [] => say("! no scheduler runs on this spool: nothing is sent".into(), Tone::Alarm),
        [one] => {
            say(format!("{} {}: {} of {} workers busy", one.host, one.pid, one.work.len(), one.workers), Tone::Plain)
        }
        several => {
            let (busy, all) = several.iter().fold((0, 0), |(busy, all), at| (busy + at.work.len(), all + at.workers));
            say(format!("{} schedulers: {busy} of {all} workers busy", several.len()), Tone::Plain);
        }
    }
    for (scheduler, seconds) in picture.schedulers.iter().filter_map(|at| Some((at, at.silent?))) {
        say(format!("! {} {} has said nothing for {}", scheduler.host, scheduler.pid, span(seconds)), Tone::Alarm);
    }
    let relays = || picture.schedulers.iter().flat_map(|scheduler| &scheduler.relays);
    let out = relays().filter(|relay| relay.state != "closed").count();
    if out > 0 {
        say(format!("! {out} of {} relays out of use", relays().count()), Tone::Alarm);
    }
    if let Some(paused) = picture.pauses.first() {
        let more = match picture.pauses.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        say(format!("! {}{more}", told(paused)), Tone::Waiting);
    }
    if picture.unread > 0 {
        say(format!("{} messages are still to be read", picture.unread), Tone::Faint);
    }
    Line::from(parts)
}

fn draw_levels(frame: &mut Frame, look: Look, picture: &Picture, area: Rect) {
    let most = picture.levels.iter().map(|level| level.messages).max().unwrap_or(0);
    if area.height < 7 {
        let level = |(priority, level): (Priority, &LevelSum)| format!("{priority}:{}", count(level.messages));
        let levels = Priority::all().zip(&picture.levels).filter(|(_, level)| level.messages > 0);
        let levels: Vec<String> = levels.map(level).collect();
        frame.render_widget(look.line(format!("levels {}", levels.join(" ")), Tone::Plain), area);
        return;
    }
    let halves: [Rect; 2] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(area);
    let all: Vec<(Priority, &LevelSum)> = Priority::all().zip(&picture.levels).collect();
    let (upper, lower) = all.split_at(6);
    for (half, levels) in halves.into_iter().zip([upper, lower]) {
        let msgs = levels.iter().map(|(_, level)| count(level.messages).len()).max().unwrap_or(0).max(5);
        let bar = usize::from(half.width).saturating_sub(31 + msgs).clamp(1, 40);
        let head = format!("P {:bar$} {:>msgs$} {:>6} {:>6} {:>6} {:>6}", "", "msgs", "left", "oldest", "rate", "ETA");
        let mut lines = vec![look.line(head, Tone::Title)];
        for (priority, level) in levels {
            let tone = match level {
                _ if level.messages == 0 => Tone::Faint,
                _ if *priority == Priority::Held => Tone::Waiting,
                _ if level.active > 0 => Tone::Active,
                _ => Tone::Plain,
            };
            let oldest = level.oldest.map_or("-".into(), |oldest| age_at(oldest, picture));
            let text = format!(
                "{priority} {:bar$} {:>msgs$} {:>6} {oldest:>6} {:>6} {:>6}",
                bar_of(level.messages, most, bar, look.unicode),
                count(level.messages),
                count(level.left),
                rate(heard(picture, level.rate)),
                time_left(level.time_left()),
            );
            lines.push(look.line(text, tone));
        }
        if levels.len() < 6 {
            let sum = |figure: fn(&LevelSum) -> u64| count(picture.levels.iter().map(figure).sum());
            let (done, deferred, failed) =
                (sum(|level| level.done), sum(|level| level.deferred), sum(|level| level.failed));
            lines.push(look.line(format!("  {done} done, {deferred} deferred, {failed} failed"), Tone::Plain));
        }
        frame.render_widget(Paragraph::new(lines), half);
    }
}

fn bar_of(messages: u64, most: u64, columns: usize, unicode: bool) -> String {
    let full = if unicode { "█" } else { "#" };
    match messages {
        0 => String::new(),
        messages => full.repeat((messages as usize * columns).div_ceil(most.max(1) as usize).clamp(1, columns)),
    }
}

fn age_at(arrival: Epoch, picture: &Picture) -> String {
    span(picture.at.epoch().since(arrival))
}

fn draw_head(screen: &Screen, columns: &Columns) -> Line<'static> {
    let (by, filter) = (screen.sort.name(), &screen.filter);
    let which = match filter.is_empty() {
        true => format!("message, by {by}"),
        false => format!("{} with {filter}, by {by}", screen.count()),
    };
    screen.look.line(columns.titles() + &which, Tone::Title)
}

/// A pause, in less than a line if its reason is short.
fn told(Paused { name, pause }: &Paused) -> String {
    let what = words::paused(name);
    let Some(pause) = pause else { return format!("{what} is paused; its file can't be read") };
    let until = pause.until.map_or(String::new(), |until| format!(" until {}", local_time(until)));
    format!("{what} is paused{until} by {}: {}", pause.by, pause.why)
}

fn draw_messages(screen: &Screen, picture: &Picture, columns: &Columns, area: Rect) -> Paragraph<'static> {
    let look = screen.look;
    if screen.count() == 0 {
        let text = match picture.lines.is_empty() {
            true => "  no message is waiting",
            false => "  no message has these words; Esc shows all",
        };
        return Paragraph::new(look.line(text, Tone::Faint));
    }
    let line = |(line, is_chosen): (&survey::Line, bool)| {
        let total = line.details.as_ref().map_or(0, |details| details.recipients);
        let state = match line.state {
            // Held, scheduled and deferred say it themselves.
            _ if line.is_stuck() => "stuck !".into(),
            State::Active if line.left == 0 && line.deferred > 0 => format!("retry x{}", line.workers),
            State::Active => format!("{} x{}", line.state.as_str(), line.workers),
            state => state.as_str().to_owned(),
        };
        let figure = |column: Column| match column {
            Column::State => state.clone(),
            Column::Done => percent(line.done, total),
            Column::Left if line.details.is_none() => "...".into(),
            Column::Left => count(line.left),
            Column::Rate => rate(line.rate),
            Column::Eta => time_left(line.time_left()),
            Column::Age => age_at(line.id.arrival(), picture),
        };
        let mark = if is_chosen { '>' } else { ' ' };
        let text = columns.row(mark, line.priority, figure) + &fit(line.id.as_str(), columns.id, look.unicode);
        let tone = match line.state {
            _ if is_chosen => Tone::Chosen,
            _ if line.is_stuck() => Tone::Alarm,
            State::Active => Tone::Active,
            State::Waiting => Tone::Plain,
            _ => Tone::Waiting,
        };
        let width = usize::from(area.width);
        look.line(format!("{text:<width$}"), tone)
    };
    Paragraph::new(screen.window().map(line).collect::<Vec<_>>())
}

fn draw_details(screen: &Screen) -> Paragraph<'static> {
    let look = screen.look;
    let Some(line) = screen.chosen() else { return Paragraph::new("") };
    let mut said = Vec::new();
    if let Some(details) = &line.details {
        said.push(format!("{} of {} done", line.done, details.recipients));
        if line.deferred > 0 {
            let again = if line.state == State::Active && line.left == 0 { ", being tried again" } else { "" };
            said.push(format!("{} deferred{again}", line.deferred));
        }
        if details.failed > 0 {
            said.push(format!("{} failed", details.failed));
        }
        said.push(format!("{} of {} packets left", details.packets_left, details.packets));
        said.push(format!("from {}", details.sender));
    }
    let (why, tone) = match &line.stuck {
        Some(why) => (format!("! {}; {}", why.told(local_time), said.join(", ")), Tone::Waiting),
        None => (said.join(", "), Tone::Plain),
    };
    Paragraph::new(vec![look.line(line.id.as_str(), Tone::Title), look.line(format!("  {why}"), tone)])
}

fn panel_rows(screen: &Screen) -> usize {
    let Some(picture) = &screen.picture else { return 0 };
    let schedulers = &picture.schedulers;
    match screen.panel {
        Panel::Workers => schedulers.iter().map(|scheduler| scheduler.work.len()).sum(),
        Panel::Relays => schedulers.iter().map(|scheduler| scheduler.relays.len()).sum(),
        Panel::Pauses => picture.pauses.len(),
    }
}

fn draw_panel(screen: &Screen, picture: &Picture, area: Rect) -> Paragraph<'static> {
    let look = screen.look;
    let schedulers = &picture.schedulers;
    let of_several = |host: &str| if schedulers.len() > 1 { format!("{host} ") } else { String::new() };
    let busy: usize = schedulers.iter().map(|scheduler| scheduler.work.len()).sum();
    let relays: usize = schedulers.iter().map(|scheduler| scheduler.relays.len()).sum();
    let name = |panel: Panel| match panel {
        Panel::Workers => format!("workers busy {busy}"),
        Panel::Relays => format!("relays {relays}"),
        Panel::Pauses => format!("pauses {}", picture.pauses.len()),
    };
    let rows: Vec<(String, Tone)> = match screen.panel {
        Panel::Workers => {
            let rows = schedulers.iter().flat_map(|scheduler| {
                let of = of_several(&scheduler.host);
                scheduler.work.iter().map(move |work| {
                    let figures = format!("{} {}/{}", percent(work.done, work.recipients), work.done, work.recipients);
                    let since = span(picture.at.epoch().0.saturating_sub(work.since));
                    let id = fit(&work.message, 36, look.unicode);
                    let number = worker_name(work.worker);
                    let text = format!("{of}{number:>4} {} {id} {} {figures} {since}", work.priority, work.packet);
                    (text, Tone::Active)
                })
            });
            rows.collect()
        }
        Panel::Relays => {
            let rows = schedulers.iter().flat_map(|scheduler| {
                let of = of_several(&scheduler.host);
                scheduler.relays.iter().map(move |relay| {
                    let (state, tone) = match relay.state.as_str() {
                        "closed" => ("in use", Tone::Plain),
                        "half-open" => ("! out of use, being tried", Tone::Alarm),
                        _ => ("! out of use", Tone::Alarm),
                    };
                    let next = relay.next_try.map_or(String::new(), |at| format!("; next try {}", local_time(at)));
                    let why = relay.why.as_ref().map_or(String::new(), |why| format!("; {why}"));
                    (format!("{of}{}: {state}{next}{why}", relay.relay), tone)
                })
            });
            rows.collect()
        }
        Panel::Pauses => picture.pauses.iter().map(|paused| (told(paused), Tone::Waiting)).collect(),
    };
    let room = usize::from(area.height).saturating_sub(1);
    let hidden = rows.len().saturating_sub(room);
    let mut title: Vec<Span> = Vec::new();
    for panel in Panel::ALL {
        let text = if panel == screen.panel { format!("[{}] ", name(panel)) } else { format!(" {}  ", name(panel)) };
        title.push(look.span(text, if panel == screen.panel { Tone::Title } else { Tone::Faint }));
    }
    let more = if hidden > 0 { format!("+{hidden} not shown, ") } else { String::new() };
    title.push(look.span(format!(" {more}Tab: next"), Tone::Faint));
    let mut lines = vec![Line::from(title)];
    lines.extend(rows.into_iter().take(room).map(|(text, tone)| look.line(text, tone)));
    Paragraph::new(lines)
}

/// A worker's number; express workers are `x0` and so on.
fn worker_name(number: usize) -> String {
    match number.checked_sub(MAX_WORKERS) {
        None => number.to_string(),
        Some(express) => format!("x{express}"),
    }
}
