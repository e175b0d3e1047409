//! What the fast path has to know of an address family. All else in it is the same for each, and is compiled for each
//! by itself.

use super::decode::Expected;
use crate::connection::table::{ClientKey, Home};
use crate::exchange::peers::Peers;
use crate::frame::{Frame, HEAD};
use crate::names::direction::Direction;
use crate::snapshot::Compiled;
use crate::translation::{FieldsOf, RemoteOf};
use crate::wire::{ethernet, tcp, udp};
use crate::worker::tables::Tabled;
use std::fmt::Debug;
use std::net::IpAddr;

/// An address family whose plain packets take the fast path. Unless it says otherwise, a `head` is that of a plain
/// frame.
pub(in crate::worker) trait Plain: Compiled + Tabled {
    /// The first bytes of a frame, as many as tell whether it is plain.
    type Start: Copy + Debug;
    /// What may be wrong with any frame of a burst, gathered from all of them, so that each costs no branch.
    type Faults: Copy + Debug;
    /// An address, as it is asked for in the configuration.
    type Address: Copy + Debug + Into<IpAddr>;

    /// Bytes of a plain packet's header, in front of TCP or UDP.
    const HEADER: usize;
    /// Where the TCP or UDP header begins in a plain frame.
    const TRANSPORT: usize = ethernet::HEADER + Self::HEADER;
    /// Where the flags of a TCP segment are.
    const TCP_FLAGS: usize = Self::TRANSPORT + tcp::field::FLAGS;
    /// Bytes from the start of a packet to the end of a TCP header: the least length of a plain TCP segment.
    const LEAST_TCP: u16 = (Self::HEADER + tcp::HEADER) as u16;
    /// The least length of a plain UDP datagram.
    const LEAST_UDP: u16 = (Self::HEADER + udp::HEADER) as u16;
    /// The head holds all that is looked at.
    const FITS: () = assert!(Self::TRANSPORT + tcp::HEADER <= HEAD);

    /// How a plain frame to this MAC begins.
    fn start(mac: u64) -> Self::Start;

    /// No frame looked at yet.
    fn no_faults() -> Self::Faults;

    /// Whether all frames looked at are plain, but for their lengths.
    fn are_plain(faults: &Self::Faults) -> bool;

    /// Decodes any frame as if it were plain: its key, and the length of its packet in bytes, header included. Gathers
    /// what is wrong with it but for its lengths.
    fn decode(
        frame: &impl Frame,
        direction: Direction,
        expected: Expected<Self>,
        faults: &mut Self::Faults,
    ) -> (ClientKey<Self>, u16);

    /// Of a frame that is not plain: the homes of the connections that it may be of, as bits by their
    /// [lowest](Home::low_bits). `decoded` is where it was found to be at home as if it were plain.
    fn homes_of_other(head: &[u8; HEAD], decoded: Home) -> u64;

    /// What a translation in this direction looks at or changes.
    fn fields(head: &[u8; HEAD], direction: Direction) -> FieldsOf<Self>;

    /// Puts them back.
    fn put_fields(head: &mut [u8; HEAD], direction: Direction, fields: FieldsOf<Self>);

    /// The remote endpoint, which gets translated.
    fn remote(head: &[u8; HEAD], direction: Direction) -> RemoteOf<Self>;

    /// The number of the protocol in the payload.
    fn protocol(head: &[u8; HEAD]) -> u8;

    /// The source address.
    fn source(head: &[u8; HEAD]) -> Self::Address;

    /// The destination address.
    fn destination(head: &[u8; HEAD]) -> Self::Address;

    /// Whether this can be no host's address.
    fn is_martian(source: Self::Address) -> bool;

    /// Whether the header's checksum is right; always, where the header has none.
    fn has_right_header(head: &[u8; HEAD]) -> bool;

    /// Whether a packet of this length has only the pseudo-header's sum for a transport checksum.
    fn has_partial_checksum(head: &[u8; HEAD], length: u16) -> bool;

    /// The worker that has a client's connections.
    fn owner<F>(key: ClientKey<Self>, peers: &Peers<F>) -> usize;
}
