"""Each alert of scripts/metrics/alerts.yml: series with which it fires, and with which none does.

promtool computes the rules on series that are made here, one sample every 15 s from its time 0 on. A case changes some
series of a daemon that is well; all alerts that it does not expect must be silent.
"""

import json
import re
import tempfile
import unittest
from dataclasses import dataclass, field
from pathlib import Path

from . import promtool

RULES = Path(__file__).resolve().parents[2] / "scripts/metrics/alerts.yml"
STEP = 15
# 30 minutes.
STEPS = 120
# What Prometheus adds.
SCRAPED = {"job": "natlb", "instance": "lb1:9117"}
LONG_AGO = -100_000


def level(value):
    """A series that stays at this."""
    return f"{value}+0x{STEPS}"


def growing(by):
    """A counter that grows by so much at every sample."""
    return f"0+{by}x{STEPS}"


def steps(*values):
    """(value, seconds): at this value for so long, and at the last one until the end."""
    parts = [f"{value}+0x{seconds // STEP - 1}" for value, seconds in values[:-1]]
    return " ".join([*parts, level(values[-1][0])])


def never():
    """No sample: the series is not there."""
    return f"_x{STEPS}"


WEB = 'protocol="TCP",address="192.168.10.100",port="80"'
WEB6 = 'protocol="TCP",address="2001:db8:10::100",port="80"'
# A daemon that is well, busy and not new: two workers, of which the second has no IPv6, and two ports.
WELL = {
    "up": level(1),
    "natlb_ready": level(1),
    "natlb_start_time_seconds": level(LONG_AGO),
    "natlb_notes": level(0),
    "natlb_metrics_omitted_reals": level(0),
    f"natlb_service_reals_available{{{WEB}}}": level(2),
    f"natlb_service_reals_available{{{WEB6}}}": level(1),
    'natlb_worker_turns_total{worker="0"}': growing(1_000_000),
    'natlb_worker_turns_total{worker="1"}': growing(1),
    'natlb_worker_seconds_total{worker="0"}': growing(STEP),
    'natlb_worker_seconds_total{worker="1"}': growing(STEP),
    'natlb_worker_busy_seconds_total{worker="0"}': growing(0.85 * STEP),
    'natlb_worker_busy_seconds_total{worker="1"}': growing(0),
    'natlb_worker_connections{worker="0"}': level(1600),
    'natlb_worker_connections{worker="1"}': level(800),
    'natlb_worker_connections_ipv6{worker="0"}': level(800),
    'natlb_worker_connections_ipv6{worker="1"}': level(0),
    'natlb_worker_capacity{worker="0"}': level(1000),
    'natlb_worker_capacity{worker="1"}': level(1000),
    'natlb_worker_capacity_ipv6{worker="0"}': level(1000),
    'natlb_worker_capacity_ipv6{worker="1"}': level(0),
    'natlb_worker_evicted_total{worker="0"}': level(7),
    'natlb_worker_evicted_total{worker="1"}': level(0),
    'natlb_drops_total{reason="no_real"}': level(7),
    'natlb_drops_total{reason="table_full"}': level(7),
    'natlb_drops_total{reason="next_hop_queue_full"}': level(7),
    'natlb_drops_total{reason="no_service"}': growing(100),
    'natlb_port_link_up{port="vip0",side="vip"}': level(1),
    'natlb_port_link_up{port="dip0",side="dip"}': level(1),
    'natlb_port_rx_missed_total{port="vip0",side="vip"}': level(7),
    'natlb_port_buffers_in_use{port="vip0",side="vip"}': level(4000),
    'natlb_port_buffers_in_use{port="dip0",side="dip"}': level(4000),
    'natlb_port_buffers{port="vip0",side="vip"}': level(8192),
    'natlb_port_buffers{port="dip0",side="dip"}': level(8192),
    'natlb_neighbours{state="reachable"}': level(3),
    'natlb_neighbours{state="failed"}': level(0),
}


@dataclass
class Case:
    """`changes` of the series of a daemon that is well; after so many `seconds` the alert fires, with these labels
    besides those of Prometheus, and this summary. It is silent after `quiet` seconds: `for` has not passed."""

    alert: str
    severity: str
    summary: str
    changes: dict
    seconds: int
    quiet: int = 0
    labels: dict = field(default_factory=dict)
    scraped: dict = field(default_factory=lambda: SCRAPED)


