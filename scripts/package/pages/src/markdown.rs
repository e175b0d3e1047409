//! As much of Markdown as the manual uses, as roff for `man`: paragraphs, headings, tables, lists and fenced blocks,
//! and in them code, emphasis and links.

/// A section of a document with everything below its heading, the sections in it included; without the heading itself.
///
/// # Panics
/// If there is no such heading: the manual was changed without this program.
pub(crate) fn section<'a>(document: &'a str, title: &str) -> Vec<&'a str> {
    let mut is_fenced = false;
    let mut level = None;
    let mut lines = Vec::new();
    for line in document.lines() {
        is_fenced ^= line.starts_with("```");
        let depth = if is_fenced { 0 } else { line.bytes().take_while(|byte| *byte == b'#').count() };
        match level {
            None if depth > 0 && line[depth..].trim() == title => level = Some(depth),
            Some(level) if (1..=level).contains(&depth) => break,
            Some(_) => lines.push(line),
            None => {}
        }
    }
    assert!(level.is_some(), "docs/manual.md has no heading \"{title}\"");
    lines
}

/// The lines of a section as roff.
pub(crate) fn to_roff(lines: &[&str]) -> String {
    let mut roff = String::new();
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        rest = after;
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with("```") {
            let length = rest.iter().position(|line| line.starts_with("```")).unwrap_or(rest.len());
            roff += &verbatim(&rest[..length]);
            rest = &rest[(length + 1).min(rest.len())..];
        } else if line.starts_with('#') {
            roff += &format!(".SS {}\n", inline(line.trim_start_matches('#').trim()));
        } else if line.starts_with('|') {
            let length = rest.iter().position(|line| !line.starts_with('|')).unwrap_or(rest.len());
            roff += &table(line, &rest[..length]);
            rest = &rest[length..];
        } else {
            let length = rest.iter().position(|line| begins_anew(line)).unwrap_or(rest.len());
            let text: Vec<&str> =
                std::iter::once(line).chain(&rest[..length]).map(|line| line.trim()).collect();
            rest = &rest[length..];
            let text = text.join(" ");
            match text.strip_prefix("- ").or(text.strip_prefix("* ")) {
                Some(item) => roff += &format!(".IP \\(bu 2\n{}", filled(&inline(item))),
                None => roff += &format!(".PP\n{}", filled(&inline(&text))),
            }
        }
    }
    roff
}

/// Whether a line ends the paragraph before it.
fn begins_anew(line: &str) -> bool {
    line.trim().is_empty() || ["#", "|", "- ", "* ", "```"].iter().any(|mark| line.starts_with(mark))
}

/// Lines that stay as they are, in a paragraph of their own.
pub(crate) fn verbatim(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| protected(&escaped(line)) + "\n").collect();
    format!(".PP\n.RS 4\n.EX\n{lines}.EE\n.RE\n")
}

/// A table as a list: the first cell of a row that is not empty is the item. Its text is the column "meaning", or else
/// the last one; all others are named by their headings.
fn table(head: &str, rows: &[&str]) -> String {
    let titles = cells(head);
    let text = titles.iter().position(|title| title == "meaning").unwrap_or(titles.len() - 1);
    let mut roff = String::new();
    for row in rows.iter().skip(1) {
        let cells = cells(row);
        let mut filled_cells = cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
        let item = filled_cells.next().map_or_else(|| "\\&".to_owned(), |(_, cell)| inline(cell));
        let mut sentences: Vec<String> = Vec::new();
        for (column, cell) in filled_cells {
            sentences.push(match titles[column].as_str() {
                _ if column == text && column + 1 < cells.len() => stopped(inline(cell)),
                _ if column == text => inline(cell),
                "default" if cell == "required" => "Required.".to_owned(),
                "default" => format!("Default: {}.", inline(cell)),
                title => format!("{}: {}.", inline(title), inline(cell)),
            });
        }
        // A default is read after what it is the default of.
        if titles.get(1).is_some_and(|title| title == "default") && sentences.len() == 2 {
            sentences.swap(0, 1);
            sentences[0] = stopped(std::mem::take(&mut sentences[0]));
        }
        roff += &format!(".TP\n{}\n{}", protected(&item), filled(&sentences.join(" ")));
    }
    roff
}

/// A sentence with its full stop.
fn stopped(text: String) -> String {
    if text.ends_with('.') { text } else { text + "." }
}

/// The cells of a table's row. A bar that belongs to a cell has a backslash before it.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').replace("\\|", "\u{0}");
    let row = row.strip_suffix('|').unwrap_or(&row);
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// A text with its code and emphasis in bold, and links as their text alone.
fn inline(text: &str) -> String {
    let mut roff = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        let (before, found) = rest.split_at(at);
        roff += &escaped(before);
        rest = match special(found) {
            Some((piece, rest)) => {
                roff += &piece;
                rest
            }
            None => {
                roff += &found[..1];
                &found[1..]
            }
        };
    }
    roff + &escaped(rest)
}

/// What code, emphasis or a link at the start of a text becomes, and what follows it; `None` if it is none of these.
fn special(text: &str) -> Option<(String, &str)> {
    for mark in ["``", "`"] {
        if let Some(code) = text.strip_prefix(mark) {
            let (code, rest) = code.split_once(mark)?;
            return Some((format!("\\fB{}\\fR", escaped(code)), rest));
        }
    }
    if let Some(strong) = text.strip_prefix("**") {
        let (strong, rest) = strong.split_once("**")?;
        return Some((format!("\\fB{}\\fR", inline(strong).replace("\\fR", "\\fB")), rest));
    }
    let (link, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (_, rest) = rest.split_once(')')?;
    // A bracket that opens no link.
    (!link.contains('[') && !link.contains("]")).then(|| (inline(link), rest))
}

/// Letters that mean something to roff, by their names.
pub(crate) fn escaped(text: &str) -> String {
    let mut roff = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => roff += "\\e",
            '-' => roff += "\\-",
            '\'' => roff += "\\(aq",
            '`' => roff += "\\(ga",
            '~' => roff += "\\(ti",
            '^' => roff += "\\(ha",
            letter => roff.push(letter),
        }
    }
    roff
}

/// A line that roff doesn't take for a request.
pub(crate) fn protected(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

/// The bytes of a text once letters beyond ASCII have become names, as `\\[u2026]`.
fn width(text: &str) -> usize {
    text.chars().map(|letter| if letter.is_ascii() { 1 } else { "\\[u00000]".len() }).sum()
}

/// A text in lines of at most 80 bytes where its words allow that.
pub(crate) fn filled(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("never empty");
        if last.is_empty() {
            last.push_str(word);
        } else if width(last) + 1 + width(word) <= 80 {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.iter().map(|line| protected(line) + "\n").collect()
}
