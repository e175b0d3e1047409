//! Addresses of either family in messages.

use super::attributes::Malformed;
use super::errors::Refusal;
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A family by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// # Errors
    /// It is neither.
    pub(super) fn by_number(number: u16) -> Result<Self, Refusal> {
        match number {
            2 => Ok(Self::V4),
            10 => Ok(Self::V6),
            _ => Err(Refusal { errno: Errno::EAFNOSUPPORT, words: None }),
        }
    }

    pub(super) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(super) const fn number(self) -> u16 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// An address of this family. One of IPv4 is four bytes, or the first four of the sixteen that an address has in
    /// the kernel's structures.
    ///
    /// # Errors
    /// It has another length.
    pub(super) fn address(self, payload: &[u8]) -> Result<IpAddr, Malformed> {
        match (self, payload) {
            (Self::V4, [a, b, c, d]) => Ok(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d))),
            (Self::V4, [a, b, c, d, rest @ ..]) if rest.len() == 12 => {
                Ok(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d)))
            }
            (Self::V6, _) => {
                let octets: [u8; 16] = payload.try_into().map_err(|_| Malformed)?;
                Ok(IpAddr::V6(Ipv6Addr::from(octets)))
            }
            _ => Err(Malformed),
        }
    }
}

/// As a message has it: sixteen bytes also of IPv4, since `ipvsadm` copies so many whatever the attribute's length is.
pub(super) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_and_ipv4_has_four_bytes_or_sixteen() {
        for text in ["192.168.10.100", "2001:db8::10"] {
            let address = text.parse().unwrap();
            let family = Family::of(address);
            assert_eq!(family.address(&octets(address)), Ok(address));
            assert_eq!(Family::by_number(family.number()), Ok(family));
        }
        assert_eq!(Family::V4.address(&[10, 0, 0, 7]), Ok([10, 0, 0, 7].into()));
        for length in [0, 3, 5, 15, 17] {
            assert_eq!(Family::V4.address(&vec![1; length]), Err(Malformed), "{length}");
            assert_eq!(Family::V6.address(&vec![1; length]), Err(Malformed), "{length}");
        }
        assert_eq!(Family::V6.address(&[1; 4]), Err(Malformed));
        for number in [0, 1, 3, 11, u16::MAX] {
            assert_eq!(Family::by_number(number).unwrap_err().errno, Errno::EAFNOSUPPORT);
        }
    }
}
