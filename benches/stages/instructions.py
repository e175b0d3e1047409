"""Counts the instructions of the packet path's stages, and compares them with those in the tree.

Runs the program `instructions` once for each stage under valgrind (callgrind). Only instructions of that program's own
code count: which memcpy the C library picks depends on the machine. So the counts are the same on every machine, and
differ from compiler to compiler; the tree has them by compiler (instructions.json).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

RECORD = pathlib.Path(__file__).with_name("instructions.json")
# Fails if one of these needs so much more, in percent. The other stages are reported.
GATED = ("established-tcp-forward", "established-tcp-reverse", "established-udp-forward", "established-udp-reverse", "burst")
TOLERANCE = 2.0
# Fails if opening a connection by one of these schedulers needs more than so many times what it needs by turns.
BY_TURNS = "new-connection-wrr"
BY_OTHERS = ("new-connection-wlc", "new-connection-sh", "new-connection-mh")
MOST_TIMES = 1.3


def main():
    arguments = parse()
    now = count_all(arguments.program)
    compiler = compiler_name()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    known = record.get(compiler)
    show(now, known or {})
    dear = judge_schedulers(now)
    if arguments.record or known is None:
        record[compiler] = now
        RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
        why = "" if arguments.record else f"the tree has no counts for this compiler ({compiler}): "
        print(f"{why}recorded in {RECORD.name}; commit it")
        return dear
    return judge(now, known) or dear


def parse():
    parser = argparse.ArgumentParser(prog="bench --instructions", description="Instructions of the packet path's stages.")
    parser.add_argument("--program", required=True, help="the program that runs a stage")
    parser.add_argument("--record", action="store_true", help="write the counts to the tree")
    return parser.parse_args()


def compiler_name():
    lines = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout.splitlines()
    host = next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))
    return f"{lines[0]}, {host}"


def count_all(program):
    """Instructions for each packet, connection or entry, by stage."""
    stages = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    missing = {*GATED, BY_TURNS, *BY_OTHERS} - set(stages)
    if missing:
        raise SystemExit(f"bench: {program} has no stage {', '.join(sorted(missing))}")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(stages, pool.map(lambda stage: count(program, stage), stages)))


def count(program, stage):
    with tempfile.TemporaryDirectory(prefix="natlb-instructions-") as directory:
        profile = pathlib.Path(directory) / "profile"
        command = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", "--collect-atstart=no",
            "--toggle-collect=*instructions*collected*", "--compress-strings=no", "--compress-pos=no", program, stage,
        ]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command)} fails:\n{run.stderr[-2000:]}")
        instructions = own_instructions(profile.read_text(), os.path.realpath(program))
    units = int(run.stdout)
    if instructions == 0 or units == 0:
        raise SystemExit(f"bench: nothing was counted of {stage}")
    return round(instructions / units, 1)


def own_instructions(profile, program):
    """Sum of the costs in a callgrind profile that are of functions of `program` itself, and not of those called."""
    total, counts, is_call = 0, False, False
    for line in profile.splitlines():
        if line.startswith("ob="):
            counts = os.path.realpath(line.removeprefix("ob=")) == program
        elif line.startswith("calls="):
            is_call = True  # the next line has what the callee cost, which is counted where it is its own
        elif line[:1].isdigit():
            if counts and not is_call:
                total += int(line.split()[-1])
            is_call = False
    return total


def show(now, known):
    print(f"{'instructions for each':26} {'packet':>8}")
    for stage, instructions in now.items():
        change = f"{percent(instructions, known[stage]):+8.1f} %" if stage in known else ""
        print(f"{stage:26} {instructions:8.1f} {change}")


def percent(now, before):
    return (now / before - 1) * 100


def judge_schedulers(now):
    """Exit code: 1 if a scheduler needs too much more than turns do."""
    times = {stage: now[stage] / now[BY_TURNS] for stage in BY_OTHERS}
    dear = {stage: ratio for stage, ratio in times.items() if ratio > MOST_TIMES}
    for stage, ratio in dear.items():
        print(f"{stage} needs {ratio:.2f} times what {BY_TURNS} does: more than {MOST_TIMES}")
    return 1 if dear else 0


def judge(now, known):
    """Exit code: 1 if a stage of the established path got slower than allowed."""
    changes = {stage: percent(now[stage], known[stage]) for stage in now if stage in known}
    worse = [stage for stage in GATED if changes.get(stage, 0) > TOLERANCE]
    for stage, change in changes.items():
        if stage not in worse and abs(change) > TOLERANCE:
            what = "fewer" if change < 0 else "more"
            print(f"{stage} needs {abs(change):.1f} % {what} than recorded: record it with scripts/bench --instructions --record")
    new = [stage for stage in now if stage not in known]
    if new:
        print(f"not recorded yet: {', '.join(new)}: scripts/bench --instructions --record")
    if worse:
        print(f"more than {TOLERANCE:.0f} % above what is recorded: {', '.join(worse)}")
        print("if that is meant: scripts/bench --instructions --record, and say in the commit what it buys")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
