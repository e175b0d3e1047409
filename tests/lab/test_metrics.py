"""Metrics over HTTP: what a scrape says is what lbctl says, and whoever asks nonsense disturbs nobody."""

import contextlib
import http.client
import os
import socket
import time

from ..metrics import promtool
from .families import BOTH
from .runner import Skip, test
from .scraping import ACCEPT, OPENMETRICS, TEXT, Place, Scrape, drop_reasons
from .testbed import background, wait_for

PORT = 9117
# What the first of these is called in metrics, and what stands behind it.
OF_STATS = [("conns", "connections", {}), ("in_packets", "packets", {"direction": "in"}),
            ("out_packets", "packets", {"direction": "out"}), ("in_bytes", "bytes", {"direction": "in"}),
            ("out_bytes", "bytes", {"direction": "out"})]
NODE_IPVS = [("conns", "connections"), ("in_packets", "incoming_packets"), ("out_packets", "outgoing_packets"),
             ("in_bytes", "incoming_bytes"), ("out_bytes", "outgoing_bytes")]
# Connections at once that are answered, and those that are held at all.
CLIENTS = 8
MANY = 100


@contextlib.contextmanager
def lbd_with(bed, place, **control):
    config = bed.config()
    config["control"] |= {"metrics": place.name} | control
    services = [("tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool(weights=(1, 3))),
                ("udp", bed.ip.at(bed.ip.vip, 53), bed.ip.pool(weights=(0, 2), port=53))]
    with bed.lbd(config, services) as lbd:
        yield lbd


def places(bed):
    return Place(bed, port=PORT), Place(bed, path=bed.dir / "metrics.sock")


def labels_of(service):
    return {"protocol": service["protocol"].upper(), "address": service["address"], "port": str(service["port"])}


def labels_of_real(service, real):
    return labels_of(service) | {"real": real["address"], "real_port": str(real["port"])}


def everything(lbd):
    """What lbctl prints in JSON."""
    return {"list": lbd.json("list")["services"], "stats": lbd.json("stats")["services"], "status": lbd.json("status")}


def meanwhile(lbd, scrape):
    """What lbctl says before a scrape, the scrape, and what it says then; services and reals have not counted between:
    the last packet of a connection may still have been under way."""
    pair = lambda said: (said["list"], said["stats"])
    for _ in range(20):
        before, scraped, after = everything(lbd), scrape(), everything(lbd)
        if pair(before) == pair(after):
            return before, scraped, after
        time.sleep(0.5)
    raise AssertionError(f"services go on counting: {before} {after}")


def services_agree(scrape, said):
    for service in said["stats"]:
        of_service, labels = service["reals"], labels_of(service)
        for key, name, direction in OF_STATS:
            assert scrape.value(f"natlb_service_{name}_total", **labels, **direction) == service[key], (key, service)
            for real in of_service:
                of_real = labels_of_real(service, real)
                assert scrape.value(f"natlb_real_{name}_total", **of_real, **direction) == real[key], (key, real)
    for service in said["list"]:
        reals, labels = service["reals"], labels_of(service)
        for key in ("active", "inactive"):
            assert scrape.value(f"natlb_service_{key}", **labels) == sum(real[key] for real in reals), service
        assert scrape.value("natlb_service_reals", **labels) == len(reals), service
        assert scrape.value("natlb_service_reals_available", **labels) == sum(real["weight"] > 0 for real in reals), service
        for real in reals:
            for key in ("active", "inactive", "weight"):
                assert scrape.value(f"natlb_real_{key}", **labels_of_real(service, real)) == real[key], real
    count = lambda name: len({labels["address"] + labels["port"] + labels["protocol"] for labels, _ in scrape.all(name)})
    assert count("natlb_service_active") == len(said["list"]) == 2


def node_ipvs_agrees(scrape, said):
    for key, name in NODE_IPVS:
        total = sum(service[key] for service in said["stats"])
        assert scrape.value(f"node_ipvs_{name}_total") == total, (name, total)
    for service in said["list"]:
        for real in service["reals"]:
            labels = {"proto": service["protocol"].upper(), "local_address": service["address"],
                      "local_port": str(service["port"]), "remote_address": real["address"],
                      "remote_port": str(real["port"]), "local_mark": ""}
            for key, name in [("active", "connections_active"), ("inactive", "connections_inactive"), ("weight", "weight")]:
                assert scrape.value(f"node_ipvs_backend_{name}", **labels) == real[key], (name, real)


def find(scrape, about, key, labels):
    """The value of a number of `status`, in what `status` measures it in, and by how much it may be off: seconds are
    written in decimal, and so not to the last nanosecond. None: the scrape has none."""
    seconds = f"{key.removesuffix('nanoseconds').rstrip('_')}_seconds".removeprefix("total_").removeprefix("_")
    for name, factor, off in [(key, 1, 0), (seconds, 1e9, 1)]:
        for candidate in (f"{about}_{name}_total", f"{about}_{name}"):
            if (candidate, tuple(sorted(labels.items()))) in scrape.samples:
                return scrape.value(candidate, **labels) * factor, off
    return None


def status_agrees(scrape, before, after):
    """All numbers that `status` has of workers, ports and drops are in the scrape and lie between the two answers."""
    found = 0
    kinds = [("workers", "natlb_worker", lambda worker: {"worker": str(worker["id"])}),
             ("ports", "natlb_port", lambda port: {"port": port["name"], "side": port["side"]})]
    # Means, not counts; and what a driver does not count, which `status` has as 0.
    left_out = {"id", "busy_share", "cycles_per_packet", "packets_per_burst", "rx_missed_known", "mtu"}
    for kind, about, labels_of_one in kinds:
        for one, then in zip(before[kind], after[kind], strict=True):
            unknown = {"rx_missed", "rx_nobuf"} if not one.get("rx_missed_known", True) else set()
            numbers = {key for key, value in one.items() if isinstance(value, (int, bool))} - left_out - unknown
            for key in numbers:
                number = find(scrape, about, key, labels_of_one(one))
                assert number, f"{about} lacks {key}"
                value, off = number
                low, high = sorted((one[key], then[key]))
                assert low - off <= value <= high + off, (kind, key, low, value, high)
                found += 1
    assert found > 60, found
    drops = {labels["reason"]: value for labels, value in scrape.all("natlb_drops_total")}
    assert drops.keys() == drop_reasons(), drops.keys() ^ drop_reasons()
    for reason, value in drops.items():
        assert before["drops"].get(reason, 0) <= value <= after["drops"].get(reason, 0), (reason, value)
    assert scrape.value("natlb_config_version") == after["config_version"]
    assert scrape.value("natlb_notes") == len(after["notes"]), after["notes"]
    assert scrape.all("natlb_build_info") == [({"version": after["version"], "dpdk": after["dpdk"]}, 1.0)]
    assert scrape.value("natlb_connections_kept") == (after["kept"]["where"] is not None)


@test(families=BOTH)
def a_scrape_says_what_lbctl_says(bed):
    for place in places(bed):
        with lbd_with(bed, place, metrics_names=["natlb", "node_ipvs"]) as lbd:
            bed.curls(6)
            # A port without a service.
            bed.run("client", "curl", "-sS", "--max-time", 10, bed.ip.url(port=81), check=False)
            wait_for(lambda: lbd.ctl("connections").count(" TIME_WAIT ") == 6)
            for accept, content_type in [(None, TEXT), ("*/*", TEXT), (ACCEPT, OPENMETRICS)]:
                before, scrape, after = meanwhile(lbd, lambda: place.scrape(accept))
                assert scrape.content_type == content_type
                services_agree(scrape, after)
                node_ipvs_agrees(scrape, after)
                status_agrees(scrape, before["status"], after["status"])
                assert scrape.value("natlb_drops_total", reason="no_service") >= 1
                assert scrape.value("natlb_ready") == 1
            # The text for a file is of the same form.
            before, scrape, after = meanwhile(lbd, lambda: Scrape(lbd.ctl("metrics")))
            services_agree(scrape, after)
            assert scrape.samples.keys() == place.scrape().samples.keys()
            assert place.ask(path="/healthz")[::2] == (200, "ok\n")
        if place.path:
            assert not place.path.exists()


@test(families=BOTH)
def promtool_finds_nothing_wrong_in_a_scrape(bed):
    try:
        promtool.path()
    except promtool.Missing as reason:
        raise Skip(reason)
    place = places(bed)[1]
    with lbd_with(bed, place, metrics_names=["natlb", "node_ipvs"]) as lbd:
        bed.curls(2)
        texts = {"by HTTP": place.scrape().text, "by lbctl": lbd.ctl("metrics"),
                 "of a service": place.scrape(query=f"?service={bed.ip.at(bed.ip.vip, 80)}").text}
        for where, text in texts.items():
            for name in ("natlb_service_active{", "natlb_real_weight{", "node_ipvs_backend_weight{"):
                assert f"\n{name}" in text, (where, name)
            assert "\nnatlb_ready " in text or where == "of a service"
            complaints = promtool.complaints_of_metrics(text)
            assert not complaints, f"{where}: {complaints}"
    # What is wrong is found: a line that is none, and a family that is not described.
    for wrong in ("natlb_ready{ 1\n", "natlb_ready 1\n"):
        assert promtool.complaints_of_metrics(wrong), wrong


@test()
def names_of_node_exporter_only_on_request_and_one_service_by_itself(bed):
    place = places(bed)[1]
    with lbd_with(bed, place, metrics_reals=3) as lbd:
        bed.curls(2)
        scrape = place.scrape()
        names = {name for name, _ in scrape.samples}
        assert all(name.startswith("natlb_") for name in names), names
        # There are four reals.
        assert scrape.value("natlb_metrics_omitted_reals") == 4 and not scrape.all("natlb_real_weight")
        web = bed.ip.at(bed.ip.vip, 80)
        _, scrape, after = meanwhile(lbd, lambda: place.scrape(query=f"?service={web}"))
        (service,) = [service for service in after["list"] if service["port"] == 80]
        assert [labels for labels, _ in scrape.all("natlb_service_active")] == [labels_of(service)]
        weights = {labels["real"]: value for labels, value in scrape.all("natlb_real_weight")}
        assert weights == {real["address"]: real["weight"] for real in service["reals"]}
        assert place.ask(path="/metrics?service=web")[::2] == \
            (400, 'service: expected VIP:PORT, or tcp://VIP:PORT, found "web"\n')


class Scraping:
    """Asks for metrics again and again."""

    def __init__(self, place):
        self.place, self.over, self.faults, self.count = place, False, [], 0
        self.thread = background(self.scrape)

    def scrape(self):
        while not self.over:
            try:
                status, content_type, text = self.place.ask(Accept=ACCEPT)
                if (status, content_type) != (200, OPENMETRICS) or not text.endswith("# EOF\n"):
                    self.faults.append(f"{status} {content_type} {text[-80:]!r}")
                self.count += 1
            except (OSError, http.client.HTTPException) as fault:
                self.faults.append(repr(fault))
            time.sleep(0.01)

    def finish(self):
        assert wait_for(lambda: self.count > 0 or self.faults), "nothing was asked"
        self.over = True
        self.thread.join()
        return self.faults


@test()
def scrapes_go_on_over_a_take_over_and_say_what_was_inherited(bed):
    for place in places(bed):
        with lbd_with(bed, place) as lbd:
            # In the second place what the first has left is given up.
            inheritance_agrees(lbd, place)
            bed.curls(4)
            wait_for(lambda: lbd.ctl("connections").count(" TIME_WAIT ") == 4)
            scraping = Scraping(place)
            lbd.take_over()
            faults = scraping.finish()
            assert not faults, faults[:3]
            assert inheritance_agrees(lbd, place)["connections"] >= 4


def inheritance_agrees(lbd, place):
    """What was taken over from an lbd before, which is None if there was none."""
    inherited = lambda: lbd.json("status")["kept"]["inherited"]
    assert wait_for(lambda: not (inherited() or {}).get("in_progress"))
    inherited, scrape = inherited(), place.scrape()
    if inherited is None:
        assert not [name for name, _ in scrape.samples if name.startswith("natlb_inherit")]
        return None
    assert scrape.value("natlb_inherited_connections") == inherited["connections"]
    assert scrape.value("natlb_inheriting") == inherited["in_progress"]
    gap = [value for _, value in scrape.all("natlb_inherited_gap_seconds")]
    assert gap == ([] if inherited["gap_ms"] is None else [inherited["gap_ms"] / 1e3])
    given_up = {labels["reason"]: value for labels, value in scrape.all("natlb_inherited_given_up")}
    assert given_up == dict.fromkeys(("unknown_real", "expired", "no_room", "damaged"), 0) | inherited["given_up"]
    return inherited


def send(place, request):
    """Sends bytes and reads what comes until the end, which may be a reset."""
    with place.connect() as client:
        answer = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65536):
                answer += part
        return answer


