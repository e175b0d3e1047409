//! The command lines of the programs. `lbd` and `natlb-lvs` are no libraries: the files that have theirs are included
//! as they are, and the rest of these files is not used here.

use clap::{Command, CommandFactory};

#[allow(dead_code)]
#[path = "../../../../control/lbd/options.rs"]
mod lbd_options;

#[allow(dead_code)]
#[path = "../../../../control/natlb-lvs/src/options.rs"]
mod natlb_lvs_options;

/// `lbd`'s.
pub(crate) fn lbd() -> Command {
    lbd_options::Options::command()
}

/// `lbctl`'s, its commands included.
pub(crate) fn lbctl() -> Command {
    let mut command = lbctl::command();
    // Each command gets the options that all have.
    command.build();
    command
}

/// `natlb-lvs`'s.
pub(crate) fn natlb_lvs() -> Command {
    natlb_lvs_options::Line::command()
}
