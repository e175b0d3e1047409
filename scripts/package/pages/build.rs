//! The version that the pages name.

#[path = "../../../stamp.rs"]
mod stamp;

fn main() {
    stamp::versions("../../..");
}
