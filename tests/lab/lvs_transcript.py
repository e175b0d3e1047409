"""Sessions recorded on a real kernel, typed again with ipvsadm driving lbd.

The files in testdata/lvs are recordings: prompts, output, and `(exit status N)` behind what failed. Everything that a
failed command printed was on stderr, everything else on stdout. Lines that begin with `%` were added:

    % type: COMMAND             a command that was typed on lb, but not recorded
    % clients: PORT ADDRESS...  what was not recorded above the servers' names: a connection from each of these addresses
    % left out: REASON          the next command is not typed
    % figures: REASON           of the next command's output numbers, clients' ports, times and the order are not compared
    %= REASON                   why the rest of this output differs here:
    %- LINE                     what the kernel's tools printed and natlb's do not
    %+ LINE                     what they print in its place
    %! LINE                     a line on stderr of a command that succeeded
"""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

TESTDATA = Path(__file__).parent / "testdata" / "lvs"
PROMPT = re.compile(r"\[(\w+)\][#$] (.*)")
ADDED = re.compile(r"% (type|clients|left out|figures): (.*)")
STATUS = re.compile(r"\(exit status (\d+)\)")


@dataclass
class Step:
    """Something that is done, and what comes of it."""

    line: int
    host: str  # "clients" for connections
    command: str
    left_out: str = ""
    figures: str = ""
    why: str = ""
    stdout: list = field(default_factory=list)
    stderr: list = field(default_factory=list)
    status: int = 0

    @property
    def name(self):
        return f"line {self.line}: {self.command}"


def steps(name):
    """The steps of a recording."""
    found, comes = [], {}
    for number, line in enumerate((TESTDATA / name).read_text().splitlines(), 1):
        added, prompt = ADDED.fullmatch(line), PROMPT.fullmatch(line)
        if added and added[1] == "type":
            found.append(Step(number, "lb", added[2], **comes))
            comes = {}
        elif added and added[1] == "clients":
            found.append(Step(number, "clients", added[2], **comes))
            comes = {}
        elif added:
            comes[added[1].replace(" ", "_")] = added[2]
        elif prompt:
            found.append(Step(number, prompt[1], prompt[2], **comes))
            comes = {}
        elif not line.startswith("#") and (line.strip() or found and found[-1].stdout):
            take(found[-1], line)
    assert not comes, f"{name}: nothing follows {comes}"
    for step in found:
        finish(step)
    return found


def take(step, line):
    """One line of what a command printed."""
    mark, text = (line[:2], line[3:]) if line.startswith("%") else ("", line)
    assert mark in ("", "%=", "%-", "%+", "%!"), f"{step.name}: {line}"
    if mark == "%=":
        step.why = text
    elif mark in ("%-", "%+") and not step.why:
        raise AssertionError(f"{step.name}: no reason for {line}")
    elif mark == "%!":
        step.stderr.append(text)
    elif mark != "%-":
        step.stdout.append(text)


def finish(step):
    while step.stdout and not step.stdout[-1]:
        step.stdout.pop()
    if step.stdout and (status := STATUS.fullmatch(step.stdout[-1])):
        step.stdout.pop()
        step.status = int(status[1])
        step.stdout, step.stderr = [], step.stdout


def plain(lines):
    """Lines without what belongs to one machine and moment: the size of the kernel's table, clients' ports, times."""
    text = "\n".join(lines)
    text = re.sub(r"\(size=\d+\)", "(size=N)", text)
    return text.splitlines()


CONNECTION = re.compile(r"(\w+) +\d\d:\d\d( +\w+ +\S+:)(\d+)( .*)")


def words(lines):
    """What is left of lines without their numbers and their order: addresses and ports that are configured stay."""
    kept = []
    for line in plain(lines):
        if connection := CONNECTION.fullmatch(line):
            protocol, client, port, rest = connection.groups()
            line = f"{protocol} TIME{client}{port if port == '0' else 'PORT'}{rest}"
        kept.append(" ".join(re.sub(r"(?<=\s)\d+[KMG]?(?=\s|$)", "N", line).split()))
    return sorted(kept)


def differs(step, stdout, stderr, status):
    """What a step gave other than was recorded; None if nothing."""
    shape = words if step.figures else plain
    said = stderr.splitlines()
    # natlb's own words are an addition, unless they are in the recording.
    if not any(line.startswith("natlb: ") for line in step.stderr):
        said = [line for line in said if not line.startswith("natlb: ")]
    expected = shape(step.stdout), plain(step.stderr), step.status
    actual = shape(stdout.splitlines()), plain(said), status
    if actual == expected:
        return None
    # What went where, line by line.
    text = lambda output: [f"{stream}{line}" for stream, part in zip(("", "stderr: "), output) for line in part] + [f"status {output[2]}"]
    return "\n".join([step.name, *(f"  {line}" for line in difflib.ndiff(text(expected), text(actual)) if line[0] in "+-")])
