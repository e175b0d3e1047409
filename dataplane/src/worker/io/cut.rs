//! Packets that are longer than the MTU on the way out, and may be cut: all of their fragments leave, or none.

use super::identification::Identifications;
use crate::frame::{Frame, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::ids::InterfaceId;
use crate::wire::fragmentation::{self, Cut};
use crate::wire::{ethernet, fragmentation6, ipv4, ipv6, link};
use arrayvec::ArrayVec;

/// Fragments that a packet is cut into, at most: 9000 bytes make 17 of 576.
const MOST_FRAGMENTS: usize = 64;

/// Makes `frame` its own first fragment and returns the others, in buffers of the pool of the `EthPort` that it leaves
/// by. One of IPv6 must begin here: an answer to a ping that was longer than our MTU.
///
/// # Errors
/// Why the packet is to be dropped.
pub(in crate::worker) fn cut<Io: FrameIo>(
    io: &mut Io,
    out: InterfaceId,
    mtu: u16,
    identifications: &mut Identifications,
    frame: &mut Io::Frame,
) -> Result<ArrayVec<Io::Frame, MOST_FRAGMENTS>, DropReason> {
    if let Ok(packet) = ipv4::Packet::in_frame(frame.bytes()) {
        let plan = fragmentation::Plan::new(&packet, mtu).ok_or(DropReason::WouldFragment)?;
        return cut_by(&plan, io, out, frame);
    }
    let packet = ipv6::Packet::in_frame(frame.bytes()).map_err(|_| DropReason::WouldFragment)?;
    let id = identifications.next();
    let plan = fragmentation6::Plan::new(&packet, mtu, id).ok_or(DropReason::WouldFragment)?;
    cut_by(&plan, io, out, frame)
}

fn cut_by<Io: FrameIo>(
    plan: &impl Cut,
    io: &mut Io,
    out: InterfaceId,
    frame: &mut Io::Frame,
) -> Result<ArrayVec<Io::Frame, MOST_FRAGMENTS>, DropReason> {
    if plan.count() > MOST_FRAGMENTS {
        return Err(DropReason::WouldFragment);
    }
    let mut others = ArrayVec::new();
    for index in 1..plan.count() {
        let mut other = io.allocate(out.eth_port()).ok_or(DropReason::NoBuffer)?;
        if !other.set_length(ethernet::HEADER + plan.length(index)) {
            return Err(DropReason::NoBuffer);
        }
        let (link, packet) = other.bytes_mut().split_at_mut(ethernet::HEADER);
        let (original_link, original) = frame.bytes().split_at(ethernet::HEADER);
        link.copy_from_slice(original_link);
        plan.write_later(index, original, packet);
        link::pad(&mut other);
        others.push(other);
    }
    plan.cut_first(&mut frame.bytes_mut()[ethernet::HEADER..]);
    frame.set_length(ethernet::HEADER + plan.length(0));
    Ok(others)
}
