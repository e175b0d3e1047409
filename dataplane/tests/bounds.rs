//! The figures of docs/bounds.md are the constants of the code. Most of these are private, so the sources are read.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A constant of a file below `dataplane/src`: a number, or a product or shift of numbers and constants of that file.
fn constant(file: &str, name: &str) -> u64 {
    let source = read(&format!("dataplane/src/{file}.rs"));
    let declared = source.split(&format!("const {name}: ")).nth(1);
    let text = declared.and_then(|rest| rest.split(" = ").nth(1)).and_then(|rest| rest.split(';').next());
    let text = text.unwrap_or_else(|| panic!("no constant {name} in {file}"));
    let factor = |word: &str| match word.trim().replace('_', "").parse() {
        Ok(number) => number,
        Err(_) if word.trim() == "BURST" => constant("frame/mod", "BURST"),
        Err(_) => constant(file, word.trim()),
    };
    match text.split_once("<<") {
        Some((number, by)) => factor(number) << factor(by),
        None => text.split('*').map(factor).product(),
    }
}

fn seconds(file: &str, name: &str) -> u64 {
    constant(file, name) / 1_000_000_000
}

/// From 1,000 on with a comma, as the documents write them.
fn written(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

#[test]
fn the_bounds_are_the_codes() {
    let burst = constant("frame/mod", "BURST");
    let parcels = constant("worker/take_over", "PARCELS_OF_A_PEER");
    let ways = constant("connection/table/entry", "WAYS");
    let [swept_busy, swept_idle] = ["SWEEP_BUSY", "SWEEP_IDLE"].map(|name| constant("worker/sweep", name));
    let waiting = |name| constant("worker/slow/waiting", name);
    let (tracker, held, gathered) = ("fragments/tracker", "fragments/held", "fragments/gathered");
    let templates_sweep = "persistence/sweep";
    let rows = [
        format!(
            "| frames received | {burst} a port, or {} where they are of IPv4 and IPv6 |",
            2 * burst - constant("frame/mod", "RECEIVE_STEP")
        ),
        format!("| orders of the control thread | {} |", constant("worker/orders", "ORDERS_IN_A_TURN")),
        format!(
            "| frames taken over | {parcels} parcels ({} frames) from each other worker, {} frames from all of them.",
            parcels * constant("exchange/peers", "FRAMES"),
            constant("worker/take_over", "FRAMES_IN_A_TURN")
        ),
        format!(
            "| connections made | of as many frames as are received, and of {burst} of each family that waited |"
        ),
        format!(
            "| packets that wait for next hops | {}, of which {} for one |",
            waiting("CAPACITY"),
            waiting("PER_NEIGHBOUR")
        ),
        format!(
            "| buckets swept | {swept_busy} when busy, {swept_idle} when idle. A full pass takes a second, or up to {} s",
            constant("worker/sweep", "SWEEP_SLOWEST_SECONDS")
        ),
        format!(
            "one region of {} entries, and one more for each {} connections made in the turn before |",
            constant("connection/table/mod", "REGION") * ways,
            constant("connection/table/resize", "CONNECTIONS_A_REGION")
        ),
        format!(
            "| buckets searched to make room in a full table | {} for each new connection |",
            constant("connection/table/room", "ROOM_SEARCH")
        ),
        format!("| those of one bucket, {ways}, for each new connection whose home bucket is full |"),
        format!(
            "| buckets of old tables looked at, or old templates | {} when busy, {} when idle, read by {} |",
            constant("worker/inherit", "INHERIT_BUSY"),
            constant("worker/inherit", "INHERIT_IDLE"),
            constant("worker/inherit", "AT_ONCE")
        ),
        format!(
            "| old tables looked at for a packet without a connection | all; in each one region of {} entries |",
            constant("connection/kept/entries", "WAYS") * constant("connection/kept/entries", "REGION")
        ),
        format!(
            "| buckets emptied when all is forgotten, and templates | {} when busy, {} when idle |",
            constant("worker/forget", "FORGET_BUSY"),
            constant("worker/forget", "FORGET_IDLE")
        ),
        // The first choice, and the others.
        format!(
            "| reals tried when a reply would collide with another connection's | {} |",
            1 + constant("worker/slow/openings", "OTHERS_TRIED")
        ),
        format!(
            "takes no new connection now | {} for each new connection; the next one goes on from there |",
            written(constant("schedule/rounds", "MOST_PASSED_OVER"))
        ),
        format!(
            "| datagrams whose fragments are followed | {}. One that was silent for {} s is forgotten; in a full bucket \
             of {} the longest silent gives way |",
            written(constant(tracker, "DATAGRAMS")),
            seconds(tracker, "SILENCE_NANOSECONDS"),
            constant(tracker, "WAYS")
        ),
        format!(
            "| fragments that wait for the first of their datagram | {} and {} MiB, of which {} for one; {} s.",
            constant(held, "HELD"),
            constant(held, "HELD_BYTES") >> 20,
            constant(held, "PER_DATAGRAM"),
            seconds(held, "HELD_NANOSECONDS")
        ),
        format!(
            "| … of them handled when the first comes | {}, in that turn |",
            constant(held, "PER_DATAGRAM")
        ),
        format!("| … of them expired | {} a turn |", constant(tracker, "EXPIRED_AT_ONCE")),
        format!(
            "| pings in fragments that are put together | {}, of {} fragments each, {} in all; {} s from the first \
             fragment.",
            constant(gathered, "GATHERED"),
            constant(gathered, "PIECES"),
            constant(gathered, "ALL_PIECES"),
            seconds(gathered, "GATHERED_NANOSECONDS")
        ),
        format!(
            "| templates swept | {} when busy, {} when idle. A full pass takes a quarter of a second, proportionally \
             longer above {} |",
            constant(templates_sweep, "BUSY"),
            constant(templates_sweep, "IDLE"),
            written(constant(templates_sweep, "IN_A_PASS"))
        ),
        format!(
            "| connections of templates looked up | as many, at the pace of the sweep of templates, and {} that have \
             not been proven |",
            constant("persistence/controlled", "UNPROVEN_IN_A_TURN")
        ),
        format!(
            "| notes taken from each other worker about connections of this one's templates | {}. The others' rings \
             hold {}; what does not fit is told again later |",
            constant("worker/persistent", "NOTES_OF_A_PEER"),
            written(constant("exchange/peers", "NOTES"))
        ),
        format!(
            "| templates looked at to make room | {}, or {} if none of these may give way, for each new client |",
            constant("persistence/templates", "ROOM_SEARCH"),
            constant("persistence/templates", "ROOM_SEARCH_MOST")
        ),
        format!(
            "| places looked at to find or remember a pair of endpoints, or a datagram in fragments | {} for each \
             datagram |",
            constant("one_packet/places", "WAYS")
        ),
        "| places of pairs swept | as many as templates, at their pace |".to_owned(),
        format!(
            "| reals looked at for an error about a reply | {} |",
            constant("worker/one_packet", "REALS_ASKED")
        ),
        format!("| gaps in a datagram | {} |", constant("fragments/seen", "RANGES")),
        format!(
            "| fragments made of one packet | {}, all or none |",
            constant("worker/io/cut", "MOST_FRAGMENTS")
        ),
    ];
    assert_eq!(constant(templates_sweep, "PASS"), 250_000_000, "a quarter of a second");
    let limits = read("docs/ipvs.md");
    for row in [
        format!(
            "remembers for replies of one-packet services | `capacity` rounded up to a power of two, at least {} and \
             at most 1,048,576, 32 bytes each, used as they come; they lie in groups of {} |",
            written(constant("worker/one_packet", "LEAST_PAIRS")),
            constant("one_packet/places", "WAYS")
        ),
        format!(
            "| fragmented datagrams of one-packet services, of each worker | {} in groups of {}, each silent for {} s \
             at most |",
            written(constant("one_packet/datagrams", "DATAGRAMS")),
            constant("one_packet/places", "WAYS"),
            seconds("one_packet/datagrams", "SILENCE_NANOSECONDS")
        ),
    ] {
        assert!(limits.contains(&row), "docs/ipvs.md lacks: {row}");
    }
    assert_eq!(constant("worker/one_packet", "MOST_PAIRS"), 1_048_576);
    assert_eq!(constant("one_packet/places", "WORDS") * 8, 32, "bytes of a pair");
    assert_eq!(seconds("worker/sweep", "SWEEP_PASS_NANOSECONDS"), 1, "a full pass takes a second");
    let page = read("docs/bounds.md");
    let lines: Vec<_> =
        page.lines().filter(|line| line.starts_with("| ") && *line != "| what | at most |").collect();
    for row in &rows {
        assert!(lines.iter().any(|line| line.contains(row.as_str())), "docs/bounds.md lacks: {row}");
    }
    let unknown: Vec<_> =
        lines.iter().filter(|line| !rows.iter().any(|row| line.contains(row.as_str()))).collect();
    assert!(unknown.is_empty(), "no constant is compared with {unknown:#?}");
}
