"""keepalived 2.3 of Debian 13: its packages, unpacked into a folder of their own and run by their own loader."""

import os
import shutil
import subprocess
from pathlib import Path

from .runner import Skip
from .testbed import ROOT

# Where the packages are kept between runs.
FOLDER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debian13"
SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} trixie main\n"
# Seconds that the packages may take to come.
FETCH = 240


def keepalived():
    """The words that run it."""
    root = FOLDER / "root"
    if not (FOLDER / "complete").exists():
        fetch(root)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    # By way of a shell: natlb-lvs looks at the program that it runs, and a loader looks as if it loaded nothing.
    return ["sh", "-c", 'exec "$0" "$@"', str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries),
            str(root / "usr/sbin/keepalived")]


def mirror():
    """Where this host's own packages come from."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"]
    done = subprocess.run(targets, capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        raise Skip("this host's packages do not come from a mirror of Debian")
    return done.stdout.split()[0]


def fetch(root):
    if os.uname().machine != "x86_64":
        raise Skip("Debian 13's packages are taken for x86-64 only")
    for folder in ("lists/partial", "archives/partial"):
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
    (FOLDER / "sources.list").write_text(SOURCE.format(mirror=mirror()))
    (FOLDER / "status").write_text("")
    # Nothing of this host's apt is read but its keys, and nothing of it is changed.
    options = {"Dir::State": FOLDER, "Dir::State::lists": FOLDER / "lists", "Dir::State::status": FOLDER / "status",
               "Dir::Cache": FOLDER, "Dir::Cache::archives": FOLDER / "archives", "Dir::Etc::sourcelist": FOLDER / "sources.list",
               "Dir::Etc::sourceparts": "-", "Dir::Etc::preferencesparts": "-", "APT::Install-Recommends": "false",
               "Acquire::Languages": "none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
               "APT::Architecture": "amd64", "APT::Architectures": "amd64"}
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    for words in (["update"], ["install", "--download-only", "--yes", "keepalived"]):
        try:
            done = subprocess.run([*apt, *words], capture_output=True, text=True, timeout=FETCH)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Skip(f"Debian 13's keepalived cannot be had: {error}") from error
        if done.returncode != 0:
            raise Skip(f"Debian 13's keepalived cannot be had: {done.stderr.strip().splitlines()[-1:]}")
    for package in sorted((FOLDER / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    shutil.rmtree(FOLDER / "archives")
    # It looks for this below /etc, or else beside itself.
    options_file = root / "etc/keepalived/keepalived.config-opts"
    (root / "usr/sbin" / options_file.name).write_bytes(options_file.read_bytes())
    (FOLDER / "complete").touch()