class Asking:
    """What must go on meanwhile: requests over the VIP, and commands."""

    def __init__(self, bed, lbd):
        self.bed, self.lbd, self.over, self.faults, self.count = bed, lbd, False, [], 0
        self.thread = background(self.ask)

    def ask(self):
        while not self.over:
            try:
                self.bed.curl()
                self.lbd.json("status")
                self.count += 1
            except Exception as fault:  # whatever it is, it is the test's to report
                self.faults.append(repr(fault))

    def finish(self):
        assert wait_for(lambda: self.count > 0 or self.faults), "nothing was asked"
        self.over = True
        self.thread.join()
        assert not self.faults, self.faults[:3]


@test()
def whoever_asks_nonsense_disturbs_nobody(bed):
    place = places(bed)[0]
    with lbd_with(bed, place) as lbd:
        place.scrape()
        descriptors = lambda: len(os.listdir(f"/proc/{lbd_pid(lbd)}/fd"))
        at_first = descriptors()
        asking = Asking(bed, lbd)
        long = b"GET /metrics HTTP/1.1\r\nHost: a\r\nA: " + b"x" * (1 << 20) + b"\r\n\r\n"
        for request, status in [
            (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", b"405"),
            (b"DELETE /api/v1/list HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
            (b"GET /passwd HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
            (b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
            (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
            (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", b"400"),
            (long, b"431"),
        ]:
            answer = send(place, request)
            assert answer.startswith(b"HTTP/1.1 " + status), (request[:40], answer[:80])
        # What follows a request is not asked: one answer, and the connection ends.
        answer = send(place, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        assert answer.count(b"HTTP/1.1 ") == 1 and answer.endswith(b"ok\n"), answer[:80]
        # Half a request, and many who say nothing: places are few, and free again by themselves.
        half = place.connect()
        half.sendall(b"GET /metr")
        silent = [place.connect() for _ in range(MANY)]
        assert descriptors() <= at_first + 4 * CLIENTS + 8
        assert wait_for(lambda: is_served(place))
        answer = b"".join(iter(lambda: half.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 408"), answer
        for client in [half, *silent]:
            client.close()
        assert wait_for(lambda: descriptors() <= at_first + 2), (at_first, descriptors())
        asking.finish()
        assert place.scrape().value("natlb_ready") == 1


def is_served(place):
    """Whether there is a place for one more."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return place.ask(path="/healthz")[0] == 200
    return False


def lbd_pid(lbd):
    """The daemon itself: what runs it in its namespace has become it."""
    return lbd.process.pid
