use super::*;
use dataplane::names::ids::{Protocol, ServiceKey};
use dataplane::schedule::Algorithm;

fn web() -> ServiceOptions {
    ServiceOptions::new("tcp://192.0.2.1:80".parse().unwrap())
}

#[test]
fn a_new_service_has_what_is_named_and_nothing_else() {
    assert_eq!(web().settings(None), Ok(Settings::new(algorithms::DEFAULT)));
    let named = ServiceOptions {
        scheduler: Some("rr".into()),
        persistence: Some(50),
        on_removal: Some("reset".into()),
        ..web()
    };
    let mask = IpAddr::from([255; 4]);
    let expected = Settings {
        persistence: Some(Persistence { seconds: 50, mask }),
        on_removal: OnRemoval::Reset,
        ..Settings::new(Algorithm::RoundRobin)
    };
    assert_eq!(named.settings(None), Ok(expected));
    assert_eq!(ServiceOptions { persistence: Some(0), ..web() }.settings(None), web().settings(None));
}

#[test]
fn the_mask_is_of_the_vips_family() {
    let key = ServiceKey::new(Protocol::Tcp, "[2001:db8::1]:80".parse().unwrap());
    let options = ServiceOptions { persistence: Some(9), ..ServiceOptions::new(Listen(key)) };
    assert_eq!(text(&options.settings(None).unwrap()), " -s wrr -p 9", "the whole address");
    let options = ServiceOptions { persistence_mask: Some("64".into()), ..options };
    let settings = options.settings(None).unwrap();
    assert_eq!(text(&settings), " -s wrr -p 9 -M 64");
    assert_eq!(web().settings(Some(&settings)).unwrap_err().key(), "persistence_mask", "of another family");
}

#[test]
fn words_that_cannot_be_right_are_found_without_knowing_the_service() {
    for (options, key) in [
        (ServiceOptions { flags: Some(vec!["nosuch".into()]), ..web() }, Some("flags")),
        (
            ServiceOptions { flags: Some(vec!["sh-port".into()]), scheduler: Some("mh".into()), ..web() },
            Some("flags"),
        ),
        (ServiceOptions { one_packet: Some(true), ..web() }, Some("one_packet")),
        (ServiceOptions { persistence_mask: Some("0.0.0.0".into()), ..web() }, Some("persistence_mask")),
        (ServiceOptions { on_removal: Some("wait".into()), ..web() }, Some("on_removal")),
        // Only whoever knows the service can say.
        (ServiceOptions { flags: Some(vec!["sh-port".into()]), ..web() }, None),
        (ServiceOptions { scheduler: Some("nosuch".into()), ..web() }, None),
        (ServiceOptions { persistence_mask: Some("255.0.0.0".into()), ..web() }, None),
    ] {
        assert_eq!(options.check_words().err().map(|fault| fault.key()), key, "{options:?}");
    }
}

#[test]
fn a_request_has_the_names_of_the_file() {
    let request = serde_json::json!({
        "service": "udp://192.0.2.1:8000-8100", "scheduler": "rr", "flags": ["flag-1"], "persistence": 50,
        "persistence_mask": "255.255.255.0", "one_packet": true, "timeouts": {"udp": 9}, "on_removal": "reschedule",
        "slow_start": 30
    });
    let options: ServiceOptions = serde_json::from_value(request.clone()).unwrap();
    assert_eq!(serde_json::to_value(&options).unwrap(), request);
    let expected =
        " -s rr -p 50 -M 255.255.255.0 -o -b flag-1 --timeouts udp=9 --on-removal reschedule --slow-start 30";
    assert_eq!(text(&options.settings(None).unwrap()), expected);
    let plain = serde_json::json!({"service": "tcp://192.0.2.1:80"});
    assert_eq!(serde_json::to_value(web()).unwrap(), plain);
}
