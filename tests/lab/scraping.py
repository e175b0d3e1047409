"""Metrics over HTTP, and what the parsers of Prometheus' own client make of them."""

import http.client
import json
import socket
import subprocess
from pathlib import Path

from .testbed import PATIENCE

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
# What Prometheus 3 says that it takes.
ACCEPT = ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;"
          "version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")

# By Debian's Python, which has python3-prometheus-client; the one that runs the tests may be another.
PARSER = """
import json, sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics
parse = {"text": parser, "openmetrics": openmetrics}[sys.argv[1]].text_string_to_metric_families
families = list(parse(sys.stdin.read()))
json.dump({"types": {family.name: family.type for family in families},
           "samples": [[sample.name, sample.labels, sample.value] for family in families for sample in family.samples]},
          sys.stdout)
"""


class Place:
    """Where metrics are served: a port on 127.0.0.1 of the lab's lb, or a Unix socket."""

    def __init__(self, bed, port=None, path=None):
        self.bed, self.port, self.path = bed, port, path
        self.name = f"127.0.0.1:{port}" if port else f"unix:{path}"

    def connect(self):
        with self.bed.inside("lb"):
            client = socket.socket(socket.AF_INET if self.port else socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        try:
            client.connect(("127.0.0.1", self.port) if self.port else str(self.path))
        except BaseException:
            client.close()
            raise
        return client

    def ask(self, method="GET", path="/metrics", **headers):
        """The status, the content type and the body."""
        connection = http.client.HTTPConnection("lbd", timeout=PATIENCE)
        connection.sock = self.connect()
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type"), answer.read().decode()
        finally:
            connection.close()

    def scrape(self, accept=None, query=""):
        status, content_type, text = self.ask(path=f"/metrics{query}", **({"Accept": accept} if accept else {}))
        assert status == 200, text
        return Scrape(text, content_type)


class Scrape:
    """A scrape as Prometheus' own client reads it."""

    def __init__(self, text, content_type=TEXT):
        self.text, self.content_type = text, content_type
        form = {OPENMETRICS: "openmetrics", TEXT: "text"}[content_type]
        done = subprocess.run(["/usr/bin/python3", "-c", PARSER, form], input=text, capture_output=True, text=True,
                              timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        parsed = json.loads(done.stdout)
        self.types = parsed["types"]
        self.samples = {}
        for name, labels, value in parsed["samples"]:
            key = name, tuple(sorted(labels.items()))
            assert key not in self.samples, f"twice: {key}"
            self.samples[key] = value

    def value(self, name, **labels):
        return self.samples[name, tuple(sorted(labels.items()))]

    def all(self, name):
        """The samples of this name: labels and value."""
        return [(dict(labels), value) for (of, labels), value in self.samples.items() if of == name]


def drop_reasons():
    """Every reason that is explained to operators."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
    table = page.split("## Every drop reason")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in row.split("|")[1].replace("`", "").replace(",", " ").split()}
