"""A backbone for programs without dinolite: as an ONNX file, or as torch.export's program, for any
number of pictures of any size that the patches divide; compared with the model after it is written.

Not in the official code.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinolite.checkpointer import write_atomically
from dinolite.models.vision_transformer import DinoVisionTransformer

INPUT, OUTPUTS = "images", ("cls", "patches")
ONE_FILE = 2**31 - 2**20  # bytes of weights beyond which ONNX keeps them in a file beside, .data
CLOSE = 1e-3  # features have a spread of about 1; float32 in another order gives 1e-6 to 1e-5
TRIED = ((1, 2, 2), (3, 5, 2), (2, 4, 9))  # pictures, rows and columns of patches


class Outputs(nn.Module):
    """Normalised pictures in, CLS and patches after the final norm out."""

    def __init__(self, model: DinoVisionTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, images: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B N D"]]:
        out = self.model(images, is_training=True)
        return out["x_norm_clstoken"], out["x_norm_patchtokens"]


def arguments(model: DinoVisionTransformer) -> dict[str, Any]:
    """An example, and which of its sides are free: batch, and two or more patches a side."""
    p, dim = model.patch_size, torch.export.Dim
    sides = {0: dim("batch", min=1), 2: p * dim("rows", min=2), 3: p * dim("columns", min=2)}
    example = torch.zeros(2, model.patch_embed.in_chans, 3 * p, 5 * p)
    return {"args": (example,), "dynamic_shapes": (sides,)}


def write_program(
    model: DinoVisionTransformer, path: Path, words: Mapping[str, str] | None = None
) -> float:
    """torch.export's program; `torch.export.load(path).module()(images)` gives CLS [B, D] and
    patches [B, N, D].

    Args:
        model: on the CPU, in eval mode.
        path: ends in .pt2.
        words: texts that are kept in the file, beside the patch size.

    Returns:
        the largest difference to the model's features.

    Raises:
        ValueError: another ending, or other features than the model's.
        OSError: it could not be written.
    """
    if path.suffix != ".pt2":
        raise ValueError(f"program = {path} must end in .pt2")
    program = torch.export.export(Outputs(model).eval(), **arguments(model))
    texts: dict[str, Any] = {"patch_size": str(model.patch_size), **(words or {})}
    with write_atomically(path) as temporary:
        with open(temporary, "wb") as file:
            torch.export.save(program, file, extra_files=texts)
        with open(temporary, "rb") as file:
            run = torch.export.load(file).module()
        return largest_difference(model, run, path)


def write_onnx(
    model: DinoVisionTransformer, path: Path, words: Mapping[str, str] | None = None
) -> float:
    """An ONNX file: "images" [B, C, H, W] in, "cls" [B, D] and "patches" [B, N, D] out. The rest as
    in `write_program`, but for the ending, .onnx. Of more than 2 GB the weights are in a file
    beside it, PATH.data.

    Raises:
        ValueError: also if onnx, onnxscript or onnxruntime is not installed.
    """
    if path.suffix != ".onnx":
        raise ValueError(f"onnx = {path} must end in .onnx")
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            raise ValueError(f"{name} is not installed; from a clone: pip install -e '.[export]'")
    made = torch.onnx.export(
        Outputs(model).eval(),
        **arguments(model),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamo=True,
        verbose=False,
    )
    assert made is not None
    made.model.metadata_props.update({"patch_size": str(model.patch_size), **(words or {})})
    if sum(x.nbytes for x in model.state_dict().values()) > ONE_FILE:
        made.save(path, external_data=True)  # two files, of which one names the other
        try:
            return largest_difference(model, onnx_runner(path), path)
        except ValueError:
            for file in (path, path.with_name(f"{path.name}.data")):
                file.unlink(missing_ok=True)
            raise
    with write_atomically(path) as temporary:
        made.save(temporary)
        return largest_difference(model, onnx_runner(temporary), path)


def onnx_runner(path: Path) -> Callable[[Tensor], list[Tensor]]:
    """Pictures in, CLS and patches out, by onnxruntime on the CPU, with PyTorch's threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def run(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(x) for x in session.run(None, {INPUT: images.numpy()})]

    return run


@torch.no_grad()
def largest_difference(
    model: DinoVisionTransformer, run: Callable[[Tensor], Any], path: Path
) -> float:
    """Between the features of the model and of what was written, on noise of several sizes."""
    worst, p = 0.0, model.patch_size
    noise = torch.Generator().manual_seed(0)
    for batch, rows, columns in TRIED:
        shape = batch, model.patch_embed.in_chans, rows * p, columns * p
        images = torch.randn(shape, generator=noise)
        for ours, theirs in zip(Outputs(model)(images), run(images), strict=True):
            difference = (ours - theirs).abs().max().item()
            if not difference <= CLOSE:  # NaN, too
                raise ValueError(f"{path} not kept: its features are off by {difference:.2g}")
            worst = max(worst, difference)
    return worst
