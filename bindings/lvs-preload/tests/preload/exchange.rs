//! Requests, answers, dumps.

use crate::scenario::scenario;
use crate::tool::{Netlink, request};
use crate::wire::{self, Message};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, getsockname, recv, recvfrom, send, sendto};
use nix::unistd::{read, write};
use std::thread;

/// An answer of this many bytes.
fn answer(request: &Message, length: usize) -> Message {
    Message { flags: 2, body: vec![9; length - 16], ..request.clone() }
}

#[test]
fn a_request_reaches_lbd_and_the_answer_the_tool() {
    let said = scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            let found = peer.request();
            assert_ne!(found.port, 0, "the port that the tool was given");
            assert_eq!(Message { port: 0, ..found.clone() }, request(8));
            peer.send(&answer(&found, 100));
            peer.send(&wire::error(&found, 0));
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            tool.send(&request(8));
            let found = tool.receive();
            assert_eq!((found.body.len(), found.sequence, found.port), (84, 8, tool.port));
            assert_eq!(tool.receive().error(), (0, 8));
            let name = getsockname::<NetlinkAddr>(tool.descriptor()).unwrap();
            assert_eq!((name.pid(), name.groups()), (tool.port, 0), "as it was bound");
        },
    );
    assert_eq!(said, "");
}

#[test]
fn a_dump_comes_message_by_message_and_poll_knows() {
    const MESSAGES: u32 = 300;
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            let found = peer.request();
            let all: Vec<u8> =
                (0..MESSAGES).flat_map(|number| answer(&found, 50 + number as usize).bytes()).collect();
            peer.send_bytes(&all);
            peer.send(&Message { kind: wire::DONE, flags: 2, body: vec![0; 4], ..found });
            steps.reached();
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            assert!(!tool.is_readable());
            tool.send(&request(8));
            for number in 0..MESSAGES as usize {
                assert_eq!(tool.peek_length(), 50 + number);
                assert!(tool.is_readable(), "looked at, not received");
                assert_eq!(tool.receive().body.len(), 34 + number);
            }
            steps.wait();
            assert!(tool.is_readable());
            assert_eq!(tool.receive().kind, wire::DONE);
            assert!(!tool.is_readable());
        },
    );
}

#[test]
fn a_message_that_comes_in_pieces_is_waited_for() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            let found = peer.request();
            let bytes = answer(&found, 40).bytes();
            for byte in &bytes[..39] {
                peer.send_bytes(&[*byte]);
                steps.reached();
                steps.wait();
            }
            peer.send_bytes(&bytes[39..]);
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            tool.send(&request(8));
            for _ in 0..39 {
                steps.wait();
                let flags = MsgFlags::MSG_DONTWAIT;
                assert_eq!(tool.receive_into(&mut [0; 100], flags), Err(Errno::EAGAIN));
                assert!(!tool.is_readable(), "a part is not a message");
                steps.reached();
            }
            assert_eq!(tool.receive().body.len(), 24);
        },
    );
}

#[test]
fn what_has_no_room_is_gone() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            let found = peer.request();
            for length in [100, 200, 300] {
                peer.send(&answer(&found, length));
            }
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            tool.send(&request(8));
            let mut little = [0; 20];
            assert_eq!(tool.receive_into(&mut little, MsgFlags::empty()), Ok((20, true)));
            assert_eq!(tool.receive_into(&mut little, MsgFlags::MSG_TRUNC), Ok((200, true)));
            assert_eq!(little[..4], 200_u32.to_ne_bytes());
            assert_eq!(tool.receive().body.len(), 284);
        },
    );
}

#[test]
fn all_ways_to_send_and_receive_lead_to_lbd() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            for sequence in 8..12 {
                let found = peer.request();
                assert_eq!(found.sequence, sequence);
                peer.send(&wire::error(&found, 0));
            }
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            let (descriptor, none) = (tool.descriptor(), MsgFlags::empty());
            let mut room = [0; 100];
            write(&tool.socket, &request(8).bytes()).unwrap();
            assert_eq!(read(&tool.socket, &mut room), Ok(36));
            send(descriptor, &request(9).bytes(), none).unwrap();
            assert_eq!(recv(descriptor, &mut room, MsgFlags::MSG_PEEK), Ok(36));
            assert_eq!(recv(descriptor, &mut room, none), Ok(36));
            assert_eq!(Message::read(&room[..36]).error(), (0, 9));
            let kernel = NetlinkAddr::new(0, 0);
            sendto(descriptor, &request(10).bytes(), &kernel, none).unwrap();
            assert_eq!(recvfrom(descriptor, &mut room), Ok((36, Some(kernel))));
            tool.send(&request(11));
            assert_eq!(tool.receive().error(), (0, 11));
        },
    );
}

