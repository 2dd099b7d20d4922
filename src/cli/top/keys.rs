//! What keys do.
//!
//! Whoever is asked for something is asked about the message that was chosen when he began, whatever the screen shows
//! meanwhile.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::acting::Act;
use super::prompt::Prompt;
use super::screen::Screen;
use crate::mail::{MessageId, Priority};
use crate::spool::layout::PauseName;

/// What a key asks of the program.
#[derive(PartialEq, Eq, Debug)]
pub enum Order {
    Quit,
    /// To the shell, until it says go on.
    Suspend,
    Redraw,
    Do(Act),
}

/// A reason may have so many letters.
const MOST: usize = 500;

fn cut(text: &mut String) {
    text.pop();
}

impl Screen {
    pub fn event(&mut self, event: &Event) -> Option<Order> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key),
            // Everything is drawn anew after each event.
            _ => None,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Order> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') if self.prompt.is_some() => self.drop_prompt(),
                KeyCode::Char('c') => Some(Order::Quit),
                KeyCode::Char('z') => Some(Order::Suspend),
                KeyCode::Char('l') => Some(Order::Redraw),
                KeyCode::Char('u') => self.edit(String::clear),
                KeyCode::Char('h') => self.edit(cut),
                _ => None,
            };
        }
        self.told = None;
        if self.helps {
            self.helps = false;
            return None;
        }
        match self.prompt.take() {
            Some(prompt) => self.answer(prompt, key.code),
            None => self.command(key.code),
        }
    }

    fn drop_prompt(&mut self) -> Option<Order> {
        if let Some(Prompt::Filter(before)) = self.prompt.take() {
            self.filter = before;
            self.arrange();
        }
        None
    }

    /// Changes the text that is being typed.
    fn edit(&mut self, change: impl FnOnce(&mut String)) -> Option<Order> {
        match &mut self.prompt {
            Some(Prompt::Filter(_)) => {
                change(&mut self.filter);
                self.arrange();
            }
            Some(Prompt::Hold(_, text) | Prompt::Cancel(_, text) | Prompt::PauseWhy(_, text)) => change(text),
            _ => {}
        }
        None
    }

    fn command(&mut self, key: KeyCode) -> Option<Order> {
        let page = self.rows.max(1) as isize;
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::PageUp => self.choose(-page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.choose(page),
            KeyCode::Home | KeyCode::Char('g') => self.choose(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.choose(isize::MAX),
            KeyCode::Tab => self.panel = self.panel.next(),
            KeyCode::Char('/') => self.prompt = Some(Prompt::Filter(self.filter.clone())),
            KeyCode::Esc => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.arrange();
            }
            KeyCode::Char('r') => self.prompt = self.id().map(Prompt::Requeue),
            KeyCode::Char('h') => self.prompt = self.id().map(|id| Prompt::Hold(id, String::new())),
            KeyCode::Char('l') => return self.id().map(|id| Order::Do(Act::Release(id))),
            KeyCode::Char('c') => self.prompt = self.id().map(|id| Prompt::Cancel(id, String::new())),
            KeyCode::Char('p') => self.prompt = Some(Prompt::Pause(self.pausable())),
            KeyCode::Char('u') => return Some(Order::Do(Act::Undo)),
            KeyCode::Char('?') | KeyCode::F(1) => self.helps = true,
            KeyCode::Char('q') => return Some(Order::Quit),
            _ => {}
        }
        None
    }

    fn id(&self) -> Option<MessageId> {
        self.chosen().map(|line| line.id.clone())
    }

    /// What can be paused or resumed here: everything, the chosen message's list and priority, relays.
    fn pausable(&self) -> Vec<(char, PauseName)> {
        let mut names = vec![('a', PauseName::Everything)];
        if let Some(line) = self.chosen() {
            names.push(('l', PauseName::List(line.id.list().to_owned())));
            names.extend(line.priority.level().map(|level| ('p', PauseName::Level(level))));
        }
        let schedulers = self.picture.iter().flat_map(|picture| &picture.schedulers);
        let mut relays: Vec<&String> = schedulers.flat_map(|at| at.relays.iter().map(|relay| &relay.relay)).collect();
        relays.sort();
        relays.dedup();
        names.extend(('1'..='9').zip(relays.into_iter().map(|relay| PauseName::Relay(relay.clone()))));
        names.retain(|(_, name)| name.fits());
        names
    }

    fn is_paused(&self, name: &PauseName) -> bool {
        self.picture.as_ref().is_some_and(|picture| picture.pauses.iter().any(|paused| paused.name == *name))
    }

    fn answer(&mut self, prompt: Prompt, key: KeyCode) -> Option<Order> {
        if key == KeyCode::Esc {
            self.prompt = Some(prompt);
            return self.drop_prompt();
        }
        match prompt {
            Prompt::Filter(_) if key == KeyCode::Enter => None,
            Prompt::Requeue(id) => {
                let KeyCode::Char(letter) = key else {
                    self.prompt = Some(Prompt::Requeue(id));
                    return None;
                };
                match letter.to_string().parse::<Priority>() {
                    Ok(Priority::Held) => {
                        self.prompt = Some(Prompt::Hold(id, String::new()));
                        None
                    }
                    Ok(to) => Some(Order::Do(Act::Requeue(id, to))),
                    Err(_) => {
                        self.told = Some(Err(format!("{letter:?} is no priority; nothing was moved")));
                        None
                    }
                }
            }
            Prompt::Hold(id, why) if key == KeyCode::Enter => {
                let why = if why.trim().is_empty() { "held by hand".into() } else { why };
                Some(Order::Do(Act::Hold(id, why)))
            }
            Prompt::Cancel(id, why) if key == KeyCode::Enter => {
                let why = if why.trim().is_empty() { "cancelled by hand".into() } else { why };
                self.prompt = Some(Prompt::Confirm(id, why));
                None
            }
            Prompt::Confirm(id, why) => match key {
                KeyCode::Char('y' | 'Y') => Some(Order::Do(Act::Cancel(id, why))),
                _ => {
                    self.told = Some(Err("nothing was cancelled".into()));
                    None
                }
            },
            Prompt::Pause(names) => {
                let chosen = names.into_iter().find(|(letter, _)| key == KeyCode::Char(*letter));
                match chosen {
                    None => {
                        self.told = Some(Err("nothing was paused or resumed".into()));
                        None
                    }
                    Some((_, name)) if self.is_paused(&name) => Some(Order::Do(Act::Resume(name))),
                    Some((_, name)) => {
                        self.prompt = Some(Prompt::PauseWhy(name, String::new()));
                        None
                    }
                }
            }
            Prompt::PauseWhy(name, why) if key == KeyCode::Enter => {
                let why = if why.trim().is_empty() { "paused by hand".into() } else { why };
                Some(Order::Do(Act::Pause(name, why)))
            }
            prompt => {
                self.prompt = Some(prompt);
                self.edit(|text| match key {
                    KeyCode::Char(letter) if !letter.is_control() && text.chars().count() < MOST => text.push(letter),
                    KeyCode::Backspace => cut(text),
                    _ => {}
                })
            }
        }
    }
}
