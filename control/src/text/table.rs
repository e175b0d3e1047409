//! Tables for people: a title, a line of heads, and rows whose cells are padded with blanks to columns.

use Align::{Left, Right};
use std::fmt::Write;

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table of `N` columns.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    /// The title of each column.
    pub head: [(&'static str, Align); N],
    /// The cells.
    pub rows: Vec<[String; N]>,
}

/// Appends a table under its title, after an empty line; nothing if it has no rows.
pub fn part<const N: usize>(text: &mut String, title: &str, table: &Table<N>) {
    if table.rows.is_empty() {
        return;
    }
    let cells = |column: usize| table.rows.iter().map(move |row| row[column].chars().count());
    let widths: [usize; N] = std::array::from_fn(|column| {
        cells(column).chain([table.head[column].0.len()]).max().unwrap_or_default()
    });
    let _ = writeln!(text, "\n{title}");
    let head = table.head.map(|(name, _)| name.to_owned());
    for row in std::iter::once(&head).chain(&table.rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(table.head) {
            let _ = match align {
                Left => write!(line, "  {cell:<width$}"),
                Right => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
