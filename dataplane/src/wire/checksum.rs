//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
/// Ones' complement sum.
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}
/// to be done
pub fn delta(_from: &[u8], _to: &[u8]) -> u16 {
    0
}
