"""Checks every crate of the workspace, and says file and line of what breaks the rules."""

import json
import pathlib
import re
import subprocess
import sys

from . import check, modules

# Crates that have floors: a picture that has lost its words is a fault, not an end of the check.
WITH_FLOORS = ("dataplane/src/lib.rs", "control/src/lib.rs")
KNOWN = pathlib.Path(__file__).with_name("known")


def main():
    here = pathlib.Path.cwd()
    roots = sorted(crate_roots(here))
    faults = []
    for root in roots:
        crate = modules.of_crate(here / root)
        faults += check.check(crate, show=lambda file: str(file.relative_to(here)))
        if root in WITH_FLOORS and check.pictures(crate[()])[1] is None:
            faults.append(f"{root}: no picture of floors (\"{check.FLOORS}\")")
    known = [line for line in KNOWN.read_text().splitlines() if line and not line.startswith("#")]
    new, mended = against(known, faults)
    for fault in new:
        print(fault)
    for fault in mended:
        print(f"{KNOWN.relative_to(here)}: mended, to be left out: {fault}")
    print(f"{len(roots)} crates: {len(new)} faults of floors and pictures, {len(faults) - len(new)} known ones")
    return 1 if new or mended else 0


def against(known, faults):
    """The faults that are not known, and the known ones that are no faults any more."""

    def begins(fault, beginning):
        return re.sub(r":\d+: ", ": ", fault, count=1).startswith(beginning)

    new = [fault for fault in faults if not any(begins(fault, one) for one in known)]
    return new, [one for one in known if not any(begins(fault, one) for fault in faults)]


def crate_roots(here):
    """The root files of the workspace's libraries and programs."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for package in metadata["packages"]:
        for target in package["targets"]:
            if {"lib", "bin"} & set(target["kind"]):
                yield str(pathlib.Path(target["src_path"]).relative_to(here))


if __name__ == "__main__":
    sys.exit(main())
