//! The configurations that are measured, and commands on them.

use std::fmt::Write;

/// Commands that change one thing, in an order that leaves the configuration as large as it was.
pub(crate) const SINGLE: [&str; 6] =
    ["edit-real", "del-real", "add-real", "drain", "add-service", "del-service"];
/// Services that are taken in turn are this far from each other.
const STRIDE: usize = 997;
/// No service of a configuration has a port below this.
const FIRST_PORT: usize = 1000;

/// So many services, each with so many reals of its own, whose addresses are all different.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configuration {
    pub(crate) services: usize,
    pub(crate) reals: usize,
}

impl Configuration {
    fn vip(number: usize) -> String {
        format!("192.168.10.{}:{}", 1 + number % 250, FIRST_PORT + number / 250)
    }

    fn real(number: usize) -> String {
        format!("172.{}.{}.{}:80", 16 + number / 62_500, number / 250 % 250, 1 + number % 250)
    }

    /// The command that sets up all of it.
    pub(crate) fn restore(&self) -> String {
        let mut lines = String::from("\"--set 900 120 300\"");
        for service in 0..self.services {
            let vip = Self::vip(service);
            write!(lines, ",\"-A -t {vip} -s wrr\"").expect("text");
            for real in (0..self.reals).map(|real| Self::real(service * self.reals + real)) {
                write!(lines, ",\"-a -t {vip} -r {real} -m -w 1\"").expect("text");
            }
        }
        format!(r#""command":"restore","lines":[{lines}]"#)
    }

    /// One of [`SINGLE`], as the round's service and real have it.
    pub(crate) fn single(&self, command: &str, round: usize) -> String {
        let service = round * STRIDE % self.services;
        let vip = Self::vip(service);
        let real = Self::real(service * self.reals + round % self.reals);
        match command {
            "edit-real" => {
                let weight = 2 + round % 7;
                format!(r#""command":"{command}","service":"tcp://{vip}","real":"{real}","weight":{weight}"#)
            }
            "add-service" | "del-service" => {
                let port = 1 + round % (FIRST_PORT - 1);
                format!(r#""command":"{command}","service":"tcp://192.168.10.{}:{port}""#, 1 + service % 250)
            }
            _ => format!(r#""command":"{command}","service":"tcp://{vip}","real":"{real}""#),
        }
    }
}
