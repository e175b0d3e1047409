//! Whatever stands in the file, reading it neither panics nor loses the place.

use super::*;
use proptest::prelude::*;

/// One change to a text.
#[derive(Clone, Debug)]
enum Mutation {
    Cut(usize, usize),
    Insert(usize, String),
    Double(usize, usize),
    Swap(usize, usize),
}

const PIECES: [&str; 17] = [
    "[[port]]\n",
    "[[service]]\n",
    "[[service.real]]\n",
    "[eal]\n",
    "\"10.0.0.7/33\"",
    "-1",
    "1e9",
    "\u{feff}",
    "\0",
    "\r",
    "\"\"\"",
    "'''",
    "1979-05-27T07:32:00Z",
    "[[[[[[[[",
    "é",
    "0x",
    "::1",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let piece = prop_oneof![
        "[\\[\\]={}\"',#.a-z0-9 \n-]{1,12}",
        prop::sample::select(&PIECES[..]).prop_map(String::from),
        any::<String>(),
    ];
    let place = 0usize..4096;
    prop_oneof![
        (place.clone(), 1usize..60).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (place.clone(), piece).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (place.clone(), 1usize..200).prop_map(|(at, length)| Mutation::Double(at, length)),
        (place.clone(), place).prop_map(|(one, other)| Mutation::Swap(one, other)),
    ]
}

fn mutate(text: &mut Vec<char>, mutation: &Mutation) {
    let length = text.len();
    if length == 0 {
        return;
    }
    match mutation {
        Mutation::Cut(at, cut) => {
            let at = at % length;
            text.drain(at..(at + cut).min(length));
        }
        Mutation::Insert(at, piece) => {
            let at = at % length;
            text.splice(at..at, piece.chars());
        }
        Mutation::Double(at, count) => {
            let at = at % length;
            let piece = text[at..(at + count).min(length)].to_vec();
            text.splice(at..at, piece);
        }
        Mutation::Swap(one, other) => text.swap(one % length, other % length),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_text_problems_have_a_line(mutations in prop::collection::vec(mutation(), 1..6)) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        mutations.iter().for_each(|mutation| mutate(&mut text, mutation));
        let text: String = text.into_iter().collect();
        let lines = text.matches('\n').count() + 1;
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
            for Problem { line, message } in problems {
                prop_assert!(!message.contains('\n'), "{message:?}");
                match line {
                    Some(line) => prop_assert!((1..=lines).contains(&line), "line {line} of {lines}"),
                    None => prop_assert!(message.starts_with("no [[port]]"), "{message:?}"),
                }
            }
        }
    }
}
