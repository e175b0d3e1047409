"""The page that the traffic source shares: its counters, and what it is told. See traffic_source/page.h."""

import mmap
import os
import struct
import time

MAGIC = 0x6E61746C62736F75
VERSION = 2
SIZE = 4096
# The address families of the packets that come, in the order of `enum families`.
FAMILIES = ("ipv4", "ipv6", "half", "alternating")
FAULTS = ("mac", "ttl", "client", "endpoint", "header_checksum", "transport_checksum", "other")

MAGIC_AT, VERSION_AT, TSC_HZ_AT, THREAD_AT, FLOWS_AT, STRETCHES_AT = 0, 1, 2, 3, 4, 6
CHECK_EPOCH_AT, CHECK_EVERY_AT, HOLD_AT, NEW_RATE_AT, FAMILIES_AT = 8, 9, 10, 11, 12
FORWARD_AT, REVERSE_AT, RETURNED_AT, WARM_AT, CONNECTIONS_AT, OWN_AT, CHECKED_IPV6_AT = 16, 17, 18, 19, 20, 21, 22
CHECKED_AT, UNTOUCHED_AT, ANSWERED_AT, FAULTS_AT = 24, 25, 26, 27
FAULTY_AT = FAULTS_AT + len(FAULTS)
EXAMPLE_AT = FAULTY_AT + 1
FRAME = 128
# 32-bit, behind the example's two frames.
STRETCH_BYTE, STRETCHES = 8 * (EXAMPLE_AT + 2) + 2 * FRAME, 512


class Page:
    """One source's page, made before its program starts."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as file:
            file.truncate(SIZE)
        descriptor = os.open(path, os.O_RDWR)
        self._map = mmap.mmap(descriptor, SIZE)
        os.close(descriptor)
        self._epoch = 0

    def _get(self, at):
        return struct.unpack_from("=Q", self._map, 8 * at)[0]

    def _set(self, at, value):
        struct.pack_into("=Q", self._map, 8 * at, value)

    @property
    def alive(self):
        return self._get(MAGIC_AT) == MAGIC and self._get(VERSION_AT) == VERSION

    @property
    def tsc_hz(self):
        return self._get(TSC_HZ_AT)

    @property
    def thread(self):
        """The thread that polls, where several do; 0: none yet."""
        return self._get(THREAD_AT)

    @property
    def flows_by_direction(self):
        """Of a source that has a part of them."""
        return self._get(FLOWS_AT), self._get(FLOWS_AT + 1)

    @property
    def stretches(self):
        """How many stretches of turns were timed."""
        return self._get(STRETCHES_AT)

    def stretch_cycles(self, first):
        """Cycles a frame in each stretch from `first` on, as far as they are remembered."""
        end = self.stretches
        at = lambda number: struct.unpack_from("=I", self._map, STRETCH_BYTE + 4 * (number % STRETCHES))[0]
        return [at(number) / 256 for number in range(max(first, end - STRETCHES + 1), end)]

    @property
    def warm(self):
        return self._get(WARM_AT) != 0

    @property
    def given(self):
        """Frames handed to the program, forward and reverse."""
        return self._get(FORWARD_AT) + self._get(REVERSE_AT)

    @property
    def given_by_direction(self):
        return self._get(FORWARD_AT), self._get(REVERSE_AT)

    @property
    def returned(self):
        return self._get(RETURNED_AT)

    @property
    def own(self):
        """Buffers that the program took for frames of its own."""
        return self._get(OWN_AT)

    @property
    def connections(self):
        """Connections begun, where the traffic opens them."""
        return self._get(CONNECTIONS_AT)

    def given_at(self):
        """Frames handed out, and the moment in seconds when that was read."""
        while True:
            before = time.monotonic()
            given = self.given
            after = time.monotonic()
            # Pre-empted in between: again.
            if after - before < 20e-6:
                return given, (before + after) / 2

    def hold(self, held):
        """Whether the source hands out nothing."""
        self._set(HOLD_AT, int(held))

    def open(self, rate):
        """So many connections a second are opened among uniform traffic from now on, one packet each."""
        self._set(NEW_RATE_AT, rate)

    def send(self, families):
        """Of which families packets come from now on, one of FAMILIES, where the source has flows of both."""
        self._set(FAMILIES_AT, FAMILIES.index(families))

    def check(self, every):
        """Verifies one frame in `every` from now on; 0: none."""
        if every:
            self._epoch += 1
            self._set(CHECK_EVERY_AT, every)
            self._set(CHECK_EPOCH_AT, self._epoch)
        else:
            self._set(CHECK_EPOCH_AT, 0)

    def checks(self):
        """What verifying found so far."""
        found = {
            "checked": self._get(CHECKED_AT),
            "checked_ipv6": self._get(CHECKED_IPV6_AT),
            "untouched": self._get(UNTOUCHED_AT),
            "answered": self._get(ANSWERED_AT),
            "faulty": self._get(FAULTY_AT),
            "faults": {name: self._get(FAULTS_AT + index) for index, name in enumerate(FAULTS)},
        }
        if found["faulty"]:
            start = 8 * (EXAMPLE_AT + 2)
            found["example"] = {
                "flow": self._get(EXAMPLE_AT),
                "direction": ("forward", "reverse")[self._get(EXAMPLE_AT + 1) & 1],
                "given": self._map[start : start + FRAME].hex(),
                "found": self._map[start + FRAME : start + 2 * FRAME].hex(),
            }
        return found
