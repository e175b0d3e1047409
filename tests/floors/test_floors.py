"""Tests of the check itself, on small crates and on a copy of the packet path."""

import pathlib
import shutil
import tempfile
import unittest

from . import __main__ as program
from . import check, modules, source

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOUSE = """//! A room uses only rooms below it:
//!
//! ```text
//! top     the loop
//! middle  frame and sums
//! bottom  names
//! ```
mod bottom;
mod middle;
mod top;
"""


class Crate(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="natlb-floors-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, **files):
        for name, text in files.items():
            file = self.folder / (name.replace("__", "/") + ".rs")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def faults(self, **files):
        self.write(**{"lib": HOUSE, "bottom": "", "middle": "", "top": "", **files})
        return check.check(modules.of_crate(self.folder / "lib.rs"), lambda file: str(file.relative_to(self.folder)))

    def test_downward_uses_are_free(self):
        self.assertEqual(self.faults(top="use crate::{bottom::Id, middle};", middle="fn f() { crate::bottom::g() }"), [])

    def test_an_upward_import_is_named_with_its_line(self):
        faults = self.faults(bottom="\nuse std::fmt;\nuse crate::middle::Sum;\n")
        self.assertEqual(faults, ["bottom.rs:3: bottom uses crate::middle::Sum, a room above it"])

    def test_each_branch_of_a_use_has_its_own_line(self):
        faults = self.faults(middle="use crate::{\n    bottom::Id,\n    top::{\n        A as B,\n        self,\n    },\n};\n")
        self.assertEqual([fault.split(": ")[0] for fault in faults], ["middle.rs:4", "middle.rs:5"])

    def test_paths_in_the_code_count_as_imports_do(self):
        self.assertEqual(len(self.faults(bottom="fn f() -> crate::top::T { super::middle::g() }")), 2)

    def test_a_macro_speaks_of_the_crate_too(self):
        self.assertEqual(len(self.faults(bottom="macro_rules! m { () => { $crate::top::T } }")), 1)

    def test_what_the_root_itself_has_is_above_all(self):
        faults = self.faults(bottom="use crate::Thing;", middle="use super::*;")
        self.assertEqual([fault.split(", ")[1] for fault in faults], ["which is in the module above it"] * 2)

    def test_rooms_that_use_each_other_are_named(self):
        faults = self.faults(bottom="use crate::middle::A;", middle="use crate::bottom::B;")
        self.assertIn("lib.rs: bottom and middle use each other", faults)

    def test_rooms_of_one_line_do_not_use_each_other(self):
        house = HOUSE.replace("//! middle  frame and sums\n//! bottom  names", "//! middle  bottom   frame")
        faults = self.faults(lib=house, middle="use crate::bottom::B;")
        self.assertEqual(faults, ["middle.rs:1: middle uses crate::bottom::B, a room on its own floor"])

    def test_visibility_comments_and_strings_are_no_uses(self):
        text = """
            //! [`crate::top::T`]
            /* use crate::top::T; /* nested */ use crate::top::T; */
            pub(in crate::top) fn f<'a>(c: char) -> &'a str { if c == '"' { "crate::top::T \\" crate::top::T" } else { r#"crate::top"# } }
        """
        self.assertEqual(self.faults(bottom=text), [])

    def test_tests_may_use_all(self):
        text = """
            #[cfg(test)]
            use crate::{top::A, middle};
            #[cfg(test)] mod tests { use crate::top::T; fn f() {} }
            #[cfg(all(test, unix))] #[inline] fn g<A, B>(a: A) -> crate::top::T { }
            struct S { #[cfg(test)] field: crate::top::T, other: u8 }
        """
        self.assertEqual(self.faults(bottom=text), [])
        self.assertEqual(self.faults(bottom="#[cfg(test)]\nmod tests;", bottom__tests="use crate::top::T;"), [])

    def test_code_without_tests_is_no_test(self):
        for gate in ("not(test)", 'feature = "measure"', "any(test, unix)", 'not(feature = "testing")'):
            self.assertEqual(len(self.faults(bottom=f"#[cfg({gate})]\nuse crate::top::T;")), 1, gate)

    def test_a_file_of_another_crate_is_not_looked_at(self):
        house = HOUSE + '#[path = "../../far/away.rs"]\nmod away;\n'
        self.assertEqual(self.faults(lib=house), [])

    def test_super_in_a_written_out_module_is_the_file(self):
        self.assertEqual(self.faults(bottom="mod inner { use super::X; use super::super::top::T; }")[0][:11], "bottom.rs:1")
        self.assertEqual(self.faults(bottom="mod inner { use super::X; }"), [])

    def test_product_code_uses_nothing_that_is_for_tests(self):
        middle = '#[cfg(any(test, feature = "testing"))]\npub mod helper;\n#[cfg(feature = "testing")]\npub fn hook() {}\n'
        faults = self.faults(middle=middle, middle__helper="", top="use crate::middle::helper::x;\nuse crate::middle::hook;\n")
        self.assertEqual(
            faults,
            ["top.rs:1: crate::middle::helper::x is only there for tests", "top.rs:2: crate::middle::hook is only there for tests"],
        )

    def test_a_house_within_a_room_has_its_own_floors(self):
        house = HOUSE.replace("//! A room", "//! Within: a room").replace("A room uses", "a room uses")
        files = {"bottom__mod": house, "bottom__bottom": "use crate::bottom::top::T;\n", "bottom__middle": "", "bottom__top": ""}
        (self.folder / "bottom.rs").unlink(missing_ok=True)
        self.write(lib=HOUSE, middle="", top="", **files)
        faults = check.check(modules.of_crate(self.folder / "lib.rs"), lambda file: str(file.relative_to(self.folder)))
        self.assertEqual(faults, ["bottom/bottom.rs:1: bottom uses crate::bottom::top::T, a room above it"])

    def test_a_room_that_is_not_drawn_is_a_fault(self):
        faults = self.faults(lib=HOUSE + "mod attic;\n", attic="")
        self.assertEqual(
            faults, ["lib.rs: attic is not in the picture of floors", "lib.rs: the picture leaves out attic"]
        )

    def test_a_room_that_is_only_drawn_is_a_fault(self):
        faults = self.faults(lib=HOUSE.replace("//! bottom", "//! cellar  gone\n//! bottom"))
        self.assertEqual(faults, ['lib.rs: the picture of floors has no room "cellar  gone"'])

    def test_a_large_folder_is_drawn_and_a_small_one_need_not_be(self):
        names = ["a", "b", "c", "d", "e"]
        files = {f"top__{name}": "" for name in names}
        (self.folder / "top.rs").unlink(missing_ok=True)
        self.assertEqual(self.undrawn(names[:4], files), [])
        self.assertEqual(len(self.undrawn(names, files)), 5)
        picture = "//! ```text\n//!  └─► a  b   two\n//! c  d   more, e too\n//! ```\n"
        self.assertEqual(self.undrawn(names, files, picture), ["top/mod.rs: the picture leaves out e"])

    def undrawn(self, names, files, picture=""):
        self.write(lib=HOUSE, bottom="", middle="", **files, top__mod=picture + "".join(f"mod {name};\n" for name in names))
        return check.check(modules.of_crate(self.folder / "lib.rs"), lambda file: str(file.relative_to(self.folder)))


class Copy(unittest.TestCase):
    def test_one_upward_import_in_the_packet_path_is_found(self):
        with tempfile.TemporaryDirectory(prefix="natlb-floors-") as folder:
            copy = pathlib.Path(folder) / "src"
            shutil.copytree(ROOT / "dataplane/src", copy)
            before = check.check(modules.of_crate(copy / "lib.rs"))
            file = copy / "wire/checksum.rs"
            file.write_text(file.read_text() + "\nuse crate::worker::Worker as _;\n")
            new = [fault for fault in check.check(modules.of_crate(copy / "lib.rs")) if fault not in before]
        line = len((ROOT / "dataplane/src/wire/checksum.rs").read_text().splitlines()) + 2
        self.assertTrue(new[0].endswith(f"wire/checksum.rs:{line}: wire uses crate::worker::Worker, a room above it"), new)
        self.assertTrue(new[1].endswith("wire and worker use each other"), new)
        self.assertEqual(len(new), 2)


class Known(unittest.TestCase):
    FAULTS = ["a.rs:12: a uses crate::b::C, a room above it"]

    def test_a_known_fault_is_passed_over_on_whatever_line(self):
        self.assertEqual(program.against(["a.rs: a uses crate::b"], self.FAULTS), ([], []))

    def test_another_fault_is_new_and_a_mended_one_has_to_go(self):
        self.assertEqual(program.against(["c.rs: c uses"], self.FAULTS), (self.FAULTS, ["c.rs: c uses"]))


class Reading(unittest.TestCase):
    def test_offsets_are_kept(self):
        text = "a /* b\n */ c // d\n\"e\ne\" f 'g' h<'i> r#\"j\"# k"
        code = source.read(text).code
        self.assertEqual(len(code), len(text))
        self.assertEqual(code.split(), ["a", "c", "f", "h<'i>", "k"])


if __name__ == "__main__":
    unittest.main()
