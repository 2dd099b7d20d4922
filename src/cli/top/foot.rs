//! The last line: keys, a question, or what became of a move; and the keys in full.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph};

use super::super::words;
use super::format::fit;
use super::prompt::Prompt;
use super::screen::Screen;
use super::terminal::Look;
use super::tone::Tone;
use crate::spool::layout::PauseName;

const KEYS: &str = "?:help /:filter s:sort r:requeue h:hold l:release c:cancel p:pause u:undo q:quit";

pub fn draw_foot(frame: &mut Frame, screen: &Screen, area: Rect) {
    let look = screen.look;
    let Some(prompt) = &screen.prompt else {
        let (text, tone) = match &screen.told {
            None => (KEYS.to_owned(), Tone::Faint),
            Some(Ok(told)) => (told.clone(), Tone::Active),
            Some(Err(told)) => (format!("! {told}"), Tone::Alarm),
        };
        frame.render_widget(look.line(text, tone), area);
        return;
    };
    let id = |id: &str| fit(id, (usize::from(area.width) / 2).max(20), look.unicode);
    let (question, typed) = match prompt {
        Prompt::Filter(_) => ("words of id, sender or state: ".into(), screen.filter.as_str()),
        Prompt::Requeue(message) => (format!("requeue {} to (0-9, z: hold) ", id(message.as_str())), ""),
        Prompt::Hold(message, why) => (format!("hold {}, since ", id(message.as_str())), why.as_str()),
        Prompt::Cancel(message, why) => (format!("cancel {}, since ", id(message.as_str())), why.as_str()),
        Prompt::Confirm(message, _) => (format!("cancel {}: the rest goes to bad/ (y/N) ", id(message.as_str())), ""),
        Prompt::Pause(names) => {
            let name = |(letter, name): &(char, PauseName)| {
                let is_paused = screen.picture.iter().flat_map(|picture| &picture.pauses).any(|at| at.name == *name);
                let does = if is_paused { "resume " } else { "" };
                format!("{letter}:{does}{}", words::paused(name))
            };
            (format!("pause {} ", names.iter().map(name).collect::<Vec<_>>().join(" ")), "")
        }
        Prompt::PauseWhy(name, why) => (format!("pause {}, since ", words::paused(name)), why.as_str()),
    };
    // The end of what is typed stays in view.
    let room = usize::from(area.width).saturating_sub(1);
    let text: Vec<char> = look.clean(&format!("{question}{typed}")).chars().collect();
    let text: String = text[text.len().saturating_sub(room)..].iter().collect();
    let line = look.line(&text, Tone::Title);
    let column = area.x + (line.width() as u16).min(area.width.saturating_sub(1));
    frame.render_widget(line, area);
    frame.set_cursor_position((column, area.y));
}

const HELP: &str = " Up Down j k         choose a message
 PgUp PgDn Home End  the same by pages; to the first, the last
 Tab                 workers, relays, pauses
 /                   show messages with these words in id, sender or
                     state (held, active, ...), or priority:3; Esc: all
 s                   sort by priority, age, left, rate, time left
 r                   requeue to another priority, by one key
 h  l                hold, with a reason; release to where it was
 c                   cancel, with a reason: the rest goes to bad/
 p                   pause or resume everything, a list, a priority,
                     a relay
 u                   undo the last move, and the one before it
 Ctrl-L  Ctrl-Z      draw all anew; back to the shell for a while
 q  Ctrl-C           quit
 '>' is the chosen one; '!' is what is in the way of mail.
 Moves act at the next boundary: no transaction is cut short.";

pub fn draw_help(frame: &mut Frame, look: Look) {
    let area = frame.area();
    let lines: Vec<Line> = HELP.lines().map(|line| look.line(line, Tone::Plain)).collect();
    let (width, height) = (68.min(area.width), (lines.len() as u16 + 2).min(area.height));
    let at = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    let rule = if look.unicode { "─" } else { "-" }.repeat(width.into());
    let mut all = vec![look.line(&rule, Tone::Faint)];
    all.extend(lines);
    all.push(look.line(&rule, Tone::Faint));
    frame.render_widget(Clear, at);
    frame.render_widget(Paragraph::new(all), at);
}
