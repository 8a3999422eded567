"""A forward pass on the CPU, by PyTorch and by what `dinolite export` writes: torch.export's
program, and ONNX Runtime.

python -m benchmarks.export [--size vit_small] [--side 224] [--rounds 15]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.backbone import ours
from benchmarks.record import Table, print_table, start
from benchmarks.timing import alternate, ratios
from dinolite.models.export import Outputs, onnx_runner, write_onnx, write_program


def measure(
    size: str = "vit_small", batches: tuple[int, ...] = (1, 8), side: int = 224, rounds: int = 15
) -> Table:
    """Milliseconds a picture (median, quartiles) and the ratio to PyTorch."""
    import onnxruntime  # noqa: F401  without it there is nothing to measure

    torch.manual_seed(0)
    net, rows = ours(size).eval(), []
    with tempfile.TemporaryDirectory() as folder:
        onnx, program = Path(folder, "m.onnx"), Path(folder, "m.pt2")
        write_onnx(net, onnx)
        write_program(net, program)
        runs: dict[str, Callable[[Tensor], object]] = {
            "PyTorch": Outputs(net),
            "torch.export": torch.export.load(program).module(),
            "onnxruntime": onnx_runner(onnx),
        }
        for batch in batches:
            x = torch.randn(batch, 3, side, side)

            def go(run: Callable[[Tensor], object], x: Tensor = x) -> Callable[[], None]:
                def call() -> None:
                    with torch.inference_mode():
                        run(x)

                return call

            timings = alternate({name: go(run) for name, run in runs.items()}, rounds)
            over = ratios(timings, "PyTorch")
            for name, timing in timings.items():
                times = (1e3 * t / batch for t in (timing.median, *timing.quartiles))
                rows.append([batch, name, *times, over[name]])
    columns = ["batch", "program", "ms a picture", "lower quartile", "upper quartile"]
    columns.append("ratio to PyTorch")
    return Table("export", f"{size}/16, {side} px, CPU, float32", columns, rows)


def main(size: str = "vit_small", side: int = 224, rounds: int = 15) -> None:
    print_table(measure(size, side=side, rounds=rounds))


if __name__ == "__main__":
    start(main)
