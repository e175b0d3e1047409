//! A real of a service.

use dataplane::snapshot::Thresholds;
use std::net::SocketAddr;

/// A real of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    /// Its address and port; port 0: the port that the client asked for.
    pub endpoint: SocketAddr,
    /// 0: gets no new connection.
    pub weight: u32,
    /// The last weight above 0 that it had; 0: it never had one. `mh` goes by it, so that a real whose weight is 0 for
    /// a while keeps its clients.
    pub last_weight: u32,
    /// How many connections it may have.
    pub thresholds: Thresholds,
    /// Its connections are to end: what lives of them is reset. As long as its weight is 0.
    pub is_emptied: bool,
}

impl Real {
    /// One that has just been added, without thresholds.
    pub fn new(endpoint: SocketAddr, weight: u32) -> Self {
        Self { endpoint, weight, last_weight: weight, thresholds: Thresholds::default(), is_emptied: false }
    }

    /// From now on it has this weight.
    pub const fn set_weight(&mut self, weight: u32) {
        self.weight = weight;
        if weight != 0 {
            self.last_weight = weight;
            self.is_emptied = false;
        }
    }
}
