//! The version that `natlb-lvs --version` names.

#[path = "../../stamp.rs"]
mod stamp;

fn main() {
    stamp::versions("../..");
}
