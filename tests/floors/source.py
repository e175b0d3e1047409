"""A Rust file as far as the check reads it: its code without comments, strings and tests, offsets kept."""

import re
from dataclasses import dataclass

LITERAL = re.compile(r"""//[^\n]*|/\*|\bb?r(#*)"|"|b?'(?:\\.[^'\n]*|[^'\\\n])'""")
ATTRIBUTE = re.compile(r"#(!?)\[")
# What an item begins with. Anything else that has an attribute, such as a field, may also end with a comma.
ITEM = re.compile(r"(?:pub|fn|mod|impl|struct|enum|union|use|const|static|type|trait|unsafe|extern|async|macro_rules|let)\b")
NAMED = re.compile(r"\b(?:fn|mod|struct|enum|union|const|static|type|trait)\s+(\w+)")
ELSEWHERE = re.compile(r"#\[path\s*=[^\]]*\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;")
INLINE = re.compile(r"\bmod\s+(\w+)\s*\{")
CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass
class Source:
    """The code that is in the product, the names of what is only there for tests, the module's own documentation, and the
    modules that are files of another crate."""

    code: str
    test_only: set
    doc: list
    is_test: bool
    elsewhere: set

    def line_of(self, offset):
        return self.code.count("\n", 0, offset) + 1

    def inline_modules(self):
        """Names and extents of the modules that are written out in the file."""
        return [(found.group(1), found.end() - 1, closing(self.code, found.end() - 1)) for found in INLINE.finditer(self.code)]


def read(text):
    bare = blank(text, comments=True, strings=True)
    readable = blank(text, comments=True, strings=False)
    code, names, whole = without_tests(bare, readable)
    doc = []
    for line in text.splitlines():
        if line.startswith("//!"):
            doc.append(line[3:].removeprefix(" "))
        elif line.strip():
            break
    return Source(code, names, doc, whole, set(ELSEWHERE.findall(readable)))


def blank(text, comments, strings):
    """The text with spaces in place of its comments and of the strings' contents."""
    parts, at = [], 0
    while found := LITERAL.search(text, at):
        start, kind = found.start(), found.group()
        if kind.startswith("//"):
            end, wanted = found.end(), comments
        elif kind == "/*":
            end, wanted = end_of_comment(text, found.end()), comments
        else:
            end, wanted = end_of_string(text, found), strings
        parts.append(text[at:start])
        parts.append(re.sub(r"[^\n]", " ", text[start:end]) if wanted else text[start:end])
        at = end
    return "".join(parts) + text[at:]


def end_of_comment(text, at):
    depth = 1
    while depth and (found := re.compile(r"/\*|\*/").search(text, at)):
        depth += 1 if found.group() == "/*" else -1
        at = found.end()
    return at if depth == 0 else len(text)


def end_of_string(text, found):
    if found.group().endswith("'"):
        return found.end()
    if found.group(1) is not None:
        end = text.find('"' + found.group(1), found.end())
        return len(text) if end < 0 else end + 1 + len(found.group(1))
    closed = re.compile(r'(?:[^"\\]|\\.)*"', re.S).match(text, found.end())
    return closed.end() if closed else len(text)


def without_tests(code, readable):
    """The code without what only tests need, the names that are gone, and whether the whole file is for tests."""
    names, at, whole = set(), 0, False
    while found := ATTRIBUTE.search(code, at):
        end = closing(code, found.end() - 1)
        at = end
        if not for_tests(readable[found.end() : end - 1]):
            continue
        if found.group(1):
            whole = True
            continue
        at = end_of_item(code, end)
        gone = code[found.start() : at]
        names.update(NAMED.findall(gone)[:1])
        code = code[: found.start()] + re.sub(r"[^\n]", " ", gone) + code[at:]
    return code, names, whole


def for_tests(attribute):
    """Whether an item with this attribute is only there in tests, or with the feature that they and the benches turn on."""
    attribute = re.sub(r"\s", "", attribute)
    if not attribute.startswith("cfg("):
        return False
    either = 'test|feature="testing"'
    if re.fullmatch(rf"cfg\((?:any\()?(?:{either})(?:,(?:{either}))*\)?\)", attribute):
        return True
    return re.match(rf"cfg\(all\((?:{either}),", attribute) is not None


def end_of_item(code, at):
    while found := re.compile(r"\s*#\[").match(code, at):
        at = closing(code, found.end() - 1)
    at += len(code[at:]) - len(code[at:].lstrip())
    is_item = ITEM.match(code, at)
    ends = ";" if is_item else ";,"
    is_use = re.compile(r"(?:pub(?:\([^)]*\))?\s+)?use\b").match(code, at)
    while at < len(code):
        if code[at] in CLOSING:
            braces = code[at] == "{"
            at = closing(code, at)
            if braces and not is_use:
                return at
            continue
        if code[at] in ends:
            return at + 1
        if code[at] in ")]}":
            return at
        at += 1
    return at


def closing(code, at):
    """The offset after the bracket that closes the one at this offset."""
    open_ones = []
    for offset in range(at, len(code)):
        if code[offset] in CLOSING:
            open_ones.append(CLOSING[code[offset]])
        elif code[offset] in ")]}":
            if open_ones:
                open_ones.pop()
            if not open_ones:
                return offset + 1
    return len(code)
