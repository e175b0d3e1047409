//! ARP (RFC 826): answering for own addresses, and hearing what others say.

use super::Slow;
use super::heard::Said;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::wire::arp::{self, Operation};
use crate::wire::ethernet;
use crate::worker::fate::{Fate, Judged};

impl<F: Frame> Slow<'_, F> {
    pub(in crate::worker) fn arp(&mut self, frame: &mut F) -> Judged {
        let message =
            frame.bytes().get(ethernet::HEADER..).and_then(arp::Message::parse).ok_or(DropReason::Arp)?;
        let for_us = self.is_ours_here(message.target.into());
        if self.is_ours_here(message.sender.into()) {
            let reported = self.claimed(message.sender.into(), message.sender_mac);
            return if reported { Ok(Fate::Consumed) } else { Err(DropReason::Arp) };
        }
        let heard = self.heard(Said {
            address: message.sender.into(),
            mac: message.sender_mac,
            reply: message.operation == Operation::Reply && for_us,
            replaces: true,
        });

        if message.operation == Operation::Request && for_us {
            let Self { snapshot, arrival, .. } = *self;
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
}
