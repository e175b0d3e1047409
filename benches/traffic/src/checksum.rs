//! The checksum of RFC 1071, as plain as it can be.

/// The checksum of these bytes, in one's complement, as a header has it. `start` is the sum of what else it covers, as
/// of a pseudo-header.
pub fn internet_checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.map(u64::from).sum::<u64>() + u64::from(start);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Makes the checksum of a frame's IPv4 header right.
pub fn seal(frame: &mut [u8]) {
    let header = usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let check = internet_checksum(&frame[14..14 + header], 0);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}
