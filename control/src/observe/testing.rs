//! What tests of what is shown configure.

use crate::change;
use crate::config;
use crate::model::Model;
use dataplane::names::mac::Mac;
use dataplane::snapshot::Steering;

const FILE: &str = "[[port]]\nname = \"vip0\"\nside = \"vip\"\ndevice = \"a\"\naddresses = [\"192.0.2.100/24\"]\n\
                    [[port]]\nname = \"dip0\"\nside = \"dip\"\ndevice = \"b\"\naddresses = [\"10.0.0.8/8\"]\n";

/// So many services, each with so many reals.
pub(super) fn model(services: usize, reals: usize) -> Model {
    let of_service = |service: usize| {
        let listen = format!("-t 192.0.2.{}:{}", 1 + service % 50, 1000 + service);
        let add = format!("-A {listen} -s wlc");
        let real = move |real: usize| {
            format!("-a {listen} -r 10.{}.{}.{}:80 -m -w 2", 1 + service % 99, real / 250, 1 + real % 250)
        };
        std::iter::once(add).chain((0..reals).map(real))
    };
    let lines: Vec<_> = (0..services).flat_map(of_service).collect();
    let network =
        config::parse(FILE).unwrap().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software));
    let none = Model::new([1; 3].into());
    if lines.is_empty() {
        return none;
    }
    change::restore(&none, &network, lines.iter().map(String::as_str)).unwrap()
}
