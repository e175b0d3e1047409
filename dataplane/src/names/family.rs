//! Address families.

use std::fmt::Debug;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::{BitAnd, Not};

/// An address and port as 48 bits in the order of the wire, first byte lowest.
pub const fn endpoint_bits(endpoint: SocketAddrV4) -> u64 {
    let [a, b, c, d] = endpoint.ip().octets();
    let [p, q] = endpoint.port().to_be_bytes();
    u64::from_le_bytes([a, b, c, d, p, q, 0, 0])
}

/// IPv6 (RFC 8200).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V6;

impl V6 {
    /// 32 bits that stand for an address where there is no room for all of it: its four words, exclusive-ored, which is
    /// how IPVS folds one as well. Both are as they lie on the wire, first byte lowest.
    #[inline(always)]
    pub const fn folded(address: u128) -> u32 {
        let half = address as u64 ^ (address >> 64) as u64;
        half as u32 ^ (half >> 32) as u32
    }
}

/// Which family an address is of, where that is asked at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// Of [`V4`].
    Four,
    /// Of [`V6`].
    Six,
}

impl IpVersion {
    /// That of an address.
    #[inline(always)]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Four,
            IpAddr::V6(_) => Self::Six,
        }
    }
}

/// An address as a number: what prefixes and masks are compared with.
pub trait Bits: Copy + Debug + Eq + Hash + BitAnd<Output = Self> + Not<Output = Self> {
    /// Zero, which is also the mask that all addresses are equal under.
    const ZERO: Self;

    /// That of an address, if it is of this family.
    fn of(address: IpAddr) -> Option<Self>;

    /// The address's first byte.
    fn first_byte(self) -> u8;

    /// The address with this first byte and no other bit.
    fn from_first_byte(byte: u8) -> Self;

    /// How many of the first bits of both are equal.
    fn equal_bits(self, other: Self) -> u32;

    /// The mask of a prefix of this length.
    fn mask(length: u32) -> Self;
}

/// Of IPv4.
impl Bits for u32 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn of(address: IpAddr) -> Option<Self> {
        V4::bits(address)
    }

    #[inline(always)]
    fn first_byte(self) -> u8 {
        (self >> 24) as u8
    }

    fn from_first_byte(byte: u8) -> Self {
        Self::from(byte) << 24
    }

    fn equal_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn mask(length: u32) -> Self {
        !Self::MAX.checked_shr(length).unwrap_or(0)
    }
}

/// Of IPv6.
impl Bits for u128 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V6(address) => Some(address.to_bits()),
            IpAddr::V4(_) => None,
        }
    }

    #[inline(always)]
    fn first_byte(self) -> u8 {
        (self >> 120) as u8
    }

    fn from_first_byte(byte: u8) -> Self {
        Self::from(byte) << 120
    }

    fn equal_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn mask(length: u32) -> Self {
        !Self::MAX.checked_shr(length).unwrap_or(0)
    }
}

/// IPv4 (RFC 791).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4;

impl V4 {
    /// The address, if it is of this family.
    #[inline(always)]
    pub const fn address(address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    /// The address and port, if it is of this family.
    pub const fn socket(endpoint: SocketAddr) -> Option<SocketAddrV4> {
        match endpoint {
            SocketAddr::V4(endpoint) => Some(endpoint),
            SocketAddr::V6(_) => None,
        }
    }

    /// The address as a number, if it is of this family: what prefixes and masks are compared with.
    #[inline(always)]
    pub const fn bits(address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        }
    }

    /// [`endpoint_bits`], if of this family.
    #[inline(always)]
    pub const fn endpoint_bits(endpoint: SocketAddr) -> Option<u64> {
        match endpoint {
            SocketAddr::V4(endpoint) => Some(endpoint_bits(endpoint)),
            SocketAddr::V6(_) => None,
        }
    }

    /// The address and port of [`endpoint_bits`](Self::endpoint_bits).
    #[inline(always)]
    pub fn endpoint(bits: u64) -> SocketAddr {
        let [a, b, c, d, p, q, _, _] = bits.to_le_bytes();
        SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([p, q]))
    }
}
