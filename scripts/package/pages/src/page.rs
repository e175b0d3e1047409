//! One page: its head, what the command line says, sections of the manual, and what to read on.

use crate::markdown::{escaped, filled, protected, section, to_roff, verbatim};
use clap::Command;
use clap_mangen::Man;

/// What stands at the foot of every page besides the version.
pub(crate) struct Foot<'a> {
    pub(crate) date: &'a str,
}

/// A page that is being written.
pub(crate) struct Page {
    name: String,
    chapter: u8,
    roff: String,
}

impl Page {
    /// The page of a program, of chapter 8.
    pub(crate) fn of_program(command: &Command, foot: &Foot<'_>) -> Self {
        let mut page = Self::titled(command.get_name(), 8, foot);
        page.command_line(command);
        page
    }

    /// The page of one of a program's commands.
    pub(crate) fn of_command(program: &str, command: &Command, foot: &Foot<'_>) -> Self {
        let mut page = Self::titled(&format!("{program}-{}", command.get_name()), 8, foot);
        page.command_line(command);
        page
    }

    /// The page of a file, of chapter 5.
    pub(crate) fn of_file(name: &str, about: &str, foot: &Foot<'_>) -> Self {
        let mut page = Self::titled(name, 5, foot);
        page.named(about);
        page
    }

    /// A section of the manual: it describes a file, follows a program's command line as notes if it is named after the
    /// program, and else has its own heading.
    pub(crate) fn section(mut self, title: &str, manual: &str) -> Self {
        self.heading(match self.chapter {
            5 => "Description",
            _ if title == self.name => "Notes",
            _ => title,
        });
        self.roff += &to_roff(&section(manual, title));
        self
    }

    /// What a section of the manual says besides its own tables, which the command line has said. Those of the sections
    /// in it stay.
    pub(crate) fn prose_of(mut self, title: &str, manual: &str) -> Self {
        let lines = section(manual, title);
        let own = lines.iter().position(|line| line.starts_with("###")).unwrap_or(lines.len());
        let (own, others) = lines.split_at(own);
        let prose = own.iter().filter(|line| !line.starts_with('|'));
        let lines: Vec<&str> = prose.chain(others).copied().collect();
        self.heading("Notes");
        self.roff += &to_roff(&lines);
        self
    }

    /// Files, and what they are.
    pub(crate) fn files(self, files: &[(&str, &str)]) -> Self {
        self.listed("Files", files)
    }

    /// Variables of the environment, and what they say.
    pub(crate) fn environment(self, variables: &[(&str, &str)]) -> Self {
        self.listed("Environment", variables)
    }

    fn listed(mut self, heading: &str, items: &[(&str, &str)]) -> Self {
        self.heading(heading);
        for (item, what) in items {
            self.roff += &format!(".TP\n\\fI{}\\fR\n{}", escaped(item), filled(&escaped(what)));
        }
        self
    }

    /// Names of other pages, with commas between them.
    pub(crate) fn see_also(mut self, pages: &str) -> Self {
        let pages: Vec<String> = pages
            .split(", ")
            .map(|page| match page.split_once('(') {
                Some((name, chapter)) => format!("\\fB{}\\fR({chapter}", escaped(name)),
                None => escaped(page),
            })
            .collect();
        self.roff += &format!(".SH SEE ALSO\n{}", filled(&pages.join(", ")));
        self
    }

    pub(crate) fn chapter(&self) -> u8 {
        self.chapter
    }

    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.chapter)
    }

    /// The whole page. A heading or an empty line begins a paragraph: what would begin it once more is left out.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<&str> = self.roff.lines().collect();
        let begins =
            |line: &str| line.is_empty() || [".SH", ".SS"].iter().any(|other| line.starts_with(other));
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |before| lines[before]);
            let is_idle = match *line {
                ".PP" => begins(before),
                ".br" => begins(before) || lines.get(at + 1).is_some_and(|after| begins(after)),
                _ => false,
            };
            if !is_idle {
                text += line;
                text.push('\n');
            }
        }
        text
    }

    fn titled(name: &str, chapter: u8, foot: &Foot<'_>) -> Self {
        let title = name.to_uppercase();
        let (date, version) = (foot.date, env!("CARGO_PKG_VERSION"));
        let roff = format!(".TH {title} {chapter} {date} \"natlb {version}\" \"natlb\"\n.ad l\n");
        Self { name: name.to_owned(), chapter, roff }
    }

    fn heading(&mut self, heading: &str) {
        self.roff += &format!(".SH {}\n", heading.to_uppercase());
    }

    fn named(&mut self, about: &str) {
        let about = escaped(about.trim_end_matches('.'));
        self.roff += &format!(".SH NAME\n{}", filled(&format!("{} \\- {about}", escaped(&self.name))));
    }

    /// Name, synopsis, description, options and commands, and what stands below them in the help.
    fn command_line(&mut self, command: &Command) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        self.named(&about);
        self.heading("Synopsis");
        let usage = command.clone().render_usage().to_string();
        for line in usage.trim_start_matches("Usage:").lines().filter(|line| !line.trim().is_empty()) {
            self.roff += &format!("{}\n", protected(&format!("\\fB{}\\fR", escaped(line.trim()))));
        }
        if let Some(long) = command.get_long_about() {
            self.heading("Description");
            self.roff += &filled(&escaped(&long.to_string()));
        }
        let mut options = Vec::new();
        // Writing into memory does not fail.
        Man::new(command.clone()).render_options_section(&mut options).expect("written into memory");
        self.roff += &refilled(&String::from_utf8_lossy(&options));
        self.commands(command);
        if let Some(help) = command.get_after_help() {
            self.below(&help.to_string());
        }
    }

    fn commands(&mut self, command: &Command) {
        let commands: Vec<&Command> =
            command.get_subcommands().filter(|command| command.get_name() != "help").collect();
        if commands.is_empty() {
            return;
        }
        self.heading("Commands");
        for other in commands {
            let about = other.get_about().map(ToString::to_string).unwrap_or_default();
            let name = format!("{}\\-{}", escaped(command.get_name()), escaped(other.get_name()));
            self.roff += &format!(".TP\n\\fB{name}\\fR(8)\n{}", filled(&escaped(&about)));
        }
    }

    /// What stands below the options in the help: a line that ends with a colon begins a section of lines that stay as
    /// they are.
    fn below(&mut self, help: &str) {
        for part in help.split("\n\n") {
            match part.split_once(":\n") {
                Some((heading, lines)) if !heading.contains('\n') => {
                    self.heading(heading);
                    let lines: Vec<&str> = lines.lines().map(|line| line.trim_start()).collect();
                    self.roff += &verbatim(&lines);
                }
                _ => self.roff += &format!(".PP\n{}", filled(&escaped(part))),
            }
        }
    }
}

/// What clap_mangen writes, with its long lines cut where their words allow it.
fn refilled(roff: &str) -> String {
    let lines =
        roff.lines().map(|line| if line.starts_with('.') { format!("{line}\n") } else { filled(line) });
    lines.collect()
}
