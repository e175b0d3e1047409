//! Look-ups with value in natlb's table against hashbrown and DPDK's `rte_hash`, in alternation: the
//! same random keys, all hits, in each round for each table. Prints medians and ratios with their spread.
//!
//! `cargo bench -p stages --features rte_hash --bench compare -- [--rounds N] [FLOWS …]`
#![forbid(unsafe_code)]

use memory::Huge;
use stages::keys::Key;
use stages::lookup::{Hashbrown, Natlb, Outcome};
use std::cell::RefCell;
use std::time::Instant;
use traffic::random::shuffled;

/// Look-ups of one table without a pause; the median of such windows is a round's figure.
const WINDOW: usize = 65_536;
/// Windows of each table in a round.
const WINDOWS: usize = 32;

/// A way of looking up, by name.
type Contestant<'a> = (&'static str, Box<dyn Fn(&[Key]) -> Outcome + 'a>);

fn main() {
    let mut rounds = 7;
    let mut sizes = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--rounds" => rounds = arguments.next().and_then(|n| n.parse().ok()).expect("--rounds N"),
            flows => sizes.push(flows.parse().expect("a number of flows")),
        }
    }
    if sizes.is_empty() {
        sizes = vec![1_000, 64_000, 1_000_000, 10_000_000];
    }
    #[cfg(feature = "rte_hash")]
    let eal = dpdk_table::start();
    for flows in sizes {
        let natlb = RefCell::new(Natlb::filled(flows, Huge::Auto));
        let hashbrown = Hashbrown::filled(flows);
        #[cfg(feature = "rte_hash")]
        let rte_hash = stages::lookup::rte_hash::RteHash::filled(&eal, flows, Huge::Auto);
        println!("{flows} flows; natlb's table in {}", natlb.borrow().backing());
        #[cfg_attr(
            not(feature = "rte_hash"),
            expect(unused_mut, reason = "others are added to it with the feature")
        )]
        let mut contestants: Vec<Contestant<'_>> = vec![
            ("natlb, pipelined", Box::new(|keys| natlb.borrow_mut().pipelined(bursts(keys)))),
            ("natlb, burst by burst", Box::new(|keys| natlb.borrow_mut().bursts(bursts(keys)))),
            ("hashbrown", Box::new(|keys| hashbrown.one_by_one(bursts(keys)))),
        ];
        #[cfg(feature = "rte_hash")]
        contestants.extend(dpdk_table::contestants(&rte_hash));
        report(&measure(&contestants, flows, rounds), &contestants);
    }
}

fn bursts(keys: &[Key]) -> &[[Key; 32]] {
    keys.as_chunks().0
}

/// Nanoseconds a look-up, by round and contestant.
fn measure(contestants: &[Contestant<'_>], flows: u32, rounds: usize) -> Vec<Vec<f64>> {
    let order = shuffled(flows);
    let count = (flows as usize).next_multiple_of(WINDOW);
    let keys: Vec<Key> = order.iter().cycle().take(count).map(|flow| Key::of(*flow)).collect();
    let mut windows = keys.chunks_exact(WINDOW).cycle();
    (0..rounds)
        .map(|_| {
            let windows: Vec<&[Key]> = windows.by_ref().take(WINDOWS).collect();
            let expected: Vec<Outcome> = windows.iter().map(|keys| contestants[0].1(keys)).collect();
            let time = |(_, lookup): &Contestant<'_>| {
                let mut times: Vec<f64> = windows
                    .iter()
                    .zip(&expected)
                    .map(|(keys, expected)| {
                        let began = Instant::now();
                        let outcome = lookup(keys);
                        let took = began.elapsed();
                        assert_eq!(outcome.found, WINDOW as u64, "every key is there");
                        assert_eq!(outcome, *expected, "every table says the same");
                        took.as_nanos() as f64 / WINDOW as f64
                    })
                    .collect();
                median(&mut times)
            };
            contestants.iter().map(time).collect()
        })
        .collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median, lowest and highest.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    let middle = median(&mut values);
    (middle, values[0], values[values.len() - 1])
}

fn report(rounds: &[Vec<f64>], contestants: &[Contestant<'_>]) {
    println!("  {:26} {:>24} {:>26}", "", "ns a look-up", "times natlb, pipelined");
    for (index, (name, _)) in contestants.iter().enumerate() {
        let (time, least, most) = spread(rounds.iter().map(|round| round[index]));
        let (ratio, low, high) = spread(rounds.iter().map(|round| round[index] / round[0]));
        println!("  {name:26} {time:8.2} ({least:.2} - {most:.2}) {ratio:10.2} ({low:.2} - {high:.2})");
    }
}

#[cfg(feature = "rte_hash")]
mod dpdk_table {
    use super::Contestant;
    use dpdk::{Eal, EalOptions, Error, Hugepages};
    use stages::lookup::rte_hash::RteHash;

    /// MiB for the largest table.
    const MEMORY: u32 = 1024;

    /// In huge pages, as natlb's own table, if there are any.
    pub(super) fn start() -> Eal {
        // An EAL that stays out of the file system needs no mount; one on ordinary pages can't.
        let options = EalOptions {
            program_name: "compare".into(),
            main_core: core(),
            memory_mb: MEMORY,
            hugepages: Hugepages::Require,
            extra_arguments: vec!["--in-memory".into()],
            ..EalOptions::default()
        };
        match Eal::start(&options) {
            Ok(eal) => {
                println!("rte_hash in huge pages");
                eal
            }
            Err(Error::NoHugepages(why)) => {
                println!(
                    "rte_hash in pages of 4 KiB, so above 64 k flows the comparison is not fair to it: {why}"
                );
                let options =
                    EalOptions { hugepages: Hugepages::Never, extra_arguments: Vec::new(), ..options };
                Eal::start(&options).expect("the EAL")
            }
            Err(why) => panic!("{why}"),
        }
    }

    /// The last core that this process may run on: the EAL pins its thread there.
    fn core() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
        list.trim().rsplit([',', '-']).next().and_then(|core| core.parse().ok()).unwrap_or(0)
    }

    pub(super) fn contestants(table: &RteHash) -> Vec<Contestant<'_>> {
        vec![
            ("rte_hash, 32 at once", Box::new(|keys| table.bulk::<32>(keys))),
            ("rte_hash, 64 at once", Box::new(|keys| table.bulk::<64>(keys))),
            ("rte_hash, 32, value later", Box::new(|keys| table.pipelined::<32>(keys))),
            ("rte_hash, 64, value later", Box::new(|keys| table.pipelined::<64>(keys))),
        ]
    }
}
