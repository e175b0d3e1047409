//! Which bits of a client's address persistence looks at, as `ipvsadm -M` takes them: `255.255.255.0`; of IPv6 the
//! number of leading bits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The mask under which every client of this VIP's family is one of its own.
pub const fn whole(vip: IpAddr) -> IpAddr {
    match vip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    }
}

/// The mask that this text is for clients of a VIP.
///
/// # Errors
/// It is none, or all its bits are 0: in the words of `ipvsadm`.
pub fn by_text(vip: IpAddr, text: &str) -> Result<IpAddr, String> {
    let (mask, expected) = match vip {
        IpAddr::V4(_) => (
            text.parse().ok().map(IpAddr::V4),
            "illegal virtual server persistent mask specified: expected a mask as 255.255.255.0",
        ),
        IpAddr::V6(_) => (
            length(text).map(leading).map(IpAddr::V6),
            "illegal ipv6 netmask specified: expected a number of bits from 1 to 128",
        ),
    };
    mask.filter(|mask| !mask.is_unspecified()).ok_or_else(|| format!("{expected}, found {text:?}"))
}

/// As it is written.
pub fn text(mask: IpAddr) -> String {
    match mask {
        IpAddr::V4(mask) => mask.to_string(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones().to_string(),
    }
}

/// A number of digits alone: no sign, and nothing behind it, which `ipvsadm` would pass over.
fn length(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|length| digits && (1..=128).contains(length))
}

const fn leading(length: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::MAX << (128 - length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_read_back_in_either_family() {
        let vips = ["192.0.2.1", "2001:db8::1"].map(|vip| vip.parse::<IpAddr>().unwrap());
        // As in the kernel, the bits of an IPv4 mask need not be in one piece.
        for (vip, masks) in vips.into_iter().zip([["255.255.255.0", "255.0.255.0"], ["64", "1"]]) {
            for mask in masks {
                assert_eq!(text(by_text(vip, mask).unwrap()), mask);
            }
            assert_eq!(by_text(vip, &text(whole(vip))), Ok(whole(vip)));
        }
        for wrong in ["0.0.0.0", "24", "255.255.255"] {
            let expected =
                "illegal virtual server persistent mask specified: expected a mask as 255.255.255.0, found";
            assert_eq!(by_text(vips[0], wrong), Err(format!("{expected} {wrong:?}")));
        }
        for wrong in ["0", "129", "-1", "+64", "255.255.255.0", "ffff:ffff::", "/64", "64x", "x", ""] {
            let expected = "illegal ipv6 netmask specified: expected a number of bits from 1 to 128, found";
            assert_eq!(by_text(vips[1], wrong), Err(format!("{expected} {wrong:?}")));
        }
    }
}
