//! What an `EthPort`'s device counts.

use super::list::totals;

totals! {
    /// What an `EthPort`'s device has counted since it was started. `None`: its driver does not count that.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PortCounters {
        rx_packets: counter "Frames received.",
        tx_packets: counter "Frames sent.",
        rx_bytes: counter "Bytes received, as the driver counts them; some drivers leave it at 0.",
        tx_bytes: counter "Bytes sent, as the driver counts them; some drivers leave it at 0.",
        rx_missed: counter "Frames that came while no buffer was free.",
        rx_nobuf: counter "Of these, frames for which the port's pools had none; the others found the queue full.",
        rx_errors: counter "Frames that arrived broken.",
        tx_errors: counter "Frames that the device could not send.",
    }
}
