//! Persistence over one worker and several, beside a model that was written from the description of the kernel's:
//! random connections, edits and time.

mod support;

use dataplane::persistence::CopiedTemplate;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use support::packet::{ACK, FIN, RST};
use support::persistent::*;

const MINUTE: u64 = 60 * SECOND;
/// How late may be known that a connection is over.
const LATE: u64 = SECOND;

#[derive(Clone, Debug)]
enum Step {
    Open { host: u8 },
    Prove { which: usize },
    Finish { which: usize },
    Reset { which: usize },
    Pass { ticks: u64 },
    Weight { real: usize, weight: u32 },
    Remove { real: usize },
    Persist { seconds: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let real = 0..REALS.len();
    prop_oneof![
        8 => (1u8..9).prop_map(|host| Step::Open { host }),
        3 => any::<usize>().prop_map(|which| Step::Prove { which }),
        2 => any::<usize>().prop_map(|which| Step::Finish { which }),
        1 => any::<usize>().prop_map(|which| Step::Reset { which }),
        4 => (1u64..160).prop_map(|ticks| Step::Pass { ticks }),
        2 => (real.clone(), 0u32..3).prop_map(|(real, weight)| Step::Weight { real, weight }),
        1 => real.prop_map(|real| Step::Remove { real }),
        1 => (1u32..200).prop_map(|seconds| Step::Persist { seconds }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    SynReceived,
    Established,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    client: SocketAddrV4,
    real: usize,
    template: usize,
    phase: Phase,
    /// When it times out.
    ends: u64,
}

#[derive(Clone, Copy, Debug)]
struct Template {
    client: Ipv4Addr,
    real: usize,
    runs_out: u64,
    timeout: u64,
    assured: bool,
    in_force: bool,
    is_there: bool,
    /// Its last connection ended when its time ran out: whether it goes on may be either.
    in_doubt: bool,
    /// Its time began anew by itself then.
    began_anew: u64,
}

/// All that is remembered, the dead included.
#[derive(Default)]
struct Model {
    templates: Vec<Template>,
    connections: Vec<Connection>,
}

/// When a connection times out after a packet now, on the clock of quarter seconds.
const fn ends(now: u64, seconds: u64) -> u64 {
    now / TICK * TICK + seconds * SECOND
}

impl Model {
    /// Lets what is due by `now` happen.
    fn pass(&mut self, now: u64) {
        for (number, template) in self.templates.iter_mut().enumerate() {
            while template.is_there && template.runs_out <= now && !template.in_doubt {
                let of_it = self.connections.iter().filter(|connection| connection.template == number);
                let last = of_it.map(|connection| connection.ends).max().unwrap_or(0);
                template.in_doubt = last <= template.runs_out && template.runs_out < last + LATE;
                template.is_there = last > template.runs_out || template.in_doubt;
                if template.is_there {
                    template.began_anew = template.runs_out;
                    template.runs_out += MINUTE;
                    template.timeout = MINUTE;
                }
            }
        }
    }

    fn in_force(&self, client: Ipv4Addr) -> Option<usize> {
        let is_it = |template: &Template| template.is_there && template.in_force && template.client == client;
        self.templates.iter().position(is_it)
    }
}

struct Trial {
    world: World,
    model: Model,
    mask: u32,
    keeps: bool,
    port: u16,
}

impl Trial {
    fn new(workers: usize, prefix: u32, keeps: bool) -> Self {
        let mask = u32::MAX << (32 - prefix);
        let mut world = World::new(workers, REALS.len(), persistence(30, mask.to_be_bytes()));
        world.lab.description.keep_quiescent_templates = keeps;
        world.adopt();
        Self { world, model: Model::default(), mask, keeps, port: 1024 }
    }

    fn is_valid(&self, real: usize) -> bool {
        self.world.weights[real].is_some_and(|weight| weight > 0 || self.keeps)
    }

    fn open(&mut self, host: u8) -> Result<(), TestCaseError> {
        self.port += 1;
        let client = far(host, self.port);
        let masked = Ipv4Addr::from(u32::from(*client.ip()) & self.mask);
        let found = self.model.in_force(masked);
        let valid = found.filter(|template| self.is_valid(self.model.templates[*template].real));
        let now = self.world.cluster.now();
        let reached = self.world.open(client);
        if let Some(found) = found.filter(|found| Some(*found) != valid) {
            self.model.templates[found].in_force = false;
        }
        let Some(real) = reached else {
            let has_one = self.world.weights.iter().any(|weight| weight.is_some_and(|weight| weight > 0));
            prop_assert!(valid.is_none() && !has_one, "refused, though there is a real");
            return Ok(());
        };
        let template = if let Some(valid) = valid {
            let template = &mut self.model.templates[valid];
            prop_assert_eq!(real, template.real, "{} leaves its real", client);
            template.runs_out = now + template.timeout;
            valid
        } else {
            prop_assert!(self.world.weights[real].is_some_and(|weight| weight > 0), "{} is not usable", real);
            let timeout = u64::from(self.world.persistence.unwrap().seconds) * SECOND;
            self.model.templates.push(Template {
                client: masked,
                real,
                runs_out: now + timeout,
                timeout,
                assured: false,
                in_force: true,
                is_there: true,
                in_doubt: false,
                began_anew: 0,
            });
            self.model.templates.len() - 1
        };
        let ends = ends(now, 60);
        self.model.connections.push(Connection { client, real, template, phase: Phase::SynReceived, ends });
        Ok(())
    }

    /// A live connection in this phase, whose real takes its packets.
    fn some(&self, which: usize, phase: Phase) -> Option<usize> {
        let now = self.world.cluster.now();
        let fits = |connection: &Connection| {
            connection.phase == phase
                && connection.ends > now + SECOND
                && self.world.weights[connection.real].is_some()
        };
        let numbers = self.model.connections.iter().enumerate().filter(|(_, connection)| fits(connection));
        let numbers: Vec<_> = numbers.map(|(number, _)| number).collect();
        (!numbers.is_empty()).then(|| numbers[which % numbers.len()])
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Open { host } => self.open(host)?,
            Step::Prove { which } => {
                if let Some(number) = self.some(which, Phase::SynReceived) {
                    let Connection { client, template, .. } = self.model.connections[number];
                    let ends = ends(self.world.cluster.now(), 900);
                    prop_assert_eq!(self.world.client_sends(client, ACK).len(), 1);
                    self.model.templates[template].assured = true;
                    self.becomes(number, Phase::Established, ends);
                }
            }
            Step::Finish { which } => {
                if let Some(number) = self.some(which, Phase::Established) {
                    let Connection { client, real, .. } = self.model.connections[number];
                    self.world.client_sends(client, FIN | ACK);
                    let ends = ends(self.world.cluster.now(), 120);
                    self.world.real_sends(client, real, FIN | ACK);
                    self.becomes(number, Phase::Over, ends);
                }
            }
            Step::Reset { which } => {
                if let Some(number) = self.some(which, Phase::Established) {
                    let client = self.model.connections[number].client;
                    let ends = ends(self.world.cluster.now(), 10);
                    self.world.client_sends(client, RST);
                    self.becomes(number, Phase::Over, ends);
                }
            }
            Step::Pass { ticks } => {
                for _ in 0..ticks {
                    self.world.cluster.skip(TICK);
                    self.world.cluster.turn();
                }
            }
            Step::Weight { real, weight } => {
                self.world.weights[real] = Some(weight);
                self.world.adopt();
            }
            Step::Remove { real } => {
                self.world.weights[real] = None;
                self.world.adopt();
            }
            Step::Persist { seconds } => {
                self.world.persistence = Some(persistence(seconds, self.mask.to_be_bytes()));
                self.world.adopt();
            }
        }
        self.compare()
    }

    fn becomes(&mut self, number: usize, phase: Phase, ends: u64) {
        let connection = &mut self.model.connections[number];
        (connection.phase, connection.ends) = (phase, ends);
    }

    /// What is listed is what the model has.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let mut listed = self.world.cluster.templates();
        let now = self.world.cluster.now();
        self.model.pass(now);
        let ids: Vec<_> = (0..REALS.len()).map(|real| self.world.id(real)).collect();
        for template in self.model.templates.iter_mut().filter(|template| template.is_there) {
            let left = template.runs_out.saturating_sub(now) / TICK;
            let is_it = |row: &CopiedTemplate| {
                let off = u64::from(row.ticks_left).abs_diff(left);
                // Its time may have run out, and nobody has looked at it since; and reading takes some turns.
                let is_late = now - template.began_anew < SECOND && row.ticks_left == 0;
                row.client == IpAddr::V4(template.client)
                    && row.real == ids[template.real]
                    && (row.assured, row.spent) == (template.assured, !template.in_force)
                    && (off <= 2 || is_late)
            };
            let found = listed.iter().position(is_it);
            if found.is_none() && template.in_doubt {
                template.is_there = false;
                continue;
            }
            prop_assert!(found.is_some(), "{:?} is not among {:?}", template, listed);
            if now - template.began_anew > LATE {
                template.in_doubt = false;
            }
            listed.swap_remove(found.unwrap());
        }
        prop_assert!(listed.is_empty(), "there should be no {listed:?}");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn templates_are_those_of_the_model(
        workers in 1usize..5,
        prefix in prop_oneof![Just(32u32), Just(30), Just(31)],
        keeps: bool,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut trial = Trial::new(workers, prefix, keeps);
        for step in &steps {
            trial.take(step)?;
        }
        trial.world.check();
        // When nothing comes any more everything goes.
        for _ in 0..1200 {
            trial.world.cluster.skip(SECOND);
            trial.world.cluster.turn();
        }
        prop_assert!(trial.world.cluster.templates().is_empty());
        trial.world.check();
    }
}
