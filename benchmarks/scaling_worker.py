"""One process of `benchmarks.scaling`, started by torchrun: prints the milliseconds per picture of
all processes together.
"""

from __future__ import annotations

import sys

import torch

from benchmarks.scaling import seconds_of_steps
from dinolite import parallel
from dinolite.config import load_config


def main() -> None:
    torch.set_num_threads(1)
    with parallel.process_group(torch.device("cpu")):
        seconds = seconds_of_steps(int(sys.argv[1]))
        batch = load_config("demo").train.batch_size_per_gpu * parallel.world_size()
        if parallel.is_main():
            print(1e3 * seconds / batch)
        parallel.barrier()


if __name__ == "__main__":
    main()
