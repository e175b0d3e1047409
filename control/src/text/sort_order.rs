//! The order in which `ipvsadm` lists services, and the reals of each.
//!
//! Addresses are compared as `ipvsadm` compares them: by the sign of the difference of two 32-bit words, which wraps.
//! So 192.168.1.1 comes before 10.0.0.7, and fd00:: before 2001:db8::. That is no total order, so the result depends
//! on which pairs are compared: the algorithm is a merge sort that compares the same pairs as the C library's `qsort`,
//! and what stands first stays first unless the comparison says otherwise.

use dataplane::names::ids::ServiceKey;
use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// What the place of a service or a real in a listing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The most significant word first; IPv4 has one.
    words: [u32; 4],
    is_ipv6: bool,
    protocol: u8,
    first_port: u16,
    last_port: u16,
}

impl Place {
    /// Of a service on these ports; `protocol` is its number in the IP header.
    pub const fn of_service_on(protocol: u8, vip: IpAddr, (first_port, last_port): (u16, u16)) -> Self {
        let (words, is_ipv6) = match vip {
            IpAddr::V4(vip) => ([vip.to_bits(), 0, 0, 0], false),
            IpAddr::V6(vip) => {
                let bits = vip.to_bits();
                ([(bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32], true)
            }
        };
        Self { words, is_ipv6, protocol, first_port, last_port }
    }

    /// Of a service.
    pub const fn of_service(key: &ServiceKey) -> Self {
        Self::of_service_on(key.protocol.number(), key.listen.ip(), (key.listen.port(), key.last_port))
    }

    /// Of a real among those of its service.
    pub const fn of_real(endpoint: SocketAddr) -> Self {
        Self::of_service_on(0, endpoint.ip(), (endpoint.port(), endpoint.port()))
    }

    /// `Less`, and never `Greater`, where two words are 2³¹ apart, whichever of the two comes first.
    fn compare(&self, other: &Self) -> Ordering {
        let before = (self.is_ipv6, self.protocol).cmp(&(other.is_ipv6, other.protocol));
        let words = self.words.iter().zip(other.words);
        let differences = words.map(|(word, other)| (word.wrapping_sub(other) as i32).cmp(&0));
        let by_address = differences.fold(Ordering::Equal, Ordering::then);
        let ports = (self.first_port, self.last_port).cmp(&(other.first_port, other.last_port));
        before.then(by_address).then(ports)
    }
}

/// These in the order in which `ipvsadm` lists them; those without a place come last.
pub fn sorted<T>(items: impl IntoIterator<Item = T>, place: impl Fn(&T) -> Option<Place>) -> Vec<T> {
    let (mut places, mut placed, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        match place(&item) {
            Some(place) => {
                places.push(place);
                placed.push(Some(item));
            }
            None => others.push(item),
        }
    }
    let mut sorting = Sorting::new(places);
    sorting.go_on(usize::MAX);
    let in_order = sorting.order().iter().filter_map(|index| placed[*index].take());
    let mut sorted: Vec<T> = in_order.collect();
    sorted.append(&mut others);
    sorted
}

/// Places that are put in order, step by step: tens of thousands of them take longer than the control thread may be
/// away.
///
/// Indices are sorted, with room for them beside, and not what has the places: moving that to new memory at each step
/// would take longer than comparing.
#[derive(Debug)]
pub struct Sorting {
    places: Vec<Place>,
    order: Vec<usize>,
    room: Vec<usize>,
    /// What is not in order yet; the last is the next. Parts of a part are behind it.
    left: Vec<Part>,
}

/// A part of the order.
#[derive(Debug)]
enum Part {
    /// Its halves are to be put in order first. The first half is the smaller if they differ.
    Whole(Range<usize>),
    /// Its halves are in order. What is left of both is to be merged into the room.
    Halves { begin: usize, first: Range<usize>, second: Range<usize> },
}

impl Sorting {
    /// Of all these.
    pub fn new(places: Vec<Place>) -> Self {
        let count = places.len();
        Self { places, order: (0..count).collect(), room: vec![0; count], left: vec![Part::Whole(0..count)] }
    }

    /// Makes up to so many comparisons. Returns how many it did not make: some, or all are in order.
    pub fn go_on(&mut self, mut comparisons: usize) -> usize {
        while comparisons > 0 {
            match self.left.pop() {
                None => break,
                Some(Part::Whole(part)) if part.len() < 2 => {}
                Some(Part::Whole(Range { start: begin, end })) => {
                    let (first, second) = (begin..begin.midpoint(end), begin.midpoint(end)..end);
                    self.left.push(Part::Halves { begin, first: first.clone(), second: second.clone() });
                    self.left.extend([Part::Whole(second), Part::Whole(first)]);
                }
                Some(Part::Halves { begin, first, second }) if first.is_empty() && second.is_empty() => {
                    let part = begin..second.end;
                    self.order[part.clone()].copy_from_slice(&self.room[part]);
                }
                Some(Part::Halves { begin, mut first, mut second }) => {
                    let steps = comparisons.min(first.len() + second.len());
                    (0..steps).for_each(|_| self.merge(&mut first, &mut second));
                    comparisons -= steps;
                    self.left.push(Part::Halves { begin, first, second });
                }
            }
        }
        comparisons
    }

