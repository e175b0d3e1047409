"""The modules of a crate, as its files declare them, and the paths that each of them uses."""

import pathlib
import re
from dataclasses import dataclass

from . import source

DECLARED = re.compile(r"\bmod\s+(\w+)\s*;")
VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])\$?(?:crate|super|self)\s*(?:::\s*\w+\s*)+")
TOKEN = re.compile(r"::|[{},*]|\w+|\S")


@dataclass
class Module:
    """One file of a crate: `path` is () for the crate's root."""

    path: tuple
    file: pathlib.Path
    source: source.Source
    children: list
    test_children: list

    def uses(self):
        """Absolute paths in the crate that the file uses, each with its line."""
        code = VISIBILITY.sub(lambda found: " " * len(found.group()), self.source.code)
        inline = self.source.inline_modules()
        for written, offset in written_paths(code):
            inside = [name for name, start, end in inline if start < offset < end]
            here = self.path + tuple(inside)
            path = absolute(written, here, self.children if not inside else [])
            if path is not None:
                yield path, self.source.line_of(offset)


def of_crate(root):
    """All modules of the crate with this root file, tests left out, by path."""
    found = {}
    pending = [((), pathlib.Path(root))]
    while pending:
        path, file = pending.pop(0)
        text = source.read(file.read_text())
        if text.is_test:
            continue
        children = [name for name in DECLARED.findall(text.code) if name not in text.elsewhere]
        found[path] = Module(path, file, text, children, sorted(text.test_only))
        folder = file.parent if is_root(path, file) else file.with_suffix("")
        for child in children:
            pending.append((path + (child,), file_of(folder, child)))
    return found


def is_root(path, file):
    return path == () or file.name == "mod.rs"


def file_of(folder, name):
    plain = folder / f"{name}.rs"
    return plain if plain.exists() else folder / name / "mod.rs"


def written_paths(code):
    """The paths of the code as they are written, with their offsets: those of `use`, then those in between."""
    for found in USE.finditer(code):
        yield from branches(found.group(1), found.start(1))
    rest = USE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), code)
    for found in PATH.finditer(rest):
        yield re.findall(r"\w+", found.group()), found.start()


def branches(tree, offset):
    """The paths of a `use` tree, each with its offset."""
    prefixes, prefix, here, start, skip = [], [], [], offset, False
    for found in TOKEN.finditer(tree):
        token, at = found.group(), offset + found.start()
        if token == "{":
            prefixes.append(prefix)
            prefix, here = prefix + here, []
        elif token in ",}":
            if here:
                yield prefix + here, start
            here, skip = [], False
            if token == "}":
                prefix = prefixes.pop()
        elif token == "as":
            skip = True
        elif token != "::" and not skip:
            if not here:
                start = at
            here.append(token)
    if here:
        yield prefix + here, start


def absolute(written, here, children):
    """The path from the crate's root, or nothing if it leads out of the crate."""
    first = written[0]
    if first == "crate":
        return tuple(written[1:])
    if first in ("self", "super"):
        base = list(here)
        rest = list(written)
        while rest and rest[0] in ("self", "super"):
            if rest.pop(0) == "super":
                base = base[:-1]
        return tuple(base + rest)
    return here + tuple(written) if first in children else None
