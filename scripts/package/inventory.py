"""What the programs are made of: every crate that is linked into them, and Rust's own library.

    python3 scripts/package/inventory.py copyright     Debian's copyright file (DEP-5), with the licences
    python3 scripts/package/inventory.py sbom VERSION  a bill of materials (CycloneDX 1.5, JSON)

Which crates are linked in says `cargo tree` (without those that run only while something is built), what they are says
`cargo metadata`, what their sources hash to says Cargo.lock. The output follows from the sources, the installed Rust and
$SOURCE_DATE_EPOCH alone. A crate whose licence is not known here is an error: somebody has to read it first.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What is shipped: the packages of these names.
SHIPPED = ("natlb", "lbctl", "natlb-lvs", "natlb-lvs-preload")
# Licences by their SPDX names, the preferred ones first: Debian's name of each, and where Debian has its text. Of a
# crate that leaves the choice the first one counts.
LICENCES = {
    "Apache-2.0": ("Apache-2.0", "Apache-2.0"),
    "MIT": ("Expat", None),
    "MPL-2.0": ("MPL-2.0", "MPL-2.0"),
    "Zlib": ("Zlib", None),
    "BSD-3-Clause": ("BSD-3-Clause", "BSD"),
    "Unicode-3.0": ("Unicode-3.0", None),
}
# Names that older manifests use.
OLD_NAMES = {"MPL-2.0+": "MPL-2.0"}


def cargo(*words):
    return subprocess.run(["cargo", *words, "--locked"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def host():
    """The target that is built for, and Rust's release."""
    said = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return re.search(r"^host: (.*)$", said, re.MULTILINE)[1], re.search(r"^release: (.*)$", said, re.MULTILINE)[1]


class Inventory:
    """The packages that are linked in, those of this repository included, and who uses whom."""

    def __init__(self):
        target, self.rust = host()
        chosen = [word for name in SHIPPED for word in ("--package", name)]
        tree = cargo("tree", *chosen, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}",
                     "--target", target)
        linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
        metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))
        self.packages = {package["id"]: package for package in metadata["packages"]
                         if (package["name"], "v" + package["version"]) in linked}
        assert len(self.packages) == len(linked), "cargo tree and cargo metadata disagree"
        self.uses = {node["id"]: sorted(used for used in node["dependencies"] if used in self.packages)
                     for node in metadata["resolve"]["nodes"] if node["id"] in self.packages}
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
        self.checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}

    def crates(self):
        """Those of others, by name."""
        others = [package for package in self.packages.values() if package["source"]]
        return sorted(others, key=lambda package: (package["name"], package["version"]))


def expression(package):
    """A package's licence as an SPDX expression."""
    text = package["license"] or sys.exit(f"{package['name']} names no licence")
    for old, new in OLD_NAMES.items():
        text = text.replace(old, new)
    return text.replace("/", " OR ")


def choice(package):
    """The licence that counts, by its SPDX name."""
    offers = {offer.strip(" ()") for offer in expression(package).split(" OR ")}
    for name in LICENCES:
        if name in offers:
            return name
    # Several that count at once.
    parts = {part.strip(" ()") for offer in offers for part in offer.split(" AND ")}
    sys.exit(f"{package['name']}: the licence {expression(package)} is none of {', '.join(LICENCES)}: "
             f"read it, then add {', '.join(sorted(parts - set(LICENCES)))} to scripts/package/inventory.py")


def licence_files(package):
    folder = Path(package["manifest_path"]).parent
    named = (path for path in folder.iterdir() if re.match(r"(licen[cs]e|copying|copyright|notice)", path.name, re.I))
    return sorted(path for path in named if path.is_file())


def holders(package):
    """Who has the copyright, as the crate's own files say it, or else its manifest."""
    found = []
    for path in licence_files(package):
        for line in path.read_text(errors="replace").splitlines():
            said = re.match(r"\s*(?:Copyright|©)\s*(?:\(c\)|©)?:?\s*(.*\d{4}.*|.*authors.*)$", line, re.I)
            if said and not re.search(r"\[yyyy\]|\{yyyy\}|Free Software Foundation", line):
                holder = re.sub(r"\s+", " ", said[1]).strip(" .")
                if holder not in found and re.search(r"[A-Za-z]{3}", holder):
                    found.append(holder)
    return found or package["authors"] or [f"the authors of {package['name']}"]


