"""Measurements that only lessons and benchmarks use."""
