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
const OF_SERVICE: [(&str, &str, &str, &str); 3] = [
    ("-o (one-packet scheduling)", "-o", "true", "one_packet"),
    ("timeouts of a service", "--timeouts udp=5", r#"{"udp":5}"#, "timeouts"),
    ("on_removal other than drop", "--on-removal reset", r#""reset""#, "on_removal"),
];

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
        let value = value.replace(':', "=").replace("{\"udp\"", "{udp");
        let file = format!("{PORTS}[[service]]\nlisten = \"udp://192.168.10.100:53\"\n{key} = {value}\n");
        let problems = config::parse(&file).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| (problem.line, problem.message.clone())).collect();
        assert_eq!(found, [(Some(13), expected)], "{file}");
    }
}

#[test]
fn ports_and_thresholds_that_are_for_later_are_refused_by_name() {
    let (network, model) = (network(), Model::new(TimeoutSeconds::default()));
    let web = "-A -t 192.168.10.100:80";
    for (lines, what) in [
        (vec!["-A -t 192.168.10.100:0"], "port 0 (any port)"),
        (vec!["-A -t 192.168.10.100:8000-8100"], "a range of ports"),
        (vec![web, "-a -t 192.168.10.100:80 -r 10.0.0.7:0 -m"], "port 0 (any port)"),
        (vec![web, "-a -t 192.168.10.100:80 -r 10.0.0.7 -m -x 9"], "connection thresholds (-x, -y)"),
    ] {
        let refused = restore(&model, &network, lines.iter().copied()).unwrap_err();
        assert_eq!(refused.to_string(), format!("line {}: not supported yet: {what}", lines.len()));
    }
    let real =
        "[[service]]\nlisten = \"tcp://192.168.10.100:80\"\n[[service.real]]\naddress = \"10.0.0.7\"\n";
    let problems = config::parse(&format!("{PORTS}{real}upper_threshold = 9\n")).unwrap_err();
    assert_eq!(problems[0].message, "not supported yet: connection thresholds (-x, -y)");
    assert_eq!((problems.len(), problems[0].line), (1, Some(15)));
}
