//! `counters!`: a struct of counters from one list, which also says what each of them is, for whatever shows them.

use super::Counter;

/// How a number goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A counter with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Its name for programs.
    pub name: &'static str,
    /// How it goes on.
    pub kind: Kind,
    /// What it counts, for people.
    pub help: &'static str,
    /// One, or one for each `EthPort`.
    pub counters: &'a [Counter],
}

/// A number of an `EthPort`'s device with what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedTotal {
    /// Its name for programs.
    pub name: &'static str,
    /// How it goes on.
    pub kind: Kind,
    /// What it counts, for people.
    pub help: &'static str,
    /// `None`: the device does not count it.
    pub value: Option<u64>,
}

/// Makes a struct with a constructor (all zero) and an iterator over its counters, and one of the plain numbers that
/// they are at one moment.
///
/// The first struct has fields that are not in the list, with their initial values. The second one has the list:
/// `field: kind "help"`. After the field may stand `as "name"`, if programs know it by another name, and `[N]`, if
/// there is one for each of `N`.
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        pub struct $Counters:ident {
            $($(#[$other_attribute:meta])* $visible:vis $other:ident: $Other:ty = $initial:expr,)*
        }
        $(#[$totals_attribute:meta])*
        pub struct $Totals:ident {
            $($field:ident $(as $name:literal)? $([$length:expr])?: $kind:ident $help:literal,)*
        }
    ) => {
        $(#[$attribute])*
        pub struct $Counters {
            $($(#[$other_attribute])* $visible $other: $Other,)*
            $(#[doc = $help] pub $field: $crate::counters::list::counters!(@type $($length)?),)*
        }

        $(#[$totals_attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $Totals {
            $(#[doc = $help] pub $field: $crate::counters::list::counters!(@total $($length)?),)*
        }

        impl $Counters {
            /// All zero.
            pub fn new() -> Self {
                Self { $($other: $initial,)* $($field: Default::default(),)* }
            }

            /// What they are now.
            pub fn totals(&self) -> $Totals {
                $Totals { $($field: $crate::counters::list::counters!(@read (&self.$field) $($length)?),)* }
            }

            /// Those that are one for all `EthPort`s, in the order of the list.
            pub fn each(&self) -> impl Iterator<Item = $crate::counters::list::Listed<'_>> {
                self.all().filter(|listed| listed.counters.len() == 1)
            }

            /// Those that are one for each `EthPort`, in the order of the list.
            pub fn each_by_port(&self) -> impl Iterator<Item = $crate::counters::list::Listed<'_>> {
                self.all().filter(|listed| listed.counters.len() > 1)
            }

            fn all(&self) -> impl Iterator<Item = $crate::counters::list::Listed<'_>> {
                [$($crate::counters::list::Listed {
                    name: $crate::counters::list::counters!(@name $field $($name)?),
                    kind: $crate::counters::list::counters!(@kind $kind),
                    help: $help,
                    counters: $crate::counters::list::counters!(@slice (&self.$field) $($length)?),
                }),*]
                .into_iter()
            }
        }

        impl Default for $Counters {
            fn default() -> Self {
                Self::new()
            }
        }
    };
    (@type) => { $crate::counters::Counter };
    (@type $length:expr) => { [$crate::counters::Counter; $length] };
    (@total) => { u64 };
    (@total $length:expr) => { [u64; $length] };
    (@read ($counter:expr)) => { $counter.get() };
    (@read ($counters:expr) $length:expr) => { std::array::from_fn(|port| $counters[port].get()) };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@kind counter) => { $crate::counters::Kind::Counter };
    (@kind gauge) => { $crate::counters::Kind::Gauge };
    (@slice ($counter:expr)) => { std::slice::from_ref($counter) };
    (@slice ($counters:expr) $length:expr) => { &$counters[..] };
}

/// Makes a struct of plain numbers, each of which may be unknown, and an iterator over them: `field: kind "help"`.
macro_rules! totals {
    (
        $(#[$attribute:meta])*
        pub struct $Totals:ident {
            $($field:ident: $kind:ident $help:literal,)*
        }
    ) => {
        $(#[$attribute])*
        pub struct $Totals {
            $(#[doc = $help] pub $field: Option<u64>,)*
        }

        impl $Totals {
            /// All of them, in the order of the list.
            pub fn each(&self) -> impl Iterator<Item = $crate::counters::list::ListedTotal> {
                [$($crate::counters::list::ListedTotal {
                    name: stringify!($field),
                    kind: $crate::counters::list::counters!(@kind $kind),
                    help: $help,
                    value: self.$field,
                }),*]
                .into_iter()
            }
        }
    };
}

pub(crate) use {counters, totals};

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro makes what is public")]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const PORTS: usize = 3;

    counters! {
        pub struct Sample {
            own: u32 = 7,
        }
        pub struct SampleTotals {
            frames: counter "Frames.",
            entries_held as "held" : gauge "Entries.",
            waiting [PORTS]: gauge "Waiting.",
        }
    }

    #[test]
    fn all_that_is_listed_is_given_with_its_name_kind_and_help() {
        let sample = Sample::new();
        assert_eq!(sample.own, 7);
        sample.frames.add(5);
        sample.entries_held.set(2);
        sample.waiting[1].set(9);
        let each: Vec<_> =
            sample.each().map(|one| (one.name, one.kind, one.help, one.counters[0].get())).collect();
        assert_eq!(each, [("frames", Kind::Counter, "Frames.", 5), ("held", Kind::Gauge, "Entries.", 2)]);
        let by_port: Vec<_> = sample.each_by_port().map(|one| (one.name, one.counters.len())).collect();
        assert_eq!(by_port, [("waiting", PORTS)]);
        let totals = SampleTotals { frames: 5, entries_held: 2, waiting: [0, 9, 0] };
        assert_eq!(sample.totals(), totals);
        assert_eq!(sample.each_by_port().next().unwrap().counters[1].get(), 9);
    }

    #[test]
    fn no_name_is_given_twice_and_each_has_a_help() {
        let counters = crate::counters::WorkerCounters::new();
        let mut names = HashSet::new();
        for listed in counters.each().chain(counters.each_by_port()) {
            assert!(names.insert(listed.name), "{}", listed.name);
            assert!(
                listed.help.ends_with('.') && listed.help.starts_with(char::is_uppercase),
                "{}",
                listed.help
            );
        }
        assert!(names.len() > 30);
    }
}
