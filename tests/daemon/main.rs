//! The scheduler as a whole, in this process, against relays over real sockets and spools on a real disk.

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod drops;
mod events;
mod fairness;
mod guard;
mod idle;
mod limits;
mod moves;
mod preemption;
mod relays;
mod replies;
mod showing;
mod stop;
mod ways;

#[test]
fn this_program_is_its_own_child_process() {
    support::child::be_one();
}
