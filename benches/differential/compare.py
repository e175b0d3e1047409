"""Compares the packet path of two builds: the same random frames, changes and time, and everything that can be seen.

    python3 benches/differential/compare.py CHECKOUT [--seeds FIRST LAST]

Builds `differential` from this tree, and once more with the packet path of CHECKOUT, another checkout of this project.
Says which seeds differ, and where the first of them begins to.
"""

import argparse
import itertools
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MANIFEST = """[package]
name = "differential"
edition = "2024"
[workspace]
[profile.release]
debug-assertions = true
overflow-checks = true
[dependencies]
dataplane = {{ path = "{checkout}/dataplane"{features} }}
memory = {{ path = "{checkout}/bindings/memory" }}
traffic = {{ path = "{root}/benches/traffic" }}
fastrand = "2"
"""


def main():
    arguments = parse()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "differential"
    programs = [build(checkout, target) for checkout in (arguments.checkout.resolve(), ROOT)]
    different = [seed for seed in seeds(programs, *arguments.seeds)]
    count = arguments.seeds[1] - arguments.seeds[0] + 1
    if not different:
        print(f"{count} seeds, no difference")
        return 0
    print(f"{len(different)} of {count} seeds differ: {' '.join(different[:20])}")
    show(programs, different[0])
    return 1


def parse():
    parser = argparse.ArgumentParser(description="Compares the packet path of two builds.")
    parser.add_argument("checkout", type=pathlib.Path, help="another checkout of this project")
    parser.add_argument("--seeds", type=int, nargs=2, default=(1, 200), metavar=("FIRST", "LAST"))
    return parser.parse_args()


def build(checkout, target):
    """The program with this checkout's packet path."""
    name = "this" if checkout == ROOT else "other"
    package = target / name
    shutil.rmtree(package / "src", ignore_errors=True)
    shutil.copytree(HERE / "src", package / "src")
    own = checkout / "benches/differential/src/adapter.rs"
    shutil.copy(own if own.exists() else HERE / "before/adapter.rs", package / "src/adapter.rs")
    hooks = "testing = []" in (checkout / "dataplane/Cargo.toml").read_text()
    features = ', features = ["testing"]' if hooks else ""
    (package / "Cargo.toml").write_text(MANIFEST.format(checkout=checkout, root=ROOT, features=features))
    if not (package / "Cargo.lock").exists():
        shutil.copy(checkout / "Cargo.lock", package / "Cargo.lock")
    command = ["cargo", "build", "--quiet", "--release", "--target-dir", str(target / name / "target")]
    subprocess.run(command, cwd=package, check=True)
    return package / "target/release/differential"


def seeds(programs, first, last):
    """The seeds in which the programs differ."""
    runs = [
        subprocess.Popen([program, str(first), str(last)], stdout=subprocess.PIPE, text=True) for program in programs
    ]
    for one, other in itertools.zip_longest(*(run.stdout for run in runs)):
        if one != other:
            yield (one or other).split()[0]
    for run in runs:
        run.wait()


def show(programs, seed):
    """The first lines that differ, and what came before them."""
    runs = [subprocess.Popen([program, "--show", seed], stdout=subprocess.PIPE, text=True) for program in programs]
    before = []
    for number, (one, other) in enumerate(itertools.zip_longest(*(run.stdout for run in runs)), 1):
        if one != other:
            print(f"seed {seed}, line {number}, after:\n{''.join(before)}- {one}+ {other}", end="")
            break
        before = [*before[-15:], one]
    for run in runs:
        run.kill()
        run.wait()


if __name__ == "__main__":
    sys.exit(main())
