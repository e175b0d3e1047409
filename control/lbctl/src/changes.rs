//! `reload`, `diff`, `apply`, `confirm`, `history` and `rollback`: what changes or would, as text, and the exit code
//! that says so.

use crate::Failure;
use crate::exchange::Lbd;
use crate::options::{Order, Output};
use crate::printer::Printer;
use control::api::protocol::{Command, Confirmed, EditView, Edited, EntryView, HistoryView};
use control::text::table::{self, Align, Table};
use serde_json::value::RawValue;
use std::time::{Duration, UNIX_EPOCH};

/// Exit code: `diff`, or `apply --dry-run`, has found differences.
pub(super) const DIFFERENCES: u8 = 4;
/// Exit code: `reload` is done, but something in the file needs a restart.
pub(super) const NEEDS_RESTART: u8 = 5;

/// Asks, prints the answer, and fails with an exit code of its own where there is more to say than "done".
pub(super) fn show(
    order: &Order,
    command: &Command,
    output: Output,
    (lbd, printer): (&Lbd, &Printer<'_>),
) -> Result<(), Failure> {
    let ok: Box<RawValue> = lbd.ask(command, printer)?;
    let is_json = output == Output::Json;
    if is_json {
        printer.print_later(&[ok.get()])?;
        printer.print("\n")?;
    }
    let strange =
        |error: serde_json::Error| Failure::Unreachable(format!("not the answer of an lbd: {error}"));
    match order {
        Order::Confirm => {
            let Confirmed { change, .. } = serde_json::from_str(ok.get()).map_err(strange)?;
            if !is_json {
                printer.print(&format!("change {change} stays\n"))?;
            }
            Ok(())
        }
        Order::History(_) => {
            let history = serde_json::from_str(ok.get()).map_err(strange)?;
            if !is_json {
                printer.print(&listed(&history))?;
            }
            Ok(())
        }
        _ => {
            let edited: Edited = serde_json::from_str(ok.get()).map_err(strange)?;
            let is_trial = !command.is_change();
            if !is_json {
                printer.print(&text(&edited, is_trial))?;
            }
            ended(&edited, is_trial)
        }
    }
}

fn ended(edited: &Edited, is_trial: bool) -> Result<(), Failure> {
    let notes = edited.notes.iter().map(|note| format!("note: {note}"));
    let needs = edited.needs_restart.iter().map(|what| format!("needs a restart of lbd: {what}"));
    let code = match edited {
        edited if is_trial && !edited.is_same() => DIFFERENCES,
        Edited { needs_restart, .. } if !needs_restart.is_empty() => NEEDS_RESTART,
        _ => 0,
    };
    let said: Vec<String> = notes.chain(needs).collect();
    if code == 0 && said.is_empty() { Ok(()) } else { Err(Failure::Said(code, said)) }
}

/// The lines of what changes, each with the connections that it is about.
fn text(edited: &Edited, is_trial: bool) -> String {
    let mut text = String::new();
    for EditView { line, active } in &edited.edits {
        text += line;
        if let Some(active) = active {
            text += &format!("    # {} active", grouped(*active));
        }
        text.push('\n');
    }
    edited.others.iter().for_each(|line| text += &format!("{line}\n"));
    if is_trial {
        return text;
    }
    text += &match (edited.change, edited.confirm_s) {
        (None, _) => "nothing to change\n".to_owned(),
        (Some(change), None) => format!("change {change} is in force\n"),
        (Some(change), Some(seconds)) => {
            format!("change {change} is in force; it is taken back in {seconds} s without lbctl confirm\n")
        }
    };
    text
}

fn listed(history: &HistoryView) -> String {
    let head = [
        ("change", Align::Right),
        ("time", Align::Left),
        ("version", Align::Right),
        ("by", Align::Left),
        ("command", Align::Left),
    ];
    let mut table = Table { head, rows: Vec::new() };
    for entry in &history.changes {
        let EntryView { change, time_ms, config_version, origin, command, confirm_until_ms, .. } = entry;
        let time =
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(*time_ms)).to_string();
        let by = origin.to_string();
        let by = by.trim().trim_start_matches("(by ").trim_end_matches(')').to_owned();
        let waits = if confirm_until_ms.is_some() { " (waits for lbctl confirm)" } else { "" };
        let command = format!("{command}{waits}");
        table.rows.push([change.to_string(), time, config_version.to_string(), by, command]);
    }
    let mut text = String::new();
    table::part(&mut text, "Changes", &table);
    text.trim_start().to_owned()
}

/// As 1,204: what goes is said exactly.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        let grouped = [0, 999, 1204, 1_000_000, 12_345_678].map(grouped);
        assert_eq!(grouped, ["0", "999", "1,204", "1,000,000", "12,345,678"]);
    }
}
