"""Steering with a device that does not hash: rss=off."""

from tests.lab.runner import test

from .test_rss import drive


@test(timeout=300)
def software_steers_a_device_that_does_not_hash(rig):
    with rig.lbd(2) as server:
        _, status = drive(rig, server, 2)
        assert all(port["steering"].startswith("by software") and "net_virtio" in port["steering"]
                   for port in status["ports"]), status