    /// The next one of two halves goes where both have it in the room.
    fn merge(&mut self, first: &mut Range<usize>, second: &mut Range<usize>) {
        let place = |index: usize| &self.places[self.order[index]];
        let is_of_first = match (first.len(), second.len()) {
            (1.., 1..) => place(first.start).compare(place(second.start)).is_le(),
            (count, _) => count > 0,
        };
        let slot = second.end - first.len() - second.len();
        let from = if is_of_first { first } else { second };
        self.room[slot] = self.order[from.start];
        from.start += 1;
    }

    /// Whether all are in order.
    pub const fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// The indices of the places, in order once it is over.
    pub fn order(&self) -> &[usize] {
        &self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::names::ids::Protocol;
    use proptest::prelude::*;

    const PAIRS: &str = include_str!("../../testdata/sort-order.txt");

    fn sorted_services(services: &[ServiceKey]) -> Vec<ServiceKey> {
        sorted(services.iter().copied(), |key| Some(Place::of_service(key)))
    }

    fn sorted_reals(reals: &[SocketAddr]) -> Vec<SocketAddr> {
        sorted(reals.iter().copied(), |real| Some(Place::of_real(*real)))
    }

    fn tcp(listen: SocketAddr) -> ServiceKey {
        ServiceKey::new(Protocol::Tcp, listen)
    }

    /// Whether the first words that differ are 2³¹ apart: then `ipvsadm` leaves the two as the kernel gives them.
    fn are_left_alone(one: SocketAddr, other: SocketAddr) -> bool {
        let words = [one, other].map(|endpoint| Place::of_real(endpoint).words);
        let differences = words[0].iter().zip(words[1]).map(|(word, other)| word.wrapping_sub(other));
        differences.into_iter().find(|difference| *difference != 0) == Some(1 << 31)
    }

    #[test]
    fn pairs_are_in_ipvsadms_order() {
        let (mut of_services, mut of_reals, mut alone) = (0, 0, 0);
        let mut is_of_services = true;
        for line in PAIRS.lines() {
            is_of_services = if line == "# reals" { false } else { is_of_services };
            let Some((pair, first)) = line.split_once(" first=") else { continue };
            let (one, other) = pair.split_once(' ').unwrap();
            let [one, other, first] = [one, other, first].map(|text| text.parse::<SocketAddr>().unwrap());
            for pair in [[one, other], [other, one]] {
                if are_left_alone(one, other) {
                    alone += 1;
                    assert_eq!(sorted_reals(&pair), pair, "{line}");
                    assert_eq!(sorted_services(&pair.map(tcp)), pair.map(tcp), "{line}");
                } else if is_of_services {
                    of_services += 1;
                    assert_eq!(sorted_services(&pair.map(tcp))[0].listen, first, "{line}");
                } else {
                    of_reals += 1;
                    assert_eq!(sorted_reals(&pair)[0], first, "{line}");
                }
            }
        }
        assert!(of_services > 200 && of_reals > 80 && alone > 0, "{of_services}, {of_reals}, {alone}");
    }

    /// Far addresses have no total order, and that in which the kernel gives them to `ipvsadm` is not recorded. But
    /// each line of a merge sort's result is in order with the next one.
    #[test]
    fn each_of_many_is_in_ipvsadms_order_with_the_next() {
        let (_, all) = PAIRS.split_once("# All of these").unwrap();
        let service = |line: &str| {
            let (protocol, listen) = line.split_once(' ')?;
            let protocol = Protocol::ALL.into_iter().find(|of| of.to_string() == protocol)?;
            Some(ServiceKey::new(protocol, listen.parse().ok()?))
        };
        let recorded: Vec<_> = all.lines().filter_map(service).collect();
        assert_eq!(recorded.len(), 31);
        let are_in_order = |services: &[ServiceKey]| {
            let places: Vec<_> = services.iter().map(Place::of_service).collect();
            places.windows(2).all(|pair| pair[0].compare(&pair[1]).is_le())
        };
        assert!(are_in_order(&recorded));
        for turned in 0..recorded.len() {
            let mut services = recorded.clone();
            services.rotate_left(turned);
            assert!(are_in_order(&sorted_services(&services)));
        }
    }

    /// The services of a recorded listing, in its order.
    #[test]
    fn families_come_first_then_protocols_addresses_and_ports() {
        let listed = [
            "TCP 192.168.10.99:80",
            "TCP 192.168.10.100:80",
            "UDP 192.168.10.100:53",
            "TCP [fd00:10::99]:443",
            "TCP [fd00:10::100]:8",
            "TCP [fd00:10::100]:80",
            "TCP [fd00:10::100]:81",
            "TCP [fe80::1]:80",
            "TCP [::1]:80",
            "TCP [2001:db8:1:2:3:4:5:6]:65535",
            "UDP [fd00:10::100]:0",
            "UDP [fd00:10::100]:53",
            "UDP [fd00:10::100]:85",
        ];
        let listed = listed.map(|line| {
            let (protocol, listen) = line.split_once(' ').unwrap();
            let protocol = Protocol::ALL.into_iter().find(|of| of.to_string() == protocol).unwrap();
            ServiceKey::new(protocol, listen.parse().unwrap())
        });
        for turned in 0..listed.len() {
            let mut services = listed;
            services.rotate_left(turned);
            assert_eq!(sorted_services(&services), listed);
            services.reverse();
            assert_eq!(sorted_services(&services), listed);
        }
    }

    #[test]
    fn ports_and_ranges_are_in_the_order_of_numbers() {
        let ports = [1, 80, 32768, 65535].map(|port| SocketAddr::new([10, 0, 0, 7].into(), port));
        let mut reals = ports;
        reals.reverse();
        assert_eq!(sorted_reals(&reals), ports);
        let [one, range] =
            [8000, 8100].map(|last_port| ServiceKey { last_port, ..tcp("[fd00::1]:8000".parse().unwrap()) });
        assert_eq!(sorted_services(&[range, one]), [one, range]);
    }

    #[test]
    fn what_has_no_place_comes_last() {
        let place = |port: &Option<u16>| port.map(|port| Place::of_real(([10, 0, 0, 7], port).into()));
        assert_eq!(sorted([None, Some(2), Some(1)], place), [Some(1), Some(2), None]);
    }

    /// As the C library's `qsort` does it: the first half, the second, and both together.
    fn merge_sorted(places: &[Place]) -> Vec<Place> {
        if places.len() < 2 {
            return places.to_vec();
        }
        let (first, second) = places.split_at(places.len() / 2);
        let (first, second) = (merge_sorted(first), merge_sorted(second));
        let (mut ours, mut theirs) = (first.iter().peekable(), second.iter().peekable());
        let mut sorted = Vec::new();
        while let Some(is_ours) = match (ours.peek(), theirs.peek()) {
            (None, None) => None,
            (Some(one), Some(other)) => Some(one.compare(other).is_le()),
            (one, _) => Some(one.is_some()),
        } {
            sorted.extend(if is_ours { ours.next() } else { theirs.next() });
        }
        sorted
    }

    proptest! {
        /// Within 2³¹ of each other, addresses have a total order.
        #[test]
        fn near_addresses_are_in_the_order_of_numbers(
            reals in prop::collection::vec((0x7000_0000..0x9000_0000u32, 0..3u16), 0..60)
        ) {
            let mut reals: Vec<_> = reals.into_iter().map(|(bits, port)| SocketAddr::new(IpAddr::V4(bits.into()), port)).collect();
            let found = sorted_reals(&reals);
            reals.sort();
            prop_assert_eq!(found, reals);
        }

        /// Far-apart ones have none, but none is lost, and the order of all comes from comparisons of two.
        #[test]
        fn none_is_lost(words in prop::collection::vec(any::<u32>(), 0..60)) {
            let reals: Vec<_> = words.into_iter().map(|bits| SocketAddr::new(IpAddr::V4(bits.into()), 80)).collect();
            let (mut found, mut all) = (sorted_reals(&reals), reals);
            found.sort();
            all.sort();
            prop_assert_eq!(found, all);
        }

        /// Far-apart ones too.
        #[test]
        fn each_step_compares_what_a_merge_sort_compares(
            words in prop::collection::vec(any::<u32>(), 0..200), most in 1..40usize
        ) {
            let places: Vec<_> = words.into_iter().map(|bits| Place::of_real((bits.to_be_bytes(), 80).into())).collect();
            let mut sorting = Sorting::new(places.clone());
            let mut comparisons = 0;
            while !sorting.is_over() {
                comparisons += most - sorting.go_on(most);
            }
            let found: Vec<_> = sorting.order().iter().map(|index| places[*index]).collect();
            prop_assert_eq!(found, merge_sorted(&places));
            let levels = places.len().next_power_of_two().ilog2() as usize;
            prop_assert!(comparisons <= places.len() * levels, "{} of {}", comparisons, places.len());
        }
    }
}