#[test]
fn the_look_up_may_be_sent_in_any_way() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            for _ in 0..3 {
                let mut peer = lbd.accept_tool();
                assert!(peer.has_ended());
            }
        },
        |steps| {
            steps.wait();
            let bytes = wire::look_up("IPVS", 7).bytes();
            for way in 0..3 {
                let tool = Netlink::open();
                let sent = match way {
                    0 => send(tool.descriptor(), &bytes, MsgFlags::empty()),
                    1 => sendto(tool.descriptor(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()),
                    _ => write(&tool.socket, &bytes),
                };
                assert_eq!(sent, Ok(bytes.len()));
                assert_eq!(tool.receive().kind, wire::CONTROLLER);
                assert_eq!(tool.receive().error(), (0, 7));
            }
        },
    );
}

#[test]
fn several_requests_may_be_sent_at_once() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            for length in [17, 16] {
                let found = peer.request();
                assert_eq!(found.body.len(), length - 16, "without what pads it");
                peer.send(&wire::error(&found, 0));
            }
            assert!(peer.has_ended(), "a cut message is nobody's");
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            let one = Message::new(wire::IPVS, 8, &[4]).bytes();
            let other = Message::new(wire::IPVS, 9, &[]).bytes();
            let all = [&one[..], &[0; 3], &other, &100_u32.to_ne_bytes(), &[0; 20]].concat();
            assert_eq!(tool.send_bytes(&all), Ok(all.len()));
            assert_eq!(tool.receive().error(), (0, 8));
            assert_eq!(tool.receive().error(), (0, 9));
        },
    );
}

#[test]
fn the_longest_request_is_sent_and_a_longer_one_answered() {
    const LONGEST: usize = 64 * 1024;
    let said = scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            let found = peer.request();
            assert_eq!(found.body, vec![5; LONGEST - 16]);
            let body = [&(-22_i32).to_ne_bytes()[..], &found.bytes()].concat();
            peer.send(&Message { kind: wire::ERROR, flags: 0, body, ..found });
            assert_eq!(peer.request().sequence, 10, "9 is too long");
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            tool.send(&Message::new(wire::IPVS, 8, &vec![5; LONGEST - 16]));
            let found = tool.receive();
            assert_eq!((found.error(), found.body.len()), ((-22, 8), 4 + LONGEST));
            tool.send(&Message::new(wire::IPVS, 9, &vec![5; LONGEST - 15]));
            assert_eq!(tool.receive().error(), (-(Errno::EMSGSIZE as i32), 9));
            tool.send(&request(10));
        },
    );
    assert_eq!(said, "natlb: a request of 65537 bytes is longer than lbd takes\n");
}

#[test]
fn sockets_may_come_and_go() {
    const SOCKETS: usize = 200; // the table has room for fewer
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            for _ in 0..SOCKETS {
                let mut peer = lbd.accept_tool();
                assert!(peer.has_ended());
            }
        },
        |steps| {
            steps.wait();
            for place in 0..SOCKETS {
                // Each time at another descriptor.
                let others: Vec<_> =
                    (0..place % 90).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
                let tool = Netlink::open_ipvs();
                drop(others);
                drop(tool);
            }
        },
    );
}

#[test]
fn another_thread_may_send_while_one_receives() {
    scenario(
        |lbd, steps| {
            lbd.start();
            steps.reached();
            let mut peer = lbd.accept_tool();
            for sequence in 8..500 {
                let found = peer.request();
                assert_eq!(found.sequence, sequence);
                peer.send(&wire::error(&found, 0));
            }
            assert!(peer.has_ended());
        },
        |steps| {
            steps.wait();
            let tool = Netlink::open_ipvs();
            thread::scope(|scope| {
                scope.spawn(|| {
                    (8..500).for_each(|sequence| assert_eq!(tool.receive().error(), (0, sequence)))
                });
                (8..500).for_each(|sequence| tool.send(&request(sequence)));
            });
        },
    );
}
