"""What is in the package, without installing it: rules of Debian, pages, completions, licences; the container's recipe."""

import fcntl
import gzip
import json
import os
import re
import shlex
import tempfile
import tomllib
import unittest
from pathlib import Path

from .package import ROOT, VERSIONS, built, run, tool, unpacked

PROGRAMS = ("lbd", "lbctl", "natlb-lvs")
# Prints what is wrong with the document on stdin, or None.
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read()))
"""


class Package(unittest.TestCase):
    def test_lintian_has_nothing_to_say_but_what_is_named(self):
        done = run(tool("lintian"), "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", built(), check=False)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, ""), done.stderr)

    def test_built_twice_it_is_the_same(self):
        again = built(output="again")
        self.assertEqual(again.read_bytes(), built().read_bytes())

    def test_it_depends_on_what_it_links_and_on_drivers(self):
        depends = run("dpkg-deb", "--field", built(), "Depends").stdout
        for name in ("libc6 ", "librte-eal", "librte-ethdev", "librte-bus-vdev", "librte-mempool-ring", "librte-net-af-packet"):
            self.assertIn(name, depends)

    def test_nothing_in_it_is_written_by_hand_for_another_place(self):
        for path in ("lib/systemd/system/lbd.service", "usr/share/doc/natlb/examples/keepalived.service.d/natlb.conf",
                     "usr/share/doc/natlb/examples/ldirectord.service.d/natlb.conf"):
            text = (unpacked() / path).read_text()
            self.assertNotIn("/usr/local", text)
            self.assertIn("/usr/sbin/", text)

    def test_host_setup_tells_how_it_is_called_where_it_is(self):
        done = run("bash", unpacked() / "usr/lib/natlb/host-setup", "--help")
        self.assertIn("\n  /usr/lib/natlb/host-setup [--apply]", done.stdout)
        self.assertNotIn("scripts/", done.stdout)

    def test_it_brings_the_pages_for_operators(self):
        pages = unpacked() / "usr/share/doc/natlb"
        for name in ("operating.md", "manual.md", "moving-from-lvs.md", "ipvs.md"):
            self.assertEqual((pages / name).read_bytes(), (ROOT / "docs" / name).read_bytes())
        # Metrics name this one.
        self.assertIn("\n## Every drop reason\n", (pages / "operating.md").read_text())

    def test_what_is_said_to_be_in_it_is_there(self):
        section = (ROOT / "docs/operating.md").read_text().split("\n## Packages\n")[1].split("\n**Containers.**")[0]
        table = section.split("| what | where |\n")[1].split("\n\n")[0]
        places = re.findall(r"`(/[^`]*)`", table)
        self.assertIn("/usr/share/natlb/metrics", places)
        for place in places:
            self.assertTrue((unpacked() / place[1:]).exists(), place)

    def test_what_an_upgrade_advises_is_what_the_unit_does(self):
        advice = (ROOT / "scripts/package/debian/postinst").read_text()
        self.assertIn("systemctl reload lbd", advice)
        unit = (unpacked() / "lib/systemd/system/lbd.service").read_text()
        self.assertRegex(unit, r"(?m)^ExecReload=/usr/sbin/lbd --config /etc/natlb/lbd.toml --reload \$LBD_OPTIONS$")

    def test_whoever_takes_over_at_a_reload_has_the_options_of_the_first_start(self):
        unit = (unpacked() / "lib/systemd/system/lbd.service").read_text()
        first, = re.findall(r"(?m)^ExecStart=(.*)$", unit)
        again, = re.findall(r"(?m)^ExecReload=(.*)$", unit)
        self.assertEqual(again.replace(" --reload", ""), first)
        self.assertIn("$LBD_OPTIONS", first)

    def test_systemd_takes_the_unit_that_readies_the_host_at_a_boot(self):
        page = (ROOT / "docs/operating.md").read_text()
        unit = page.split("natlb-host.service`")[1].split("```ini\n")[1].split("```")[0]
        command = re.search(r"(?m)^ExecStart=(\S+) (.*)$", unit)
        self.assertTrue(os.access(unpacked() / command[1][1:], os.X_OK), command[1])
        self.assertIn(command[2].split()[0], run(unpacked() / command[1][1:], "--help").stdout)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for path, text in (("etc/systemd/system/natlb-host.service", unit), (command[1][1:], "")):
                (root / path).parent.mkdir(parents=True)
                (root / path).write_text(text)
            (root / command[1][1:]).chmod(0o755)
            done = run(tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", f"--root={root}",
                       "natlb-host.service", check=False)
        wrong = [line for line in done.stderr.splitlines() if "natlb-host.service:" in line]
        self.assertEqual(wrong, [], done.stderr)

    def test_systemd_takes_the_unit(self):
        # It looks for the programs in the root that it is given, those of the unit's own commands among them.
        for program in ("bin/sh", "usr/bin/find"):
            (unpacked() / program).parent.mkdir(exist_ok=True)
            (unpacked() / program).touch(mode=0o755)
        done = run(tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", f"--root={unpacked()}", "lbd.service",
                   check=False)
        wrong = [line for line in done.stderr.splitlines() if "lbd.service:" in line]
        self.assertEqual(wrong, [], done.stderr)


    def test_the_unit_gives_little_away(self):
        # From 0 to 10, in tenths here; more than the threshold is an exit code.
        done = run(tool("systemd-analyze"), "security", "--no-pager", "--offline=true", "--threshold=29", f"--root={unpacked()}",
                   "lbd.service", check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_unit_leaves_kept_connections_alone(self):
        unit = (unpacked() / "lib/systemd/system/lbd.service").read_text()
        # systemd would remove what the user natlb has in /dev/shm whenever the service stops.
        self.assertNotRegex(unit, r"(?m)^(RemoveIPC|PrivateIPC|DynamicUser)=")

    def test_what_root_has_left_becomes_natlbs_if_nobody_uses_it(self):
        """The unit's own commands, on a folder in place of /dev/shm."""
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        unit = (unpacked() / "lib/systemd/system/lbd.service").read_text().replace("\\\n", " ")
        commands = re.findall(r"(?m)^ExecStartPre=-\+(.*)$", unit)
        self.assertEqual(len(commands), 2)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            own, used, others = (folder / f"natlb-{name}" for name in ("own", "used", "others"))
            for made in (own, used, others):
                made.mkdir(mode=0o700)
                (made / "lock").touch(mode=0o600)
                (made / "1.names").touch(mode=0o600)
            (folder / "target").touch()
            (own / "link").symlink_to(folder / "target")
            os.chown(others, 12345, 12345)
            (folder / "state").touch()
            os.link(folder / "target", folder / "second-name")
            with open(used / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for command in commands:
                    words = [word.replace("natlb:natlb", "12345:12345") for word in shlex.split(command)]
                    places = [word for word in words if word.startswith("/") and word != "/usr/bin/find"]
                    self.assertIn(places, (["/var/lib/natlb"], ["/dev/shm", "/dev/hugepages"]))
                    words = [word for word in words if word not in places[1:]]
                    words[words.index(places[0])] = str(folder)
                    run(*words)
            owners = {path.relative_to(folder): path.lstat().st_uid for path in folder.rglob("*")}
        mine = {str(path) for path, owner in owners.items() if owner == 12345}
        self.assertEqual(mine, {"natlb-own", "natlb-own/lock", "natlb-own/1.names", "natlb-own/link", "state", "natlb-others"})


class Pages(unittest.TestCase):
    def pages(self):
        pages = sorted((unpacked() / "usr/share/man").glob("man*/*.gz"))
        self.assertGreater(len(pages), 15)
        return pages

    def test_every_program_has_its_page(self):
        names = {page.name for page in self.pages()}
        self.assertLessEqual({"lbd.8.gz", "lbctl.8.gz", "natlb-lvs.8.gz", "lbd.toml.5.gz", "lbctl-add-service.8.gz"}, names)

    def test_mandoc_finds_nothing_wrong(self):
        mandoc = tool("mandoc")
        for page in self.pages():
            done = run(mandoc, "-T", "lint", page, check=False)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_man_warns_of_nothing(self):
        man = tool("man")
        for page in self.pages():
            done = run(man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page)
            self.assertEqual(done.stderr, "", page.name)


class Completions(unittest.TestCase):
    def test_each_shell_reads_its_own(self):
        for shell, pattern in (("bash", "bash-completion/completions/{}"), ("zsh", "zsh/vendor-completions/_{}"),
                               ("fish", "fish/vendor_completions.d/{}.fish")):
            with self.subTest(shell):
                path = tool(shell)
                for program in PROGRAMS:
                    done = run(path, "-n", unpacked() / "usr/share" / pattern.format(program))
                    self.assertEqual(done.stderr, "")

    def test_bash_completes_a_command(self):
        script = unpacked() / "usr/share/bash-completion/completions/lbctl"
        ask = 'source "$0"; COMP_WORDS=(lbctl add-); COMP_CWORD=1; _lbctl lbctl add- lbctl; echo "${COMPREPLY[@]}"'
        self.assertEqual(run("bash", "-c", ask, script).stdout.split(), ["add-service", "add-real"])


class Licences(unittest.TestCase):
    def bill(self):
        return gzip.decompress((unpacked() / "usr/share/doc/natlb/natlb.cdx.json.gz").read_bytes()).decode()

    def test_the_bill_of_materials_is_valid(self):
        tool("hadolint")  # Both come together, with a Python of their own.
        done = run(tool("python"), "-c", VALIDATE, input=self.bill())
        self.assertEqual(done.stdout.strip(), "None")

    def test_bill_and_licences_name_the_crates_that_are_linked_in(self):
        bill = json.loads(self.bill())
        self.assertEqual(bill["metadata"]["component"]["version"], VERSIONS[0])
        names = {component["name"]: component for component in bill["components"]}
        self.assertLessEqual({"lbctl", "natlb", "control", "dataplane", "clap", "mio", "toml", "libc", "std"}, set(names))
        # What only builds, checks or tests it is not in it.
        self.assertFalse({"bindgen", "proptest", "criterion", "serde_derive", "clap_mangen", "tempfile-macros"} & set(names))
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
        sums = {(package["name"], package["version"]): package["checksum"] for package in lock if "checksum" in package}
        licences = (unpacked() / "usr/share/doc/natlb/copyright").read_text()
        for component in bill["components"]:
            if "hashes" in component:
                key = component["name"], component["version"]
                self.assertEqual(component["hashes"][0]["content"], sums[key])
                self.assertIn(f"Files: crates/{key[0]}-{key[1]}/*\n", licences)
        references = {component["bom-ref"] for component in bill["components"]}
        for node in bill["dependencies"]:
            self.assertLessEqual(set(node["dependsOn"]), references)


class Container(unittest.TestCase):
    def test_its_recipe_is_clean(self):
        done = run(tool("hadolint"), ROOT / "scripts/package/Containerfile", check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
