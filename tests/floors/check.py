"""The rules: a room uses only rooms below it, no product code uses what is there for tests, and pictures are whole.

Which rooms there are, and in which order, is said once: by the picture in the documentation of the module that has them.
A picture is a block of text; it counts as one of floors if the words "uses only rooms below" come before it. Rooms in one
line are on one floor, and do not use each other.
"""

import re

# A folder with more files than this has a picture that draws all of them.
UNDRAWN = 5
FLOORS = "uses only rooms below"
DRAWING = " \t│├└─►▼▲┌┐┘┤┬┴┼╴╶·"


def check(modules, show=str):
    """All faults of a crate, as lines of text. `show` gives the name of a file."""
    faults = []
    for module in modules.values():
        faults += upward(module, modules, show)
        faults += undrawn(module, modules, show)
    faults += for_tests_only(modules, show)
    return faults


def pictures(module):
    """The blocks of text in the module's documentation, and the first of them that draws floors."""
    blocks, floors, block, marked = [], None, None, False
    said = ""
    for line in module.source.doc:
        if line.startswith("```"):
            if block is None:
                block = []
            else:
                blocks.append(block)
                if FLOORS in said and not marked:
                    marked, floors = True, block
                block = None
        elif block is not None:
            block.append(line)
        else:
            said += " " + line.strip()
    return blocks, floors


def drawn(line, names):
    """The names that a line of a picture begins with: one, or several with two blanks in between."""
    first, *others = re.split(r"\s\s+", line.lstrip(DRAWING))
    found = []
    for word in [first.split(" ")[0], *others]:
        if word not in names:
            break
        found.append(word)
    return found


def floors(picture, children):
    """The floor of each room, the top one being 0, and the lines of the picture that are none of a room."""
    floor, strange = {}, []
    for number, line in enumerate(picture):
        rooms = drawn(line, children)
        for room in rooms:
            floor.setdefault(room, number)
        if not rooms and line.strip() and not line.startswith(" "):
            strange.append(line)
    return floor, strange


def upward(house, modules, show):
    """What the rooms of this module use that is not below them, and which of them use each other."""
    picture = pictures(house)[1]
    if picture is None:
        return []
    floor, strange = floors(picture, house.children)
    faults = [f"{show(house.file)}: the picture of floors has no room \"{line.strip()}\"" for line in strange]
    faults += [f"{show(house.file)}: {room} is not in the picture of floors" for room in house.children if room not in floor]
    used = set()
    depth = len(house.path)
    for module in modules.values():
        if module.path[:depth] != house.path or len(module.path) == depth:
            continue
        room = module.path[depth]
        for path, line in module.uses():
            if path[:depth] != house.path:
                continue
            target = path[depth] if len(path) > depth else ""
            if target == room:
                continue
            fault = not_below(room, target, floor, house.children)
            used.add((room, target))
            if fault:
                faults.append(f"{show(module.file)}:{line}: {room} uses {'::'.join(('crate',) + path)}, {fault}")
    pairs = sorted({tuple(sorted(pair)) for pair in used if pair[::-1] in used})
    return faults + [f"{show(house.file)}: {one} and {other} use each other" for one, other in pairs]


def not_below(room, target, floor, children):
    if target not in children:
        return "which is in the module above it"
    if room not in floor or target not in floor or floor[target] > floor[room]:
        return None
    return "a room above it" if floor[target] < floor[room] else "a room on its own floor"


def undrawn(module, modules, show):
    """The files of a crate's root, or of a folder with many, that its picture leaves out."""
    many = len([child for child in module.children if not modules[module.path + (child,)].children]) + 1 > UNDRAWN
    if module.path and not many:
        return []
    names = {name for block in pictures(module)[0] for line in block for name in drawn(line, module.children)}
    return [f"{show(module.file)}: the picture leaves out {child}" for child in module.children if child not in names]


def for_tests_only(modules, show):
    """Product code that names what is only compiled for tests."""
    faults = []
    for module in modules.values():
        for path, line in module.uses():
            for length in range(len(path)):
                owner = modules.get(path[:length])
                if owner and path[length] in owner.test_children and path[length] not in owner.children:
                    faults.append(f"{show(module.file)}:{line}: {'::'.join(('crate',) + path)} is only there for tests")
    return faults
