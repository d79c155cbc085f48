"""Benchmarks: Tidings beside the least that could do the same work, in one run on one machine."""