CASES = [
    Case("NatlbDown", "critical", "lb1:9117: lbd is not scraped", {name: never() for name in WELL} | {"up": level(0)},
         seconds=30, quiet=15),
    Case("NatlbNotReady", "critical", "lb1:9117: a worker has not taken the configuration", {"natlb_ready": level(0)},
         seconds=30, quiet=15),
    Case("NatlbWorkerStands", "critical", "lb1:9117: worker 1 stands still",
         {'natlb_worker_turns_total{worker="1"}': level(5000), 'natlb_worker_seconds_total{worker="1"}': level(5000)},
         seconds=75, quiet=60, labels={"worker": "1"}),
    Case("NatlbLinkDown", "critical", "lb1:9117: port dip0 has no link",
         {'natlb_port_link_up{port="dip0",side="dip"}': level(0)},
         seconds=30, quiet=15, labels={"port": "dip0", "side": "dip"}),
    Case("NatlbServiceWithoutReals", "critical",
         "lb1:9117: TCP service 2001:db8:10::100, port 80, has no real that gets connections",
         {f"natlb_service_reals_available{{{WEB6}}}": level(0)},
         seconds=60, quiet=45, labels={"protocol": "TCP", "address": "2001:db8:10::100", "port": "80"}),
    Case("NatlbTableNearlyFull", "warning", "lb1:9117: the connection table of worker 0 is 90% full",
         {'natlb_worker_connections{worker="0"}': level(1700)},
         seconds=300, quiet=285, labels={"worker": "0"}),
    # IPv6 has a table of its own.
    Case("NatlbTableNearlyFull", "warning", "lb1:9117: the connection table of worker 0 is 95% full",
         {'natlb_worker_connections{worker="0"}': level(1000), 'natlb_worker_connections_ipv6{worker="0"}': level(950)},
         seconds=300, quiet=285, labels={"worker": "0"}),
    Case("NatlbConnectionsLost", "warning", "lb1:9117: connections give way to new ones on worker 0",
         {'natlb_worker_evicted_total{worker="0"}': steps((7, 60), (8, 0))},
         seconds=120, quiet=105, labels={"worker": "0"}),
    Case("NatlbOutOfRoom", "warning", "lb1:9117: 2 packets a second are dropped for want of room (table_full)",
         {'natlb_drops_total{reason="table_full"}': growing(30)},
         seconds=315, quiet=300, labels={"reason": "table_full"}, scraped={"instance": "lb1:9117"}),
    Case("NatlbNoReal", "warning", "lb1:9117: clients ask for services that have no available real",
         {'natlb_drops_total{reason="no_real"}': growing(1)},
         seconds=315, quiet=300, scraped={"instance": "lb1:9117"}),
    Case("NatlbFramesMissed", "warning", "lb1:9117: port vip0 loses 2 frames a second before lbd sees them",
         {'natlb_port_rx_missed_total{port="vip0",side="vip"}': growing(30)},
         seconds=315, quiet=300, labels={"port": "vip0", "side": "vip"}),
    Case("NatlbBuffersShort", "warning", "lb1:9117: 93.75% of the buffers of port dip0 are in use",
         {'natlb_port_buffers_in_use{port="dip0",side="dip"}': level(7680)},
         seconds=120, quiet=105, labels={"port": "dip0", "side": "dip"}),
    Case("NatlbWorkerBusy", "warning", "lb1:9117: worker 0 is 96% busy",
         {'natlb_worker_seconds_total{worker="0"}': growing(25), 'natlb_worker_busy_seconds_total{worker="0"}': growing(24)},
         seconds=615, quiet=600, labels={"worker": "0"}),
    Case("NatlbNeighboursFailed", "warning", "lb1:9117: 2 next hops do not answer",
         {'natlb_neighbours{state="failed"}': level(2)},
         seconds=120, quiet=105, labels={"state": "failed"}),
    Case("NatlbNotes", "info", "lb1:9117: lbctl status has 3 notes", {"natlb_notes": level(3)}, seconds=600, quiet=585),
    Case("NatlbRealsOmitted", "info",
         "lb1:9117: 4000 reals have no metrics of their own ([control] metrics_reals)",
         {"natlb_metrics_omitted_reals": level(4000)},
         seconds=600, quiet=585),
    Case("NatlbStarted", "info", "lb1:9117: lbd was started", {"natlb_start_time_seconds": steps((LONG_AGO, 60), (50, 0))},
         seconds=60, quiet=45),
]

