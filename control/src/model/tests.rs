use super::rules::Configured;
use super::*;
use dataplane::schedule::Algorithm;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

fn key(number: u8) -> ServiceKey {
    let protocol = if number.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp };
    ServiceKey::new(protocol, SocketAddr::new([192, 0, 2, number / 4].into(), 80 + u16::from(number / 2 % 2)))
}

fn real(number: u8) -> Real {
    Real::new(SocketAddr::new([10, 0, 0, number / 2].into(), 80 + u16::from(number % 2)), 1)
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, Vec<u8>),
    Remove(u8),
    AddReal(u8, u8),
    RemoveReal(u8, u8),
    SetWeight(u8, u8, u32),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let (service, number) = (0..12u8, 0..10u8);
    prop_oneof![
        (service.clone(), prop::collection::hash_set(number.clone(), 0..5))
            .prop_map(|(service, reals)| Step::Insert(service, reals.into_iter().collect())),
        service.clone().prop_map(Step::Remove),
        (service.clone(), number.clone()).prop_map(|(service, number)| Step::AddReal(service, number)),
        (service.clone(), number.clone()).prop_map(|(service, number)| Step::RemoveReal(service, number)),
        (service, number, 0..4u32).prop_map(|(service, number, to)| Step::SetWeight(service, number, to)),
        Just(Step::Clear),
    ]
}

impl Model {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Insert(service, reals) => {
                let generation = self.next_generation();
                let reals = reals.iter().map(|number| real(*number)).collect();
                self.insert(Service::with_added(
                    key(*service),
                    Settings::new(Algorithm::RoundRobin),
                    generation,
                    reals,
                ));
            }
            Step::Remove(service) => drop(self.remove(&key(*service))),
            Step::AddReal(service, number) => {
                let has = |service: &Arc<Service>| service.real(real(*number).endpoint).is_some();
                if !self.services.get(&key(*service)).is_some_and(has) {
                    self.add_real(&key(*service), real(*number));
                }
            }
            Step::RemoveReal(service, number) => {
                let _ = self.remove_real(&key(*service), real(*number).endpoint);
            }
            Step::SetWeight(service, number, to) => {
                self.edit_real(&key(*service), &Real::new(real(*number).endpoint, *to))
            }
            Step::Clear => self.clear(),
        }
    }
}

proptest! {
    #[test]
    fn hosts_and_counts_are_those_of_the_services(steps in prop::collection::vec(step(), 0..40)) {
        let mut model = Model::new(TimeoutSeconds::default());
        for step in &steps {
            model.take(step);
            let hosts: HashSet<IpAddr> = model.reals().map(|real| real.endpoint.ip()).collect();
            let vips: HashSet<IpAddr> = model.services.keys().map(|key| key.listen.ip()).collect();
            prop_assert_eq!(model.real_count(), model.reals().count());
            for number in 0..10 {
                let host = real(number).endpoint.ip();
                prop_assert_eq!(model.is_host(host), hosts.contains(&host));
            }
            for number in 0..12 {
                let vip = key(number).listen.ip();
                prop_assert_eq!(model.is_vip(vip), vips.contains(&vip));
            }
        }
    }

    #[test]
    fn differences_lead_from_one_model_to_another(
        steps in prop::collection::vec(step(), 0..40),
        more in prop::collection::vec(step(), 0..10),
    ) {
        let mut before = Model::new(TimeoutSeconds::default());
        steps.iter().for_each(|step| before.take(step));
        let mut now = before.clone();
        more.iter().for_each(|step| now.take(step));
        let mut found: BTreeMap<ServiceKey, Arc<Service>> =
            before.services.iter().map(|(key, service)| (*key, Arc::clone(service))).collect();
        for change in now.differences(&before) {
            prop_assert_eq!(change.before, before.services.get(&change.key));
            prop_assert_ne!(change.before, change.now);
            let all = |service: Option<&Arc<Service>>| -> HashSet<RealKey> {
                service.into_iter().flat_map(|service| service.real_keys()).collect()
            };
            let (old, new) = (all(change.before), all(change.now));
            prop_assert_eq!(change.leaving().collect::<HashSet<_>>(), &old - &new);
            prop_assert_eq!(change.arriving().collect::<HashSet<_>>(), &new - &old);
            match change.now {
                Some(service) => found.insert(change.key, Arc::clone(service)),
                None => found.remove(&change.key),
            };
        }
        prop_assert!(found.iter().eq(now.services.iter()));
    }
}
