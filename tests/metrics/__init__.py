"""Alert rules, tried by promtool on series; promtool is for the lab's tests of metrics too. tests/metrics/run."""