# Changes that are no reason for an alert.
HARMLESS = {
    "nothing": {},
    "one of several reals is drained": {f"natlb_service_reals_available{{{WEB}}}": steps((2, 60), (1, 0))},
    "a service is without reals while it is made": {f"natlb_service_reals_available{{{WEB}}}": steps((0, 45), (2, 0))},
    "a link comes up": {'natlb_port_link_up{port="vip0",side="vip"}': steps((0, 15), (1, 0))},
    "a configuration that is taken late": {"natlb_ready": steps((1, 60), (0, 15), (1, 0))},
    "a start two minutes ago": {"natlb_start_time_seconds": level(-120)},
    "a worker that has no turn yet": {'natlb_worker_seconds_total{worker="1"}': level(0)},
    "tables and buffers at the limit": {
        'natlb_worker_connections{worker="1"}': level(850),
        'natlb_port_buffers{port="vip0",side="vip"}': level(10_000),
        'natlb_port_buffers_in_use{port="vip0",side="vip"}': level(9_000),
    },
    "a port whose driver counts no losses": {'natlb_port_rx_missed_total{port="vip0",side="vip"}': never()},
    "a host that a client has asked for": {'natlb_neighbours{state="failed"}': steps((0, 60), (1, 15), (0, 0))},
    # What lbd has counted begins at 0. What comes before workers and next hops are there is lost once.
    "a restart under load": {
        "up": steps((1, 60), (0, 15), (1, 0)),
        'natlb_worker_turns_total{worker="0"}': f"0+1000000x3 _ 0+1000000x{STEPS}",
        'natlb_worker_turns_total{worker="1"}': f"0+1x3 _ 0+1x{STEPS}",
        'natlb_port_rx_missed_total{port="vip0",side="vip"}': steps((7, 60), (300, 0)),
        'natlb_drops_total{reason="next_hop_queue_full"}': steps((7, 60), (300, 0)),
        'natlb_drops_total{reason="no_real"}': steps((7, 60), (300, 0)),
    },
}


def rules():
    """The alerts by name, each with its description, or none."""
    found = {}
    for part in re.split(r"(?m)^ *- alert: *", RULES.read_text())[1:]:
        description = re.search(r'(?m)^ *description: "(.*)"$', part)
        found[part.split("\n", 1)[0]] = description and description[1]
    return found


def series(changes):
    """The series of a daemon that is well, with these changes, in promtool's words."""
    unknown = changes.keys() - WELL.keys()
    assert not unknown, f"{unknown} would add to what is there, and change nothing of it"
    scraped = ",".join(f'{name}="{value}"' for name, value in SCRAPED.items())

    def named(metric):
        name, _, labels = metric.removesuffix("}").partition("{")
        return f"{name}{{{scraped}{labels and ','}{labels}}}"

    return [{"series": named(metric), "values": values} for metric, values in (WELL | changes).items()]


def group(name, changes, expected):
    """A test of promtool. `expected`: by the second, the alerts that fire then, and what promtool expects of them; all
    others are silent."""
    checks = [{"eval_time": f"{second}s", "alertname": alert, "exp_alerts": alerts.get(alert, [])}
              for second, alerts in expected.items() for alert in rules()]
    return {"name": name, "interval": f"{STEP}s", "input_series": series(changes), "alert_rule_test": checks}


def fires(case):
    annotations = {"summary": case.summary}
    description = rules()[case.alert]
    if description:
        annotations["description"] = description
    alert = {"exp_labels": case.scraped | {"severity": case.severity} | case.labels, "exp_annotations": annotations}
    return group(f"{case.alert} {case.labels}", case.changes, {case.quiet: {}, case.seconds: {case.alert: [alert]}})


def judged(groups):
    """promtool's exit code, and what it says of these tests; its files of tests are YAML, which JSON is."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"rule_files": [str(RULES)], "evaluation_interval": f"{STEP}s", "tests": groups}, file)
        file.flush()
        return promtool.run("test", "rules", file.name)


class Alerts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            promtool.path()
        except promtool.Missing as reason:
            raise unittest.SkipTest(str(reason))

    def assert_well(self, groups):
        code, printed = judged(groups)
        self.assertEqual(code, 0, printed)

    def test_promtool_takes_the_rules(self):
        code, printed = promtool.run("check", "rules", RULES)
        self.assertEqual(code, 0, printed)
        # None is overlooked here.
        self.assertIn(f"SUCCESS: {len(rules())} rules found", printed)

    def test_every_alert_has_a_case_and_fires_in_it_alone(self):
        self.assertEqual({case.alert for case in CASES}, set(rules()))
        self.assert_well([fires(case) for case in CASES])

    def test_what_is_harmless_alerts_nobody(self):
        for name, changes in HARMLESS.items():
            with self.subTest(name):
                self.assert_well([group(name, changes, {second: {} for second in range(0, STEP * STEPS, STEP)})])

    def test_a_case_that_does_not_hold_is_found(self):
        (case,) = [case for case in CASES if case.alert == "NatlbNotes"]
        for wrong in ({"summary": "3"}, {"severity": "warning"}, {"seconds": case.quiet}, {"changes": {}}):
            code, printed = judged([fires(Case(**vars(case) | wrong))])
            self.assertNotEqual(code, 0, wrong)
            self.assertIn("alertname: NatlbNotes", printed)
