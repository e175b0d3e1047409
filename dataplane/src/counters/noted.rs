//! A client that a worker has noted last, of either family, for whoever reads the worker's counters.

use super::Counter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{Ordering, fence};

/// Above the port: the address is of IPv4.
const OF_IPV4: u64 = 1 << 16;
/// Likewise, of IPv6.
const OF_IPV6: u64 = 2 << 16;

/// Written by one thread, read by any. A reader never sees parts of two clients.
#[derive(Debug, Default)]
pub struct NotedClient {
    /// Odd while the words are written.
    revision: Counter,
    /// The address's halves, and the port with the family; zero: none yet.
    words: [Counter; 3],
}

impl NotedClient {
    /// Notes a client; only the one writer may call it.
    pub fn note(&self, client: SocketAddr) {
        let port = u64::from(client.port());
        let words = match client.ip() {
            IpAddr::V4(address) => [address.to_bits().into(), 0, port | OF_IPV4],
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                [bits as u64, (bits >> 64) as u64, port | OF_IPV6]
            }
        };
        self.revision.set(self.revision.get() + 1);
        fence(Ordering::Release);
        self.words.iter().zip(words).for_each(|(word, value)| word.set(value));
        self.revision.publish(self.revision.get() + 1);
    }

    /// The client noted last; `None` if there is none, or another is being noted right now.
    pub fn get(&self) -> Option<SocketAddr> {
        let before = self.revision.observe();
        let [lower, upper, port] = self.words.each_ref().map(Counter::get);
        fence(Ordering::Acquire);
        if !before.is_multiple_of(2) || self.revision.get() != before {
            return None;
        }
        let address = match port & !0xffff {
            OF_IPV4 => IpAddr::V4(Ipv4Addr::from_bits(lower as u32)),
            OF_IPV6 => IpAddr::V6(Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower))),
            _ => return None,
        };
        Some(SocketAddr::new(address, port as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn what_was_noted_last_is_read_whole() {
        let noted = NotedClient::default();
        assert_eq!(noted.get(), None);
        let clients = ["192.0.2.6:123", "[2001:db8::1:2:3]:0", "0.0.0.0:0", "[ffff::]:65535"];
        let clients = clients.map(|client| client.parse::<SocketAddr>().unwrap());
        for client in clients {
            noted.note(client);
            assert_eq!(noted.get(), Some(client));
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for client in clients.iter().cycle().take(100_000) {
                    noted.note(*client);
                }
                is_over.store(true, Ordering::Release);
            });
            while !is_over.load(Ordering::Acquire) {
                if let Some(client) = noted.get() {
                    assert!(clients.contains(&client), "{client}");
                }
            }
        });
    }
}
