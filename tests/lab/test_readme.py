"""The tour of README.md and docs/tour.md, typed as it stands there."""

import re
import subprocess

from .families import IPV6
from .runner import test
from .testbed import LAB, ROOT, binary

# Figures of these depend on the moment.
COUNTS = ("lbctl stats", "lbctl connections", "lbctl status", "lbctl list", "client curl --no", "rs1 ping")
# Fewer requests say as much.
LOAD = ("[1-4000]", "[1-40]")


def tour():
    """The commands of both halves of the tour, each with what is printed below it."""
    text = (ROOT / "README.md").read_text().split("\n## Five-minute tour\n")[1].split("\n## ")[0]
    text += (ROOT / "docs/tour.md").read_text()
    steps = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("# "):
                steps.append((line.removeprefix("# "), []))
            else:
                steps[-1][1].append(line)
    return steps


def normal(command, lines):
    """Without what differs each time: the client's ports, the lab's name, comments, and figures where they depend on the
    moment."""
    if command == "lbctl status" and "Drops" in lines:
        # Drops are of connections that tests before have left.
        lines = lines[:lines.index("Drops")]
        while lines and not lines[-1]:
            lines.pop()
    lines = [re.sub(r"  +# .*", "", line) for line in lines]
    lines = [re.sub(r"(192\.168\.10\.6|\[fd00:10::6\]):\d+", "CLIENT", line) for line in lines]
    lines = [re.sub(r"/dev/shm/natlb-\w+", "FOLDER", line) for line in lines]
    if command.startswith(COUNTS):
        lines = [re.sub(r"(?<![\d.])\d\d(:\d\d)+", "TIME", line) for line in lines]
        # Addresses and names hold digits too: these are compared.
        lines = [re.sub(r"\b\d+(\.\d+)?(?![\d.:])(ms|%)?", "N", line) for line in lines]
        lines = [" ".join(line.split()) for line in lines]
    return sorted(lines) if command.startswith("lbctl connections") else lines


@test()
def the_tour_can_be_typed(bed):
    bed.speak(IPV6)
    steps = tour()
    # The first ones make a lab: here it is there.
    own = [command for command, _ in steps[:4]]
    assert all(command.startswith(("lab=", "export ", "client()", "rs1()")) for command in own), own
    bin_folder = binary("lbctl").rsplit("/", 1)[0]
    # Without a terminal curl would show its progress.
    (bed.dir / ".curlrc").write_text("silent\nshow-error\n")
    script = [f"lab={bed.dir} PATH={bin_folder}:$PATH", "export LBCTL_SOCKET=$lab/lbd.sock CURL_HOME=$lab"]
    script += [command.replace("scripts/lab", str(LAB)) for command in own[2:]]
    for command, _ in steps[4:]:
        script += ["echo '@ ' >&2", command.replace(*LOAD), "echo \"@@ $?\""]
        # What a user's fingers leave time for.
        if command.endswith("&"):
            script.append("until lbctl connections | grep -q ESTABLISHED; do sleep 0.1; done")
        elif "curl" in command:
            script.append("while lbctl connections | grep -qE 'ESTABLISHED|FIN_WAIT|CLOSE_WAIT'; do sleep 0.1; done")
    with bed.lbd(bed.config(workers=1)):
        words = ["bash", "-c", "exec 2>&1\n" + "\n".join(script)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=bed.dir)
    printed = done.stdout.split("@ \n")[1:]
    assert len(printed) == len(steps) - 4, done.stdout
    for (command, expected), found in zip(steps[4:], printed):
        *lines, code = found.splitlines()
        fails = any(line.endswith("# exit code 1") for line in expected)
        assert code == f"@@ {int(fails)}", f"{command}: {found}"
        as_written = "\n".join(expected)
        assert normal(command, lines) == normal(command, expected), f"{command}:\n{found}\nexpected:\n{as_written}"
