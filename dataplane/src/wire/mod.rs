//! Formats on the wire.
pub mod checksum;
