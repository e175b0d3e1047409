"""Zipf over 10 M connections against uniform traffic over 64 k, in turns: each to testpmd's 5tswap on the same traffic."""

from measure import Point, in_words, spread
from traffic import Traffic

PROGRAMS = ("io", "5tswap", "natlb")


def run(machine, binaries, rounds, seconds):
    kinds = {"zipf": Traffic(flows=10_000_000, pattern="zipf"), "uniform": Traffic(flows=64_000)}
    with Point(machine, kinds["zipf"], binaries, label="-zipf") as zipf, Point(machine, kinds["uniform"], binaries) as uniform:
        points = {"zipf": zipf, "uniform": uniform}
        for point in points.values():
            point.start()
        found = []
        for _ in range(rounds):
            found.append({kind: {what: point.measure(what, seconds) for what in PROGRAMS} for kind, point in points.items()})
        proofs = [point.finish() for point in points.values()]
    proof = {**proofs[0], "problems": [problem for each in proofs for problem in each["problems"]]}
    ratio = lambda round_, kind: round_[kind]["natlb"]["mpps"] / round_[kind]["5tswap"]["mpps"]
    return {
        "name": "Zipf over 10 M flows, against uniform over 64 k",
        "ratio": spread([ratio(each, "zipf") / ratio(each, "uniform") for each in found]),
        "to_5tswap": {kind: spread([ratio(each, kind) for each in found]) for kind in kinds},
        "mpps": {kind: {what: spread([each[kind][what]["mpps"] for each in found]) for what in PROGRAMS} for kind in kinds},
        "rounds": found,
        "proof": proof,
    }


def show(found):
    to = {kind: found["to_5tswap"][kind]["median"] for kind in found["to_5tswap"]}
    print(
        f"{found['name']}: {to['zipf']:.2f} and {to['uniform']:.2f} of 5tswap: {in_words(found['ratio'])}",
        flush=True,
    )
