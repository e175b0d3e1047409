//! All services replaced in one change, and the lines that bring them back.

use super::{set_timeouts, steps};
use crate::api::protocol::FaultyLines;
use crate::api::refusal::Refused;
use crate::model::{Draft, Model, Network};
use crate::text::ipvsadm_lines::{self, Line};
use crate::text::sort_order::{Place, sorted};
use dataplane::names::ids::RealKey;

/// The model with the services of these lines alone, whose reals count as added one by one in the
/// order written. Timeouts stay unless a `--set` line changes them. Lines may also change what earlier ones have made;
/// then it is as if these had made it so.
///
/// # Errors
/// Every faulty line, by its number; or that there is none at all, or that some are missing.
pub fn restore<'a>(
    model: &Model,
    network: &Network,
    lines: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Result<Model, Refused> {
    let lines = lines.into_iter();
    let whole = ipvsadm_lines::check_whole(lines.clone())?;
    let mut next = model.clone();
    next.clear();
    let mut draft = Draft::default();
    let mut faulty = FaultyLines::default();
    let mut is_empty = true;
    for (number, line) in ipvsadm_lines::numbered(lines.take(whole)) {
        is_empty = false;
        if let Err(message) = take(line, &mut draft, &mut next, network) {
            faulty.add(number, message);
        }
    }
    if !faulty.named.is_empty() {
        return Err(Refused::Lines(faulty));
    }
    if is_empty {
        return Err(Refused::NoLines);
    }
    draft.finish(&mut next);
    Ok(next)
}

/// The lines that bring the services back, which are in `ipvsadm`'s sort order: their reals oldest first, so that the
/// same are picked again.
pub fn save(model: &Model) -> Vec<String> {
    let mut lines = vec![ipvsadm_lines::timeouts_line(model.timeouts)];
    for service in sorted(model.services().values(), |service| Some(Place::of_service(&service.key))) {
        steps::add(service, &mut lines);
    }
    lines
}

/// Takes one line, or says what is wrong with it.
fn take(line: &str, draft: &mut Draft, next: &mut Model, network: &Network) -> Result<(), String> {
    let line_taken = ipvsadm_lines::parse(line)
        .and_then(|line| take_parsed(line, draft, next, network).map_err(|refused| refused.to_string()));
    if line_taken.is_err() {
        ipvsadm_lines::added_service(line).into_iter().for_each(|service| draft.note_faulty(service));
    }
    line_taken
}

fn take_parsed(line: Line, draft: &mut Draft, next: &mut Model, network: &Network) -> Result<(), Refused> {
    match line {
        Line::AddService { service, settings } => draft.add_service(network, service, settings)?,
        Line::AddReal { service, real } => draft.add_real(network, service, real)?,
        Line::EditService { service, settings } => draft.edit_service(&service, settings)?,
        Line::DelService(service) => draft.remove_service(&service)?,
        Line::EditReal { service, real, weight, thresholds } => {
            draft.edit_real(&RealKey { service, endpoint: real }, weight, thresholds)?;
        }
        Line::DelReal { service, real } => draft.remove_real(&RealKey { service, endpoint: real })?,
        Line::SetTimeouts(set) => set_timeouts(next, set)?,
        Line::Clear if draft.is_empty() => {}
        Line::Clear => return Err(Refused::NotSupported("-C after services: all lines are one change")),
    }
    Ok(())
}
