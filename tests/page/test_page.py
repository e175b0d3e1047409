"""The page for people, in Chromium: what it shows, and that it asks nobody else."""

import os
import re
import shutil
import subprocess
import time
import unittest
from pathlib import Path

from ..lab.testbed import REALS, ROOT, VIP, Testbed, Unavailable, wait_for
from .browser import Browser

URL = "http://127.0.0.1:9117/"
# An interface's name that would be more than text, if anything took it for HTML.
EVIL = "<b>eth1"
NOBREAK = "\u202f"
SERVICES = [("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 3), (f"{REALS['rs2']}:80", 2), (f"{REALS['rs3']}:80", 1)]),
            ("tcp", f"{VIP}:443", [(f"{REALS['rs1']}:80", 1), (f"{REALS['rs2']}:80", 0)]),
            ("udp", f"{VIP}:53", [(f"{REALS['rs1']}:53", 7)])]
# What the browser says itself while nobody answers.
NOBODY = "net::ERR_CONNECTION_REFUSED"
# Bytes that a page may ask for each second or two, however much there is.
MOST_BYTES = 200_000

# The rows of services as the page shows them: [name, weight, active, inactive, connections/s].
ROWS = """[...document.querySelectorAll('#services-rows tr')].map((row) =>
    [row.cells[0].firstChild.textContent, ...[1, 2, 3].map((at) => row.cells[at].firstChild.textContent), row.cells[4].title])"""
LINES = "[...document.querySelectorAll('.picture')].map((of) => of.querySelectorAll('path.line').length)"
STATE = "document.getElementById('state').textContent"


def setUpModule():
    """A lab with an lbd, and a browser on its machine."""
    if not shutil.which("chromium"):
        raise unittest.SkipTest("chromium is missing: scripts/setup test")
    try:
        bed = Testbed()
    except Unavailable as reason:
        raise unittest.SkipTest(str(reason)) from None
    unittest.addModuleCleanup(bed.remove)
    config = bed.config()
    config["control"]["metrics"] = "127.0.0.1:9117"
    config["route"] = [{"to": "172.16.0.0/12", "via": REALS["rs1"]}]
    port = config["port"][0]
    before = re.search(r"iface=(\w+)", port["device"])[1]
    for words in ((before, "down"), (before, "name", EVIL), (EVIL, "up")):
        bed.run("lb", "ip", "link", "set", *words)
    port["device"] = port["device"].replace(f"iface={before}", f"iface={EVIL}")
    running = bed.lbd(config, services=SERVICES)
    Lab.bed, Lab.daemon = bed, running.__enter__()
    unittest.addModuleCleanup(lambda: running.__exit__(None, None, None))
    Lab.browser = Browser(lambda *words: bed.command("lb", *words))
    unittest.addModuleCleanup(Lab.browser.close)
    Lab.browser.show(1600, 1000)


class Lab(unittest.TestCase):
    """What all of them need."""

    url = URL

    def setUp(self):
        self.browser.forget()
        self.browser.go(self.url)
        self.browser.until(STATE, "ready")

    def tearDown(self):
        complaints = [complaint for complaint in self.browser.complaints() if not self.may_say(complaint)]
        self.assertEqual(complaints, [], "in the browser's console")
        others = [url for url in self.browser.requests() if not url.startswith((self.url, "data:"))]
        self.assertEqual(others, [], "asked of others")

    def may_say(self, complaint):
        return False

    def rows(self):
        return self.browser.value(ROWS)

    def expected(self, command="rate"):
        """What the rows are to be, by lbctl."""
        rows = []
        for service in self.daemon.json(command)["services"]:
            reals = service["reals"]
            sums = [sum(real[key] for real in reals) for key in ("weight", "active", "inactive")]
            rows.append([f"{service['protocol']} {service['address']}:{service['port']}", *sums, service["conns"]])
            rows += [[f"{real['address']}:{real['port']}", real["weight"], real["active"], real["inactive"], real["conns"]]
                     for real in reals]
        return [[name, *map(grouped, numbers)] for name, *numbers in rows]


def grouped(number):
    return f"{number:,}".replace(",", NOBREAK)


class UnderLoad(Lab):
    """While clients ask for pages, each over a connection of its own."""

    @classmethod
    def setUpClass(cls):
        for port, rate in ((80, "60/s"), (443, "15/s")):
            url = f"http://{VIP}:{port}/?[1-100000]"
            words = ["curl", "-s", "--rate", rate, "-H", "Connection: close", "--max-time", "300", "-o", "/dev/null", url]
            client = cls.bed.spawn("client", *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            cls.addClassCleanup(lambda client=client: (client.kill(), client.wait()))
        # Frames that lbd drops, with their reason.
        cls.bed.run("client", "bash", "-c", f"for i in 1 2 3; do echo x >/dev/udp/{VIP}/99; done", check=False)
        assert wait_for(lambda: cls.daemon.service("rate")["conns"] > 0), "no connection is made"

    def test_rates_are_those_of_lbctl(self):
        # Connections change all the time, rates every other second; both are read one after the other.
        def rates(rows):
            return [[name, conns] for name, *_, conns in rows]
        same = wait_for(lambda: (found := rates(self.rows())) == rates(self.expected()) and found[0][1] != "0", pause=0.1)
        self.assertTrue(same, f"{self.rows()} are never {self.expected()}")
        self.assertEqual(self.browser.value("document.querySelector('#workers-rows th span').textContent"), "0")
        # Every number is one: nothing that lbd does not say has become NaN or undefined.
        text = self.browser.value("document.body.innerText")
        for word in ("NaN", "undefined", "null", "Infinity", "[object"):
            self.assertNotIn(word, text)

    def test_the_pictures_are_there_at_the_first_look(self):
        wait_for(lambda: self.browser.value("document.querySelector('path.line')?.getAttribute('d').split('L').length") > 4)
        self.browser.go(URL)
        points = self.browser.until("(document.querySelector('path.line')?.getAttribute('d').split('L').length || 0) > 4")
        self.assertTrue(points)
        self.assertLess(len([url for url in self.browser.requests() if "recent" in url]), 12)
        # In words too, and by the keys.
        label = "document.activeElement.getAttribute('aria-label')"
        self.browser.value("document.querySelectorAll('.picture svg')[2].focus()")
        self.assertRegex(self.browser.value(label), r"^New connections in /s, the last ten minutes\. new: now \d+, lowest \d+, highest \d+")
        self.browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
        self.browser.until(f"{label}.includes('10 s ago')")

    def test_it_is_fit_for_every_window(self):
        folder = Path(os.environ.get("PAGE_PICTURES", ROOT / "target" / "page"))
        folder.mkdir(parents=True, exist_ok=True)
        grounds = {}
        for name, width, height, scheme in (("light", 1600, 1000, "light"), ("dark", 1600, 1000, "dark"),
                                            ("tablet", 820, 1100, "dark"), ("narrow", 360, 780, "light")):
            self.browser.show(width, height, scheme)
            self.browser.go(URL)
            self.browser.until("document.querySelectorAll('#services-rows tr').length", 9)
            self.browser.until("document.querySelector('#workers-rows td:nth-child(3) span')?.textContent.match(/\\d/) !== null")
            self.browser.screenshot(folder / f"{name}.png")
            self.assertGreater((folder / f"{name}.png").stat().st_size, 20_000)
            self.assertLessEqual(self.browser.value("document.documentElement.scrollWidth"), width, name)
            inside = "[...document.querySelectorAll('.scroll')].filter((of) => of.scrollWidth > of.clientWidth).length"
            self.assertEqual(self.browser.value(inside), 0, f"{name}: a table is wider than its place")
            grounds[name] = self.browser.value("getComputedStyle(document.body).backgroundColor")
        self.assertNotEqual(grounds["light"], grounds["dark"])
        self.browser.show(1600, 1000)

    def test_whoever_does_not_see_it_is_told(self):
        nodes = self.browser.call("Accessibility.getFullAXTree")["nodes"]
        named = {}
        for node in nodes:
            if not node.get("ignored"):
                named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
        self.assertEqual(len(named["table"]), 4)
        self.assertEqual(len(named["image"]), 6)
        for role in ("table", "image", "button", "searchbox", "checkbox", "combobox", "heading", "columnheader"):
            self.assertTrue(all(named[role]), f"{role}: {named[role]}")
        for word in ("Services", "Workers", "Ports", "Drops", "Kept connections"):
            self.assertIn(word, named["heading"])
        # Narrow, a table is shown as none, and still is one.
        self.browser.show(360, 780)
        nodes = self.browser.call("Accessibility.getFullAXTree")["nodes"]
        roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
        self.assertEqual(roles.count("table"), 4)
        self.assertGreater(roles.count("rowheader"), 8)
        self.browser.show(1600, 1000)


class Quiet(Lab):
    """With connections that change no more."""

    def test_numbers_are_those_of_lbctl(self):
        self.bed.curls(30)
        self.bed.curls(5, f"http://{VIP}:443/")
        same = wait_for(lambda: self.rows() == self.expected(), pause=0.1)
        self.assertTrue(same, f"{self.rows()} are never {self.expected()}")
        self.assertGreater(sum(int(row[3]) for row in self.rows()), 0)
        facts = dict(self.browser.value("[...document.querySelectorAll('#facts div')].map((of) => [...of.children].map((of) => of.textContent))"))
        status = self.daemon.json("status")
        self.assertEqual((facts["version"], facts["configuration"]), (status["version"], str(status["config_version"])))
        self.assertEqual(self.browser.value("[...document.querySelectorAll('#notes-list li')].map((of) => of.textContent)"), status["notes"])

    def test_names_are_text_and_nothing_else_runs(self):
        self.browser.until(f"document.querySelector('#ports-rows .sub')?.textContent.includes('{EVIL}')")
        self.assertEqual(self.browser.value("document.querySelectorAll('b').length"), 0)
        # What a browser refuses, by the page's policy: a script that is not the page's own, a style, another host.
        self.browser.value("""(() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
            document.body.setAttribute('style', 'color: red');
        })()""")
        self.assertIsNone(self.browser.value("window.ran"))
        refused = self.browser.value("fetch('http://127.0.0.2:9117/').then(() => false, () => true)")
        self.assertTrue(refused)
        said = "\n".join(self.browser.complaints())
        self.browser.forget()
        for directive in ("script-src", "style-src", "connect-src"):
            self.assertIn(directive, said)

    def test_drops_are_shown_with_their_meaning(self):
        self.bed.run("client", "bash", "-c", f"for i in 1 2 3; do echo x >/dev/udp/{VIP}/99; done", check=False)
        drops = "Object.fromEntries([...document.querySelectorAll('#drops-rows tr')].map((row) => [row.cells[0].firstChild.textContent, row.cells[1].firstChild.textContent]))"
        wait_for(lambda: "no_service" in self.browser.value(drops), pause=0.1)
        same = wait_for(lambda: self.browser.value(drops) ==
                        {reason: grouped(count) for reason, count in self.daemon.json("status")["drops"].items()}, pause=0.1)
        self.assertTrue(same, self.browser.value(drops))
        self.assertIn("an own address, but no service", self.browser.value("document.getElementById('drops-rows').innerText"))
        self.browser.value("document.getElementById('all-drops').click()")
        self.assertGreater(self.browser.value("document.querySelectorAll('#drops-rows tr').length"), 40)

    def test_pause_asks_nothing(self):
        self.browser.value("document.getElementById('pause').click()")
        self.browser.until(STATE, "paused")
        self.browser.until("document.getElementById('pause').getAttribute('aria-pressed')", "true")
        def is_silent():
            self.browser.forget()
            time.sleep(2.5)  # longer than it pauses between two questions
            return self.browser.requests() == []
        # What was asked before may still lead to a question.
        self.assertTrue(wait_for(is_silent))
        self.browser.value("document.getElementById('pause').click()")
        self.browser.until(STATE, "ready")


class Large(Lab):
    """With 4,096 services of 16 reals each."""

    @classmethod
    def setUpClass(cls):
        lines = []
        for service in range(4096):
            listen = f"-t {VIP}:{1000 + service}"
            lines.append(f"-A {listen} -s wrr")
            lines += [f"-a {listen} -r 172.16.{service // 256}.{service % 256}:{8000 + real} -m -w {1 + real}" for real in range(16)]
        cls.daemon.ctl("restore", input="\n".join(lines) + "\n")

    def test_they_are_searched_in_pages(self):
        count = "document.getElementById('services-count').textContent"
        place = "document.getElementById('place').textContent"
        rows = "document.querySelectorAll('#services-rows tr').length"
        first = "document.querySelector('#services-rows th span')?.textContent"
        self.browser.until(count, f"{grouped(4096)} services, {grouped(65536)} reals")
        self.assertEqual((self.browser.value(rows), self.browser.value(place)), (25 * 17, f"1 to 25 of {grouped(4096)}"))
        self.assertTrue(self.browser.value("document.getElementById('previous').disabled"))
        self.browser.value("document.getElementById('next').click()")
        self.browser.until(first, f"TCP {VIP}:1025")
        self.assertEqual(self.browser.value(place), f"26 to 50 of {grouped(4096)}")
        # By typing, after the key that leads there.
        self.browser.call("Input.dispatchKeyEvent", type="keyDown", key="/", text="/")
        self.assertEqual(self.browser.value("document.activeElement.id"), "search")
        self.browser.call("Input.insertText", text="172.16.2.7:8002")
        self.browser.until(place, "1 to 1 of 1")
        self.assertEqual([row[0] for row in self.rows()], [f"TCP {VIP}:1519", "172.16.2.7:8002"])
        # It is still so after a reload, and the way back leads to all.
        self.browser.reload()
        self.browser.until(place, "1 to 1 of 1")
        self.assertEqual(self.browser.value("document.getElementById('search').value"), "172.16.2.7:8002")
        self.browser.value("""(() => {
            const search = document.getElementById('search');
            search.value = 'no such <b>';
            search.dispatchEvent(new Event('input'));
        })()""")
        self.browser.until("document.getElementById('services-none').checkVisibility() && document.getElementById('services-none').textContent", "None matches.")
        self.assertEqual(self.browser.value(rows), 0)
        self.browser.value("""(() => {
            const set = (id, value) => {
                const field = document.getElementById(id);
                field.value = value;
                field.dispatchEvent(new Event(id === 'search' ? 'input' : 'change'));
            };
            set('search', '');
            set('size', '100');
            document.getElementById('reals').click();
        })()""")
        self.browser.until(rows, 100)
        self.browser.value("""for (const [id, value] of [['size', '10']]) {
            document.getElementById(id).value = value;
            document.getElementById(id).dispatchEvent(new Event('change'));
        }""")
        self.browser.until(rows, 10)

    def test_what_it_asks_for_is_bounded(self):
        wait_for(lambda: len([url for url in self.browser.requests() if "services" in url]) >= 3)
        sizes = self.browser.value("performance.getEntriesByType('resource').map((of) => [of.name, of.transferSize])")
        self.assertGreater(len(sizes), 5)
        for url, size in sizes:
            self.assertLess(size, MOST_BYTES, url)


# A proxy with the page below a path of its own: /lb1/.
PROXY = f"""
import http.server, urllib.request
class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith("/lb1/"):
            return self.send_error(404)
        with urllib.request.urlopen("{URL}" + self.path.removeprefix("/lb1/")) as answer:
            body = answer.read()
            self.send_response(200)
            for name in ("Content-Type", "Content-Security-Policy"):
                self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 9180), Proxy).serve_forever()
"""


class Proxied(Lab):
    """Behind a proxy."""

    url = "http://127.0.0.1:9180/lb1/"

    @classmethod
    def setUpClass(cls):
        proxy = cls.bed.spawn("lb", "python3", "-c", PROXY, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(lambda: (proxy.kill(), proxy.wait()))
        assert wait_for(lambda: cls.bed.run("lb", "curl", "-sf", f"{cls.url}healthz", check=False).returncode == 0)

    def test_it_may_stand_below_a_path(self):
        wait_for(lambda: self.rows() == self.expected())
        self.assertEqual(self.rows(), self.expected())
        links = "[...document.querySelectorAll('footer a')].map((link) => link.href)"
        self.assertEqual(self.browser.value(links), [f"{self.url}metrics", f"{self.url}api/v1/status"])


class Restarted(Lab):
    """While lbd goes and comes back."""

    def may_say(self, complaint):
        return NOBODY in complaint

    def test_it_says_that_nobody_answers_and_goes_on(self):
        self.browser.value("window.isTheSame = true")
        self.browser.until(f"{LINES}[2] === 1 && document.querySelector('path.line').getAttribute('d').split('L').length > 2")
        self.bed.curls(20)
        self.assertEqual(self.daemon.stop(), 0)
        self.browser.until(STATE, "no answer")
        away = "document.getElementById('away')"
        self.assertRegex(self.browser.value(f"{away}.checkVisibility() && {away}.textContent"), "^lbd does not answer since .*Trying again.$")
        self.assertIn("no answer", self.browser.value("document.title"))
        self.daemon.start()
        self.browser.until(STATE, "ready")
        self.browser.until(f"{away}.checkVisibility()", False)
        self.assertTrue(self.browser.value("window.isTheSame"), "without a reload")
        # A gap: two lines where there was one; and no spike, though all counters began anew.
        self.browser.until(f"{LINES}[2]", 2)
        axis = "document.querySelectorAll('.picture svg')[2].querySelector('text').textContent"
        self.assertRegex(self.browser.value(axis), r"^\d{1,3}$")


CASES = (Quiet, UnderLoad, Proxied, Restarted, Large)
