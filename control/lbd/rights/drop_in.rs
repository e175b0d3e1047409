//! What all devices of a configuration need, in the words of systemd and udev: to be put where the head says.

use super::needs::{Needs, Place};
use super::{FIRST_OPEN_PORT, LOW_PORTS, low_port};
use control::config::{Config, EthPort, Hugepages};
use std::fmt;

/// See the module's text.
pub(crate) struct DropIn<'a> {
    config: &'a Config,
    needs: Vec<Needs>,
}

impl<'a> DropIn<'a> {
    /// For a configuration, on this machine.
    pub(crate) fn of(config: &'a Config) -> Self {
        Self { config, needs: Needs::of_ports(config, &Place::here()) }
    }

    fn ports(&self) -> impl Iterator<Item = (&EthPort, &Needs)> {
        self.config.eth_ports.iter().zip(&self.needs)
    }

    /// Each once, in the order of their names.
    fn all<'b, T: Ord + Copy + 'b>(&'b self, of: impl Fn(&'b Needs) -> Vec<T> + 'b) -> Vec<T> {
        let mut all: Vec<T> = self.needs.iter().flat_map(of).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl fmt::Display for DropIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (port, needs) in self.ports() {
            let names: Vec<_> = needs.capabilities.iter().map(|capability| capability.name).collect();
            let names = if names.is_empty() { "no capability".into() } else { names.join(", ") };
            writeln!(f, "# port {}, {}: {names}", port.name, port.device)?;
            if let Some(advice) = needs.advice {
                writeln!(f, "#   {advice}")?;
            }
        }
        let mut capabilities = self.all(|needs| needs.capabilities.iter().map(|of| of.name).collect());
        if let Some(address) = low_port(self.config, FIRST_OPEN_PORT) {
            writeln!(f, "# [control] metrics, {address}: {LOW_PORTS}")?;
            capabilities.push(LOW_PORTS);
        }
        let capabilities = capabilities.join(" ");
        writeln!(f, "\n# /etc/systemd/system/lbd.service.d/rights.conf\n[Service]")?;
        for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
            // The first one empties the list, to which the second one adds.
            writeln!(f, "{key}=")?;
            if !capabilities.is_empty() {
                writeln!(f, "{key}={capabilities}")?;
            }
        }
        if self.needs.iter().any(|needs| needs.locked + needs.locked_by_all > 0) {
            writeln!(f, "LimitMEMLOCK=infinity")?;
        }
        if self.needs.iter().any(|needs| needs.has_xdp_sockets) {
            writeln!(f, "RestrictAddressFamilies=AF_XDP\nSystemCallFilter=bpf")?;
        }
        for file in self.all(|needs| needs.device_files.clone()) {
            writeln!(f, "DeviceAllow={file} rw")?;
        }
        if self.config.eal.hugepages != Hugepages::Never {
            // The mount has no name of a group among its options, and is there before lbd starts.
            for program in ["chgrp natlb", "chmod 1770"] {
                writeln!(f, "ExecStartPre=-+/usr/bin/{program} /dev/hugepages")?;
            }
        }
        let rules = self.all(|needs| needs.rule.into_iter().collect());
        if !rules.is_empty() {
            writeln!(
                f,
                "\n# /etc/udev/rules.d/70-natlb.rules; then: udevadm control --reload; udevadm trigger"
            )?;
            rules.iter().try_for_each(|rule| writeln!(f, "{rule}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(devices: &[&str], eal: &str) -> String {
        let mut text = format!("[eal]\n{eal}\n");
        for (index, device) in devices.iter().enumerate() {
            text += &format!(
                "[[port]]\nname = \"p{index}\"\nside = \"both\"\ndevice = \"{device}\"\naddresses = [\"10.0.{index}.8/24\"]\n"
            );
        }
        DropIn::of(&control::config::parse(&text).unwrap()).to_string()
    }

    #[test]
    fn virtual_devices_need_no_capability() {
        assert_eq!(
            of(&["net_null0"], "hugepages = \"never\""),
            "# port p0, net_null0: no capability\n\n# /etc/systemd/system/lbd.service.d/rights.conf\n[Service]\n\
             AmbientCapabilities=\nCapabilityBoundingSet=\n"
        );
    }

    #[test]
    fn what_several_devices_need_is_said_once() {
        let text = of(&["net_af_packet0,iface=eth1", "net_af_xdp1,iface=eth2", "net_tap0"], "");
        assert!(
            text.contains("\nAmbientCapabilities=\nAmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_NET_RAW\n"),
            "{text}"
        );
        for line in ["LimitMEMLOCK=infinity", "RestrictAddressFamilies=AF_XDP", "DeviceAllow=/dev/net/tun rw"]
        {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line} in {text}");
        }
        assert!(text.contains("\nExecStartPre=-+/usr/bin/chgrp natlb /dev/hugepages\n"), "{text}");
    }

    #[test]
    fn a_low_port_of_metrics_is_among_the_capabilities() {
        let text = of(&["net_tap0"], "[control]\nmetrics = \"127.0.0.1:80\"");
        assert!(text.contains("# [control] metrics, 127.0.0.1:80: CAP_NET_BIND_SERVICE\n"), "{text}");
        assert!(text.contains("\nAmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE\n"), "{text}");
    }

    #[test]
    fn cards_have_rules_of_udev() {
        let text = of(&["0000:ff:1f.7"], "");
        assert!(
            text.contains("DeviceAllow=char-vfio rw\n")
                && text.contains("\nSUBSYSTEM==\"vfio\", GROUP=\"natlb\""),
            "{text}"
        );
        assert!(text.contains("# port p0, 0000:ff:1f.7: no capability\n"), "{text}");
    }
}
