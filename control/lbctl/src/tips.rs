//! Tips with usage errors: what was probably meant. A tip never names a command that takes something away, since some
//! follow it without a thought, nor one that the help does not show.

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::ffi::OsString;

/// Commands that take nothing away.
const HARMLESS: [&str; 11] = [
    "add-service",
    "add-real",
    "list",
    "stats",
    "rate",
    "connections",
    "timeouts",
    "save",
    "status",
    "diff",
    "history",
];

/// Names that other tools give them.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("ls", "list"),
    ("show", "list"),
    ("services", "list"),
    ("conn", "connections"),
    ("conns", "connections"),
    ("sessions", "connections"),
    ("rates", "rate"),
    ("statistics", "stats"),
    ("counters", "stats"),
    ("info", "status"),
    ("dump", "save"),
    ("version", "--version"),
    ("top", "rate --watch"),
    ("watch", "list --watch"),
];

/// How many letters of a name may be wrong.
const TYPOS: usize = 2;

/// Puts our tips in the place of clap's, which propose whatever is spelt like it.
pub(super) fn correct(error: &mut Error, command: &Command, arguments: &[OsString]) {
    error.remove(ContextKind::SuggestedCommand);
    let is_of_subcommand = error.remove(ContextKind::SuggestedSubcommand).is_some();
    let arg = error.get(ContextKind::SuggestedArg);
    if let Some(ContextValue::String(name)) = arg
        && (is_of_subcommand && error.kind() == ErrorKind::UnknownArgument || !is_shown(command, name))
    {
        error.remove(ContextKind::SuggestedArg);
    }
    let tip = match error.kind() {
        ErrorKind::InvalidSubcommand => match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(word)) => meant(command, word),
            _ => None,
        },
        ErrorKind::UnknownArgument => of_ipvsadm(arguments).or_else(|| of_formats(error)),
        _ => None,
    };
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
}

/// Whether the help of any command shows this option.
fn is_shown(command: &Command, option: &str) -> bool {
    let name = option.trim_start_matches('-');
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let mut options = commands.flat_map(Command::get_arguments).filter(|arg| arg.get_long() == Some(name));
    options.any(|arg| !arg.is_hide_set())
}

/// For a command that there is not.
fn meant(command: &Command, word: &str) -> Option<String> {
    let tip = |name: &str| format!("there is 'lbctl {name}'");
    if let Some((_, name)) = OTHER_NAMES.iter().find(|(other, _)| *other == word) {
        return Some(tip(name));
    }
    // Among all: a misspelt 'clear' gets none, rather than the next best.
    let names = command.get_subcommands().flat_map(Command::get_name_and_visible_aliases);
    let near: Vec<_> = names.map(|name| (strsim::damerau_levenshtein(word, name), name)).collect();
    let nearest = near.iter().map(|(typos, _)| *typos).min().filter(|typos| *typos <= TYPOS)?;
    let mut nearest = near.iter().filter(|(typos, _)| *typos == nearest).map(|(_, name)| *name);
    let (name, other) = (nearest.next()?, nearest.next());
    (other.is_none() && HARMLESS.contains(&name)).then(|| tip(name))
}

/// For `ipvsadm`'s commands, which are options there.
fn of_ipvsadm(arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let mut left = words.iter().enumerate();
    // The first word that is no option of lbctl itself.
    let (place, word) = loop {
        let (place, word) = left.next()?;
        match *word {
            "--socket" | "--output" | "--timeout" => drop(left.next()),
            "-n" | "--numeric" => {}
            word if ["--socket=", "--output=", "--timeout="].iter().any(|own| word.starts_with(own)) => {}
            word => break (place, word),
        }
    };
    let rest = &words[place + 1..];
    if word == "list" {
        let (option, name) = rest.iter().find_map(|word| Some((*word, listing(word)?)))?;
        return Some(format!("{option} of list is {name}: 'lbctl {name}'"));
    }
    let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')).unwrap_or("");
    let letters = letters.trim_start_matches('n');
    let name = match (letters.chars().next(), word) {
        (Some('A'), _) | (_, "--add-service") => "add-service",
        (Some('E'), _) | (_, "--edit-service") => "edit-service",
        (Some('D'), _) | (_, "--delete-service") => "del-service",
        (Some('a'), _) | (_, "--add-server") => "add-real",
        (Some('e'), _) | (_, "--edit-server") => "edit-real",
        (Some('d'), _) | (_, "--delete-server") => "del-real",
        (Some('C'), _) | (_, "--clear") => "clear",
        (Some('Z'), _) | (_, "--zero") => "zero",
        (Some('S'), _) | (_, "--save") => "save",
        (Some('R'), _) | (_, "--restore") => "restore",
        (_, "--set") => "timeouts --set",
        (Some('L' | 'l'), _) | (_, "--list") => {
            let of_letters = letters.contains('c').then_some("connections");
            of_letters.or_else(|| rest.iter().find_map(|word| listing(word))).unwrap_or("list")
        }
        _ => return None,
    };
    // What stands behind the letter may be a value, as in -At10.0.0.1:80.
    let is_whole = letters.is_empty() || letters[1..].chars().all(|letter| matches!(letter, 'n' | 'c'));
    let option = if is_whole { word.to_owned() } else { format!("-{}", &letters[..1]) };
    Some(format!("{option} is {name}: see 'lbctl {} --help'", name.trim_end_matches(" --set")))
}

/// For other tools' ways to ask for JSON.
fn of_formats(error: &Error) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let asks = ["--json", "--format", "-j", "-o"].contains(&option.as_str());
    asks.then(|| "for JSON: 'lbctl --output json …'".to_owned())
}

/// The command that an option of `ipvsadm -L` is.
fn listing(option: &str) -> Option<&'static str> {
    match option {
        "-c" | "-nc" | "-cn" | "--connection" | "--connections" => Some("connections"),
        "--stats" => Some("stats"),
        "--rate" => Some("rate"),
        "--timeout" => Some("timeouts"),
        _ => None,
    }
}
