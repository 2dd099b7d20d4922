//! Which columns messages have in the list: as many as leave room for their ids.
//!
//! An id is what one message is told from another by, and what is typed after a command; so it stays, shortened, and figures
//! go, the least needed ones first. The chosen message's are below the list in any case.

/// A figure, or the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    State,
    Done,
    Left,
    Rate,
    Eta,
    Age,
}

/// As they stand beside each other.
const ALL: [Column; 6] = [Column::State, Column::Done, Column::Left, Column::Rate, Column::Eta, Column::Age];
/// In which order they go.
const GOING: [Column; 6] = [Column::Rate, Column::Age, Column::Done, Column::Eta, Column::Left, Column::State];
/// The mark of the chosen one, the priority, and what parts them from the rest.
const MARKS: usize = 5;
/// An id has at least so many, where the screen has them.
const ID: usize = 16;

impl Column {
    fn title(self) -> &'static str {
        match self {
            Column::State => "state",
            Column::Done => "done",
            Column::Left => "left",
            Column::Rate => "rate",
            Column::Eta => "ETA",
            Column::Age => "age",
        }
    }

    fn width(self) -> usize {
        match self {
            Column::State => 10,
            Column::Done => 5,
            Column::Left | Column::Rate | Column::Eta | Column::Age => 6,
        }
    }

    /// In its columns, with what parts it from the one before.
    fn padded(self, text: &str) -> String {
        let width = self.width();
        match self {
            Column::State => format!(" {text:<width$}"),
            _ => format!(" {text:>width$}"),
        }
    }
}

/// Those there is room for.
pub struct Columns {
    shown: Vec<Column>,
    /// Columns of the screen that are left for an id.
    pub id: usize,
}

impl Columns {
    /// For a screen of so many columns.
    pub fn fit(width: usize) -> Columns {
        let mut shown = ALL.to_vec();
        let taken = |shown: &[Column]| MARKS + shown.iter().map(|column| 1 + column.width()).sum::<usize>();
        for goes in GOING {
            if taken(&shown) + ID <= width {
                break;
            }
            shown.retain(|column| *column != goes);
        }
        let id = width.saturating_sub(taken(&shown));
        Columns { shown, id }
    }

    /// A message's row, up to its id.
    pub fn row(&self, mark: char, priority: impl std::fmt::Display, text: impl Fn(Column) -> String) -> String {
        let figures: String = self.shown.iter().map(|column| column.padded(&text(*column))).collect();
        format!("{mark} {priority}{figures}  ")
    }

    /// What stands above them.
    pub fn titles(&self) -> String {
        self.row(' ', 'P', |column| column.title().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_one_after_another_and_the_id_stays() {
        let titles = |width| {
            let columns = Columns::fit(width);
            (columns.titles(), columns.id)
        };
        assert_eq!(titles(80), ("  P state       done   left   rate    ETA    age  ".into(), 30));
        assert_eq!(titles(60), ("  P state       done   left    ETA    age  ".into(), 17));
        assert_eq!(titles(40), ("  P state        left  ".into(), 17));
        assert_eq!(titles(24), ("  P  ".into(), 19));
        for width in 0..200 {
            let columns = Columns::fit(width);
            assert!(columns.id >= ID.min(width.saturating_sub(MARKS)), "{width}");
            assert!(width < MARKS || columns.titles().chars().count() + columns.id == width, "{width}");
        }
    }
}
