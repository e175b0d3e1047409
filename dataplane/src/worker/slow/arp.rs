//! ARP (RFC 826): answering for own addresses, and telling the control thread what others say.

use crate::exchange::orders::NeighbourEvent;
use crate::frame::{Frame, FrameIo};
use crate::names::ids::NeighbourKey;
use crate::names::verdict::{DropReason, Verdict};
use crate::wire::arp::{self, Operation};
use crate::wire::ethernet;
use crate::worker::Handler;
use crate::worker::slow::packet::Context;

/// Slots of the ring that what neighbours say leaves free for what is wanted of them.
const KEPT_FOR_WANTED: usize = 64;
/// Slots that answers of hosts which no packet waits for leave free for those of next hops: anybody can send some.
const KEPT_FOR_KNOWN: usize = 128;

impl<Io: FrameIo> Handler<Io> {
    pub(in crate::worker) fn arp(
        &mut self,
        frame: &mut Io::Frame,
        context: Context<'_>,
    ) -> Result<Verdict, DropReason> {
        let Context { snapshot, port, now } = context;
        let message =
            frame.bytes().get(ethernet::HEADER..).and_then(arp::Message::parse).ok_or(DropReason::Arp)?;
        let is_ours =
            |address| snapshot.local(address).is_some_and(|local| local.interfaces & port.bit() != 0);
        let for_us = is_ours(message.target.into());
        if is_ours(message.sender.into()) {
            return self.claimed(&message, context);
        }
        let heard = self.heard(&message, for_us, context);

        if message.operation == Operation::Request && for_us {
            let limit = &mut self.limits.on(port).arp;
            if !limit.take(now) {
                self.counters.answers_suppressed.add(1);
                return Err(DropReason::Arp);
            }
            let mac = snapshot.interfaces[port.index()].mac;
            let answered = arp::reply_in_place(frame.bytes_mut(), mac);
            if !answered {
                limit.give_back();
            }
            frame.set_length(arp::FRAME); // whatever came behind the request, which is longer, ends here
            return if answered { Ok(Verdict::Answer(port)) } else { Err(DropReason::Arp) };
        }
        if heard { Ok(Verdict::Consumed) } else { Err(DropReason::Arp) }
    }

    /// Somebody says that an own address of this link is its. That is told to the control thread, and not
    /// answered; an own message that a link sends back is neither (RFC 5227 §2.1.1, §2.4).
    fn claimed(&mut self, message: &arp::Message, context: Context<'_>) -> Result<Verdict, DropReason> {
        let Context { snapshot, port, now } = context;
        let is_own_message = snapshot.interfaces.iter().any(|own| own.mac == message.sender_mac);
        let key = NeighbourKey { interface: port, address: message.sender.into() };
        let event = NeighbourEvent::Conflict { key, mac: message.sender_mac };
        let told = !is_own_message
            && self.neighbour_events.slots() > KEPT_FOR_WANTED
            && self.limits.claimed.take(now)
            && self.neighbour_events.push(event).is_ok();
        if told { Ok(Verdict::Consumed) } else { Err(DropReason::Arp) }
    }

    /// Tells the control thread what a sender says of itself, where that may matter: it is a next
    /// hop, packets wait for it, or it answers us. Hosts that nothing is sent to are not listened to,
    /// so that what they say cannot fill the ring.
    fn heard(&mut self, message: &arp::Message, for_us: bool, context: Context<'_>) -> bool {
        let Context { snapshot, port, now } = context;
        if message.sender.is_unspecified()
            || message.sender_mac.is_group()
            || snapshot.local(message.sender.into()).is_some()
        {
            return false;
        }
        let key = NeighbourKey { interface: port, address: message.sender.into() };
        let reply = message.operation == Operation::Reply && for_us;
        let is_known = self.neighbours.contains_key(&key) || self.waiting.is_awaited(key);
        let worth_telling = match self.neighbours.get(&key) {
            Some(id) => {
                let known = self.next_hops.get(*id);
                reply || !known.is_resolved() || known.mac() != message.sender_mac
            }
            None => reply || is_known,
        };
        let limits = self.limits.on(port);
        let (limit, kept) = if is_known {
            (&mut limits.heard, KEPT_FOR_WANTED)
        } else {
            (&mut limits.heard_of_others, KEPT_FOR_KNOWN)
        };
        let event = NeighbourEvent::Heard { key, mac: message.sender_mac, reply };
        worth_telling
            && self.neighbour_events.slots() > kept
            && limit.take(now)
            && self.neighbour_events.push(event).is_ok()
    }
}
