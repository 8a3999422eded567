"""Imported by the one process from which tests fork others (multiprocessing's forkserver): torch
and dinolite are imported there once, instead of once for each process of each test."""

import dinolite.cli
import dinolite.train.train  # noqa: F401
from tests.small_sets import SMALL

for module, name, value in SMALL:
    setattr(module, name, value)
