//! The two directions of a connection.

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the real.
    #[default]
    Forward = 0,
    /// From the real to the client.
    Reverse = 1,
}
