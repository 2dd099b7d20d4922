//! T2, T2b, T3: other distributors, side by side, into the same sink.

use crate::peers::{Exim, Sympa, postfix};
use crate::record::Record;
use crate::sinks::Kind;
use crate::subject::{DEFAULT, Drain, distribute};

/// T2: Postfix, and T2b: Exim.
pub fn peers(record: &mut Record, quick: bool) {
    let (recipients, rounds) = if quick { (20_000, 3) } else { (100_000, 5) };
    for concurrency in [20, 50] {
        let name = format!("Postfix, concurrency {concurrency}");
        against(record, &name, recipients, rounds, || postfix(recipients, concurrency));
    }
    match Exim::get() {
        Err(reason) => record.missing(format!("peers, Exim: {reason}")),
        Ok(exim) => {
            record.fact("exim", &exim.version);
            against(record, "Exim, 5 connections", Exim::RECIPIENTS, if quick { 3 } else { 10 }, || exim.drain(5));
        }
    }
}

fn against(record: &mut Record, name: &str, recipients: u64, rounds: usize, their: impl Fn() -> Drain) {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        pairs.push((their(), distribute(Kind::SmtpSink, recipients, 1000, DEFAULT)));
    }
    let mut add = |what: &str, unit, value: &dyn Fn(&Drain, &Drain) -> f64| {
        let values = pairs.iter().map(|(their, own)| value(their, own)).collect();
        record.add("peers", format!("{name}: {what}"), unit, values);
    };
    let count = recipients as f64;
    let span = |drain: &Drain| drain.span.expect("smtp-sink says when");
    add("its rate, first to last transaction", "recipients/s", &|their, _| count / span(their));
    add("ours, first to last transaction", "recipients/s", &|_, own| count / span(own));
    add("faster by, first to last transaction", "times", &|their, own| span(their) / span(own));
    add("its rate, start included", "recipients/s", &|their, _| count / their.took);
    add("ours, start included", "recipients/s", &|_, own| count / own.took);
    add("faster by, start included", "times", &|their, own| their.took / own.took);
    let per = 100_000.0 / count;
    add("its CPU", "s per 100,000 recipients", &|their, _| their.cpu * per);
    add("our CPU", "s per 100,000 recipients", &|_, own| own.cpu * per);
    add("its CPU", "times ours", &|their, own| their.cpu / own.cpu);
}

/// T3: Sympa's bulk.pl, one process.
pub fn sympa(record: &mut Record, quick: bool) {
    let sympa = match Sympa::get() {
        Err(reason) => return record.missing(format!("sympa: {reason}")),
        Ok(sympa) => sympa,
    };
    record.fact("sympa", sympa.version());
    let (theirs_count, own_count, rounds) = if quick { (200, 100_000, 1) } else { (2_000, 1_000_000, 5) };
    let (mut theirs, mut ours, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let their = sympa.rate(theirs_count);
        let own = own_count as f64 / distribute(Kind::SmtpSink, own_count, 1000, DEFAULT).took;
        theirs.push(their);
        ours.push(own);
        ratios.push(own / their);
    }
    record.add("sympa", "bulk.pl, one process, first to last transaction", "recipients/s", theirs);
    record.add("sympa", "sympa-dist, start included", "recipients/s", ours);
    record.add("sympa", "faster by", "times", ratios);
}
