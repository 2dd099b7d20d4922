//! `sympa-dist top` in a real terminal: tmux at 80×24, keys sent to it, its screen captured.

#[path = "../support/mod.rs"]
mod support;
mod tmux;

mod ending;
mod looks;
mod moves;
mod values;