def text_of(name, packages):
    """A licence's text without its title and holders, from the first of `packages` that has a file with it."""
    marks = {"MIT": "Permission is hereby granted", "Zlib": "This software is provided", "Unicode-3.0": "UNICODE LICENSE"}
    for package in packages:
        for path in licence_files(package):
            text = path.read_text(errors="replace")
            at = text.find(marks[name])
            if at >= 0 and "Apache License" not in text:
                return [line.strip() for line in text[at:].strip().splitlines()]
    sys.exit(f"no crate has a file with the text of {name}")


def indented(lines):
    return "".join(f" {line.rstrip()}\n" if line.strip() else " .\n" for line in lines)


def copyright_file(inventory):
    crates = inventory.crates()
    out = ["Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
           "Upstream-Name: natlb\n"
           "Comment:\n"
           + indented(["The programs have the crates below \"crates/\" linked into them; \"crates/NAME-VERSION\" is a crate as it",
                       "is to be had, with its sources, from the registry of Rust's crates. Where a crate leaves",
                       "the choice between licences, the one that is named here counts."]),
           "Files: *\nCopyright: the natlb maintainers\nLicense: Apache-2.0\n",
           f"Files: rust-{inventory.rust}/library/*\nCopyright: The Rust Project Contributors\nLicense: Apache-2.0\n"
           f"Comment: Rust's standard library, https://github.com/rust-lang/rust\n"]
    for crate in crates:
        out.append(f"Files: crates/{crate['name']}-{crate['version']}/*\n"
                   f"Copyright: {(chr(10) + ' ').join(holders(crate))}\n"
                   f"License: {LICENCES[choice(crate)][0]}\n"
                   f"Comment: offered as {expression(crate)}\n")
    used = {choice(crate) for crate in crates} | {"Apache-2.0"}
    for name, (debians, common) in LICENCES.items():
        if name not in used:
            continue
        if common:
            text = [f"The text of this licence is in /usr/share/common-licenses/{common}."]
        else:
            text = text_of(name, [crate for crate in crates if choice(crate) == name])
        out.append(f"License: {debians}\n{indented(text)}")
    return "\n".join(out)


def moment():
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def sbom(inventory, version):
    def reference(package):
        return f"pkg:cargo/{package['name']}@{package['version']}"

    def licences(package):
        return [{"expression": expression(package)}]

    def component(package):
        made = {"type": "library", "bom-ref": reference(package), "name": package["name"], "version": package["version"],
                "licenses": licences(package)}
        if package["description"]:
            made["description"] = " ".join(package["description"].split())
        checksum = inventory.checksums[package["name"], package["version"]]
        if checksum:
            made["purl"] = reference(package)
            made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if package["repository"]:
            made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        return made

    packages = sorted(inventory.packages.values(), key=lambda package: (package["name"], package["version"]))
    root = f"pkg:deb/natlb@{version}"
    library = {"type": "library", "bom-ref": f"rust-std@{inventory.rust}", "name": "std", "version": inventory.rust,
               "description": "Rust's standard library", "licenses": [{"expression": "MIT OR Apache-2.0"}],
               "externalReferences": [{"type": "vcs", "url": "https://github.com/rust-lang/rust"}]}
    shipped = sorted(reference(package) for package in packages if package["name"] in SHIPPED)
    uses = [{"ref": root, "dependsOn": [*shipped, library["bom-ref"]]}]
    for package in packages:
        used = sorted(reference(inventory.packages[other]) for other in inventory.uses[package["id"]])
        uses.append({"ref": reference(package), "dependsOn": used})
    uses.append({"ref": library["bom-ref"], "dependsOn": []})
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"timestamp": moment(),
                     "component": {"type": "application", "bom-ref": root, "name": "natlb", "version": version,
                                   "licenses": [{"expression": "Apache-2.0"}]}},
        "components": [*map(component, packages), library], "dependencies": uses,
    }
    # The number names the content.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return json.dumps({"serialNumber": f"urn:uuid:{serial}", **document}, indent=1, sort_keys=True) + "\n"


def main(words):
    match words:
        case ["copyright"]:
            sys.stdout.write(copyright_file(Inventory()))
        case ["sbom", version]:
            sys.stdout.write(sbom(Inventory(), version))
        case _:
            sys.exit(__doc__.split("\n\n")[1])


if __name__ == "__main__":
    main(sys.argv[1:])
