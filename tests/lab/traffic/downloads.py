"""Files by curl, one after the other at a bounded rate, so that each lasts over several restarts."""

import hashlib
import os
import subprocess
import threading

from ..testbed import PATIENCE, background

NAME = "download"
# Seconds without a byte after which a download is given up: longer than TCP needs after a gap of some seconds.
STALLED = 20


class Downloads:
    """A curl at a time for each of `urls`, whose server's file has `size` bytes: each takes `seconds`."""

    def __init__(self, bed, reals, urls, size, seconds):
        self.bed, self.size, self.seconds = bed, size, seconds
        content = os.urandom(size)
        self.digest = hashlib.sha256(content).hexdigest()
        self.files = [bed.dir / real / "files" / NAME for real in reals]
        for file in self.files:
            file.write_bytes(content)
        self.lock = threading.Lock()
        self.whole, self.broken = 0, []
        self.stopping = threading.Event()
        self.threads = [background(self.go_on, url) for url in urls]

    def go_on(self, url):
        while not self.stopping.is_set():
            self.download(url)

    def download(self, url):
        words = ["curl", "-sSf", "--limit-rate", max(1, int(self.size / self.seconds)), "--connect-timeout", PATIENCE,
                 "--speed-limit", 1, "--speed-time", STALLED, url]
        curl = self.bed.spawn("client", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        digest = hashlib.sha256()
        received = 0
        while data := curl.stdout.buffer.read1(1 << 16):
            digest.update(data)
            received += len(data)
        error = curl.stderr.read()
        code = curl.wait(PATIENCE)
        with self.lock:
            if code == 0 and digest.hexdigest() == self.digest:
                self.whole += 1
            else:
                self.broken.append(f"{url}: curl's exit code {code}, {received} of {self.size} bytes: {error.strip()}")
            if code:
                # Not again and again while there is nothing.
                self.stopping.wait(1)

    def finish(self):
        """Waits for those that are under way, and removes the files."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(self.seconds + 3 * PATIENCE)
            assert not thread.is_alive(), "a download hangs"
        for file in self.files:
            file.unlink(missing_ok=True)
