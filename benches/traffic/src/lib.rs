//! Frames and flows, made once for tests and benches.
//!
//! ```text
//! packet    any IPv4 packet, written out field by field
//! checksum  RFC 1071, plain and slow: not the implementation under test
//! ```
#![forbid(unsafe_code)]

pub mod checksum;
pub mod packet;
