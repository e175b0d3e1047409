"""Tests of lbd and lbctl in namespaces, with real clients, web servers and captures. As root: tests/lab/run."""
