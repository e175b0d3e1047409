//! Frames and flows, made once for tests and benches.
//!
//! ```text
//! packet    any IPv4 packet, written out field by field
//! checksum  RFC 1071, plain and slow: not the implementation under test
//! random    random numbers and orders, the same in each run
//! flows     flows by number: clients, services, and where they are
//! world     with `worker`: what a worker runs on between them
//! buffer    with `worker`: a frame of a flow in a buffer like an mbuf
//! prepared  with `worker`: ports whose frames are written beforehand
//! source    with `worker`: ports whose frames are written as they are received
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "worker")]
pub mod buffer;
pub mod checksum;
pub mod flows;
pub mod packet;
#[cfg(feature = "worker")]
pub mod prepared;
pub mod random;
#[cfg(feature = "worker")]
pub mod source;
#[cfg(feature = "worker")]
pub mod world;
