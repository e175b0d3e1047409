//! ARP (RFC 826): answering for own addresses, and reporting to the control thread what others say.

use super::Slow;
use crate::exchange::orders::NeighbourEvent;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::ids::NeighbourKey;
use crate::wire::arp::{self, Operation};
use crate::wire::ethernet;
use crate::worker::fate::{Fate, Judged};

/// Slots of the ring that what neighbours say leaves free for what is wanted of them.
const KEPT_FOR_WANTED: usize = 64;
/// Slots that answers of hosts which no packet waits for leave free for those of next hops: anybody can send some.
const KEPT_FOR_KNOWN: usize = 128;

impl<F: Frame> Slow<'_, F> {
    pub(in crate::worker) fn arp(&mut self, frame: &mut F) -> Judged {
        let Self { snapshot, arrival, .. } = *self;
        let message =
            frame.bytes().get(ethernet::HEADER..).and_then(arp::Message::parse).ok_or(DropReason::Arp)?;
        let is_ours =
            |address| snapshot.local(address).is_some_and(|local| local.interfaces & arrival.bit() != 0);
        let for_us = is_ours(message.target.into());
        if is_ours(message.sender.into()) {
            return self.claimed(&message);
        }
        let heard = self.heard(&message, for_us);

        if message.operation == Operation::Request && for_us {
            let limit = &mut self.limits.on(arrival).arp;
            if !limit.take(self.now) {
                self.counters.answers_suppressed.add(1);
                return Err(DropReason::Arp);
            }
            let mac = snapshot.interfaces[arrival.index()].mac;
            let answered = arp::reply_in_place(frame.bytes_mut(), mac);
            if !answered {
                limit.give_back();
            }
            frame.set_length(arp::FRAME); // whatever came behind the request, which is longer, ends here
            return if answered {
                Ok(Fate::Answer { out: arrival, instead_of: None })
            } else {
                Err(DropReason::Arp)
            };
        }
        if heard { Ok(Fate::Consumed) } else { Err(DropReason::Arp) }
    }

    /// Another host says that an own address of this link is its. That is reported to the control thread, and not
    /// answered; an own message that a link sends back is neither (RFC 5227 §2.1.1, §2.4).
    fn claimed(&mut self, message: &arp::Message) -> Judged {
        let is_own_message = self.snapshot.interfaces.iter().any(|own| own.mac == message.sender_mac);
        let key = NeighbourKey { interface: self.arrival, address: message.sender.into() };
        let event = NeighbourEvent::Conflict { key, mac: message.sender_mac };
        let reported = !is_own_message
            && self.reach.can_report(KEPT_FOR_WANTED)
            && self.limits.claimed.take(self.now)
            && self.reach.report(event);
        if reported { Ok(Fate::Consumed) } else { Err(DropReason::Arp) }
    }

    /// Reports to the control thread what a sender says of itself, where that may matter: it is a next
    /// hop, packets wait for it, or it answers us. Hosts that nothing is sent to are not listened to,
    /// so that what they say cannot fill the ring.
    fn heard(&mut self, message: &arp::Message, for_us: bool) -> bool {
        if message.sender.is_unspecified()
            || message.sender_mac.is_group()
            || self.snapshot.local(message.sender.into()).is_some()
        {
            return false;
        }
        let key = NeighbourKey { interface: self.arrival, address: message.sender.into() };
        let reply = message.operation == Operation::Reply && for_us;
        let id = self.reach.id(key);
        let is_known = id.is_some() || self.held.waiting.is_awaited(key);
        let worth_reporting = match id {
            Some(id) => {
                let known = self.reach.next_hops.get(id);
                reply || !known.is_resolved() || known.mac() != message.sender_mac
            }
            None => reply || is_known,
        };
        let limits = self.limits.on(self.arrival);
        let (limit, kept) = if is_known {
            (&mut limits.heard, KEPT_FOR_WANTED)
        } else {
            (&mut limits.heard_of_others, KEPT_FOR_KNOWN)
        };
        let event = NeighbourEvent::Heard { key, mac: message.sender_mac, reply };
        worth_reporting && self.reach.can_report(kept) && limit.take(self.now) && self.reach.report(event)
    }
}
