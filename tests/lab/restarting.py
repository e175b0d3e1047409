"""The ways in which lbd is started again, for the tests of that and for scripts/restarts."""

CAPACITY = 262_144


def config(bed, workers=None):
    """A configuration with room for many short connections, whose services outlive the daemon."""
    made = bed.config(workers)
    made["control"]["state"] = str(bed.dir / "state")
    made["connections"]["capacity"] = CAPACITY
    return made


def stop_and_start(daemon):
    assert daemon.stop() == 0, "lbd's exit code after SIGTERM is not 0"
    daemon.start()


def kill_and_start(daemon):
    daemon.kill()
    daemon.start()


def take_over(daemon):
    daemon.take_over()


def kill_and_start_with(config):
    """Kills it, and starts it with another configuration."""

    def way(daemon):
        daemon.configure(config)
        kill_and_start(daemon)

    return way


def in_file(services):
    """Services as the configuration file has them."""
    return [{"listen": f"{protocol}://{listen}", "real": [{"address": address, "weight": weight} for address, weight in reals]}
            for protocol, listen, reals in services]


WAYS = {"stop": stop_and_start, "kill": kill_and_start, "take-over": take_over}
