//! The versions that `lbctl --version` names.

#[path = "../../stamp.rs"]
mod stamp;

fn main() {
    stamp::versions("../..");
}
