//! A text cut to a window.

/// The size of a window, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// What a line that was cut ends with.
const CUT: char = '>';

/// The lines that the window has room for, none wider than it. Where some are left out, the last one says how many.
pub(super) fn cut(text: &str, window: Window) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let (rows, columns) = (window.rows.max(1), window.columns.max(1));
    let shown = if lines.len() > rows { rows - 1 } else { lines.len() };
    let mut fitting: Vec<_> = lines[..shown].iter().map(|line| narrow(line, columns)).collect();
    match lines.len() - shown {
        0 => {}
        left => fitting.push(narrow(&format!("({left} more lines)"), columns)),
    }
    fitting
}

/// A line of at most so many characters. What would move the cursor is shown as a question mark.
fn narrow(line: &str, columns: usize) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    if line.chars().count() <= columns {
        return line.chars().map(plain).collect();
    }
    line.chars().take(columns - 1).map(plain).chain([CUT]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_no_line_too_many_and_none_too_wide() {
        let text = "one\ntwo and more\n\nfour\n";
        let cut_to = |rows, columns| cut(text, Window { rows, columns });
        assert_eq!(cut_to(4, 12), ["one", "two and more", "", "four"]);
        assert_eq!(cut_to(4, 11), ["one", "two and mo>", "", "four"]);
        assert_eq!(cut_to(3, 80), ["one", "two and more", "(2 more lines)"]);
        assert_eq!(cut_to(1, 5), ["(4 m>"]);
        for (rows, columns) in [(0, 0), (1, 1), (2, 3), (100, 100)] {
            let lines = cut_to(rows, columns);
            assert!(lines.len() <= rows.max(1), "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns.max(1)), "{lines:?}");
        }
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(cut("a\u{1b}[2Jb\tc\r", Window { rows: 1, columns: 80 }), ["a?[2Jb?c?"]);
    }
}
