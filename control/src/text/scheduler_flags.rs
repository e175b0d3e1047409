//! Names of the flags of `ipvsadm -b`, which depend on the scheduler.

use dataplane::schedule::Flags;
use thiserror::Error;

/// Each scheduler that has names of its own for flags: its name, and the flags in the order in which they are listed.
const NAMED: [(&str, [(&str, Flags); 2]); 2] = [
    ("sh", [("sh-fallback", Flags::FALLBACK), ("sh-port", Flags::PORT)]),
    ("mh", [("mh-fallback", Flags::FALLBACK), ("mh-port", Flags::PORT)]),
];

/// The names that every scheduler's flags have.
const NUMBERED: [(&str, Flags); 3] =
    [("flag-1", Flags::FALLBACK), ("flag-2", Flags::PORT), ("flag-3", Flags::THIRD)];

/// Why a flag is refused, in the words of `ipvsadm`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnfitFlag {
    /// No scheduler has it.
    #[error(
        "invalid scheduler flag `{0}' (known: sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3)"
    )]
    Invalid(String),
    /// Another scheduler has it.
    #[error("incompatible scheduler flag `{name}': it is a flag of {scheduler}")]
    Incompatible {
        /// The flag.
        name: String,
        /// The scheduler that has it.
        scheduler: &'static str,
    },
}

/// The flags with these names, of the scheduler with this name; `None`: of a scheduler that is not known.
///
/// # Errors
/// The first that is none.
pub fn by_names<'a>(
    scheduler: Option<&str>,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Flags, UnfitFlag> {
    names.into_iter().try_fold(Flags::NONE, |flags, name| Ok(flags.with(by_name(scheduler, name)?)))
}

fn by_name(scheduler: Option<&str>, name: &str) -> Result<Flags, UnfitFlag> {
    if let Some((_, flag)) = NUMBERED.iter().find(|(numbered, _)| *numbered == name) {
        return Ok(*flag);
    }
    let mut all =
        NAMED.iter().flat_map(|(of, flags)| flags.iter().map(move |(named, flag)| (*of, *named, *flag)));
    match all.find(|(_, named, _)| *named == name) {
        Some((of, _, flag)) if scheduler.is_none_or(|scheduler| scheduler == of) => Ok(flag),
        Some((scheduler, ..)) => Err(UnfitFlag::Incompatible { name: name.to_owned(), scheduler }),
        None => Err(UnfitFlag::Invalid(name.to_owned())),
    }
}

/// Their names, as `ipvsadm` lists them of this scheduler.
pub fn names(scheduler: &str, flags: Flags) -> impl Iterator<Item = &'static str> {
    let own = NAMED.iter().find(|(of, _)| *of == scheduler).map(|(_, own)| own);
    let name_of = move |(numbered, flag): (&'static str, Flags)| {
        let named = own.and_then(|own| own.iter().find(|(_, of)| *of == flag));
        named.map_or(numbered, |(name, _)| *name)
    };
    NUMBERED.into_iter().filter(move |(_, flag)| flags.has(*flag)).map(name_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_as_ipvsadm_names_them_of_each_scheduler() {
        let listed = |scheduler, written: &str| {
            let flags = by_names(Some(scheduler), written.split(',')).unwrap();
            names(scheduler, flags).collect::<Vec<_>>().join(",")
        };
        for (scheduler, written, expected) in [
            ("sh", "sh-port,sh-fallback", "sh-fallback,sh-port"),
            ("sh", "sh-port", "sh-port"),
            ("sh", "flag-1,flag-3", "sh-fallback,flag-3"),
            ("mh", "mh-port,mh-fallback,mh-port", "mh-fallback,mh-port"),
            ("mh", "flag-2", "mh-port"),
            ("wrr", "flag-3,flag-1,flag-2", "flag-1,flag-2,flag-3"),
        ] {
            assert_eq!(listed(scheduler, written), expected, "{scheduler} {written}");
        }
        assert_eq!(names("sh", Flags::NONE).count(), 0);
    }

    #[test]
    fn flags_of_others_and_unknown_ones_are_refused_in_ipvsadms_words() {
        let refused = |scheduler, name| by_names(scheduler, ["flag-1", name]).unwrap_err().to_string();
        for (scheduler, name) in [("rr", "sh-port"), ("mh", "sh-port"), ("sh", "mh-fallback")] {
            let words = format!("incompatible scheduler flag `{name}': it is a flag of {}", &name[..2]);
            assert_eq!(refused(Some(scheduler), name), words);
            assert_eq!(by_names(None, [name]).unwrap(), by_names(Some(&name[..2]), [name]).unwrap());
        }
        for name in ["nosuch", "", "SH-PORT", "flag-4"] {
            assert!(refused(Some("sh"), name).starts_with(&format!("invalid scheduler flag `{name}'")));
        }
    }
}
