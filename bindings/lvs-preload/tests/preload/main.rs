//! The library under a real program: this test program, run once more with the library preloaded. Each test has two
//! parts: what `lbd` does, in the test itself, and what the tool does, in the other process.
//!
//! ```text
//! scenario  the two processes and how they wait for each other
//! lbd       a stand-in for lbd, which the test plays message by message
//! tool      netlink as LVS's tools use it
//! wire      messages as bytes
//! exchange  requests, answers, dumps
//! loss      lbd is absent, goes away, comes back, turns a tool away
//! others    files of /proc, the kernel's module, and what is no business of natlb's
//! ```

mod exchange;
mod lbd;
mod loss;
mod others;
mod scenario;
mod tool;
mod wire;
