"""Measurements that only lessons and benchmarks use."""

from dinolite_course.measures import (
    collages,
    correspondence,
    published,
    regions,
    resolution,
    sgd_probe,
)

__all__ = ["collages", "correspondence", "published", "regions", "resolution", "sgd_probe"]
