"""How fast, how much memory, how well: dinolite beside what people would use instead. Each module
is a script with a table (`python -m benchmarks.backbone`); `python -m benchmarks` runs all and
writes a dated record. These are measurements, not tests: nothing here passes or fails.
"""
