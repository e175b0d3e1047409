//! What everything knows but the packet path cannot do yet is refused as such, wherever it is asked for.

mod control_lab;

use control::api::protocol::Command;
use control::change::{apply, restore};
use control::config;
use control::model::{Model, Network};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::mac::Mac;
use dataplane::snapshot::Steering;
use serde_json::json;

fn network() -> Network {
    control_lab::without_default().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 9216, Steering::Software))
}

const PORTS: &str = "[[port]]\nname = \"vip0\"\nside = \"vip\"\ndevice = \"net_null0\"\naddresses = [\"192.168.10.1/24\"]\n\
                     [[port]]\nname = \"dip0\"\nside = \"dip\"\ndevice = \"net_null1\"\naddresses = [\"10.0.0.8/24\"]\n";

/// What is refused as not there yet: its name, a line's options, and the key of a request and of the file.
const OF_SERVICE: [(&str, &str, &str, &str); 1] =
    [("-o (one-packet scheduling)", "-o", "true", "one_packet")];

#[test]
fn settings_of_services_that_are_for_later_are_refused_by_name() {
    let (network, model) = (network(), Model::new(TimeoutSeconds::default()));
    let plain = restore(&model, &network, ["-A -u 192.168.10.100:53"]).unwrap();
    for (what, option, value, key) in OF_SERVICE {
        let expected = format!("not supported yet: {what}");
        let line = format!("-A -u 192.168.10.100:53 {option}");
        let refused = restore(&model, &network, [line.as_str()]).unwrap_err();
        assert_eq!(refused.to_string(), format!("line 1: {expected}"));
        for (command, model) in [("add-service", &model), ("edit-service", &plain)] {
            let value: serde_json::Value = serde_json::from_str(value).unwrap();
            let request = json!({"command": command, "service": "udp://192.168.10.100:53", key: value});
            let request: Command = serde_json::from_value(request).unwrap();
            let refused = apply(model, &network, &request).unwrap_err();
            assert_eq!((refused.code(), refused.to_string()), ("not_supported", expected.clone()));
        }
        let file = format!("{PORTS}[[service]]\nlisten = \"udp://192.168.10.100:53\"\n{key} = {value}\n");
        let problems = config::parse(&file).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| (problem.line, problem.message.clone())).collect();
        assert_eq!(found, [(Some(13), expected)], "{file}");
    }
}
