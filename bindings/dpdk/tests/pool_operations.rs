//! Mempool operations that the workers would break are refused. The EAL starts once a process, so the test runs itself.

use dpdk::{Eal, EalOptions, Hugepages};
use std::process::Command;

const OPERATIONS: &str = "NATLB_TEST_OPERATIONS";

/// Starts the EAL in a process of its own; its error, or nothing.
fn start(operations: &str, workers: usize) -> String {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args(["--exact", "single_producers_are_refused_for_several_workers", "--nocapture"])
        .env(OPERATIONS, format!("{operations} {workers}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    let said = text.split_once("said <").and_then(|(_, rest)| rest.split_once('>'));
    said.unwrap_or_else(|| panic!("{text}")).0.to_owned()
}

#[test]
fn single_producers_are_refused_for_several_workers() {
    if let Ok(asked) = std::env::var(OPERATIONS) {
        let (operations, workers) = asked.split_once(' ').unwrap();
        let options = EalOptions {
            hugepages: Hugepages::Never,
            memory_mb: 32,
            worker_cores: vec![0; workers.parse().unwrap()],
            // As a prefix too, as getopt_long takes it.
            extra_arguments: vec!["--no-shconf".into(), format!("--mbuf-pool={operations}")],
            ..EalOptions::default()
        };
        let said = Eal::start(&options).map_or_else(|error| error.to_string(), |_| String::new());
        return println!("said <{said}>");
    }
    for operations in ["ring_sp_sc", "ring_sp_mc", "ring_mp_sc"] {
        let said = start(operations, 2);
        let begin = format!("DPDK option \"--mbuf-pool-ops-name={operations}\": several workers");
        assert!(said.starts_with(&begin), "{said}");
        assert_eq!(start(operations, 1), "");
    }
    for operations in ["ring_mp_mc", "ring_mt_rts", "stack"] {
        assert_eq!(start(operations, 2), "");
    }
}
