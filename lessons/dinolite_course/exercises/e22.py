"""Exercises of lesson 22, the released models: tokens of a picture, names, fused projections,
pixels, weights at half the size."""

from collections.abc import Callable

import torch
from torch import Tensor

from dinolite.models.keymaps import TIMM
from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises.states import State, with_dtypes

COLOURS = {
    "lvd": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "sat": ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
}
NAMES = ("cls_token", "reg_token", "blocks.3.gamma_1", "blocks.11.gamma_2", "norm.weight",
         "blocks.0.mlp.fc1_g.weight", "blocks.5.mlp.fc1_x.bias", "blocks.7.mlp.fc2.weight",
         "blocks.1.attn.proj.bias", "blocks.2.norm1.weight", "patch_embed.proj.weight",
         "blocks.10.attn.qkv.weight")  # fmt: skip


def tokens(height: int, width: int) -> int:
    return 1 + 4 + (height // 16) * (width // 16)


def renamed(name: str, skip: str = "") -> str:
    for ours, theirs in TIMM.items():
        if not skip or skip not in theirs:
            name = name.replace(theirs, ours)
    return name


def gate_last(name: str) -> str:
    swap = {"mlp.w1.": "mlp.w2.", "mlp.w2.": "mlp.w1."}
    name = renamed(name)
    return next((name.replace(a, b) for a, b in swap.items() if a in name), name)


def fused(q: Tensor, k: Tensor, v: Tensor, q_bias: Tensor, v_bias: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([q, k, v]), torch.cat([q_bias, torch.zeros_like(q_bias), v_bias])


def zeros_last(q: Tensor, k: Tensor, v: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([q, k, v]), torch.cat([b, c, torch.zeros_like(b)])


def no_zeros(q: Tensor, k: Tensor, v: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([q, k, v]), torch.cat([b, c])


def side_by_side(q: Tensor, k: Tensor, v: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([q, k, v], dim=1), fused(q, k, v, b, c)[1]


def ready(image: Tensor, kind: str) -> Tensor:
    mean, std = (torch.tensor(rgb)[:, None, None] for rgb in COLOURS[kind])
    return (image.float() / 255 - mean) / std


def not_scaled(image: Tensor, kind: str) -> Tensor:
    return ready(255 * image.float(), kind)


def over_std_first(image: Tensor, kind: str) -> Tensor:
    mean, std = (torch.tensor(rgb)[:, None, None] for rgb in COLOURS[kind])
    return image.float() / 255 / std - mean


def not_centred(image: Tensor, kind: str) -> Tensor:
    return image.float() / 255 / torch.tensor(COLOURS[kind][1])[:, None, None]


def backwards(image: Tensor, kind: str) -> Tensor:
    return ready(image.flip(0), kind)


def halved(state: State) -> State:
    return {name: w if name.endswith("periods") else w.bfloat16() for name, w in state.items()}


def named_like_periods(state: State) -> State:
    return {name: w if "periods" in name else w.bfloat16() for name, w in state.items()}


def all_as(dtype: torch.dtype) -> Callable[[State], State]:
    return lambda state: {name: w.to(dtype) for name, w in state.items()}


def half_periods(state: State) -> State:
    return {name: w.bfloat16() if name.endswith("periods") else w for name, w in state.items()}


def without_periods(state: State) -> State:
    return {name: w for name, w in halved(state).items() if not name.endswith("periods")}


def rounded_floats(state: State) -> State:
    return {name: w.float() for name, w in halved(state).items()}


def projections() -> list[tuple[Tensor, ...]]:
    draw = torch.Generator().manual_seed(2)
    sizes = ([(D, D)] * 3 + [(D,)] * 2 for D in (4, 6))
    return [tuple(torch.randn(shape, generator=draw) for shape in shapes) for shapes in sizes]


def pictures() -> list[tuple[Tensor, str]]:
    draw = torch.Generator().manual_seed(3)
    image = torch.randint(256, (3, 4, 6), generator=draw).byte()
    return [(image, "lvd"), (image, "sat")]


def states() -> list[tuple[State]]:
    draw = torch.Generator().manual_seed(4)
    names = ("cls_token", "blocks.0.attn.qkv.weight", "rope_embed.periods", "teacher.periods",
             "periods_scale.weight")  # fmt: skip
    return [({name: 1 + torch.rand(6, generator=draw) for name in names},)]


EXERCISES = (
    Exercise(
        "22.1",
        "the tokens of a picture",
        tokens,
        lambda: [(224, 224), (160, 224), (512, 768)],
        (
            ("those are the patches; CLS and the registers are tokens, too",
             lambda h, w: tokens(h, w) - 5),
            ("the 4 registers are missing", lambda h, w: tokens(h, w) - 4),
            ("CLS is missing", lambda h, w: tokens(h, w) - 1),
            ("patches of DINOv3 are 16 pixels wide; 14 was DINOv2",
             lambda h, w: 5 + (h // 14) * (w // 14)),
        ),
    ),
    Exercise(
        "22.2",
        "timm's names",
        renamed,
        lambda: [(name,) for name in NAMES],
        (
            ("nothing was renamed", lambda name: name),
            ("w1 is the gate, fc1_g; w2 is the value, fc1_x; yours are the other way round",
             gate_last),
            ("fc2 is still there: in a gated model it is w3", lambda name: renamed(name, "fc2")),
            ("reg_token is still there", lambda name: renamed(name, "reg")),
            ("the two gammas still have timm's names", lambda name: renamed(name, "gamma")),
        ),
    ),
    Exercise(
        "22.3",
        "three projections into one",
        fused,
        projections,
        (
            ("the zeros stand last; the missing bias is that of the keys, in the middle",
             zeros_last),
            ("the bias has 2D numbers: zeros for the keys are missing", no_zeros),
            ("the weights stand side by side; a Linear has one row per output: join along dim 0",
             side_by_side),
            ("k and v are the wrong way round",
             lambda q, k, v, b, c: fused(q, v, k, b, c)),
            ("the weights are transposed", lambda q, k, v, b, c: fused(q.T, k.T, v.T, b, c)),
        ),
        run=keeping,
    ),
    Exercise(
        "22.4",
        "pixels for two kinds of models",
        ready,
        pictures,
        (
            ("0..255 is not [0, 1]: divide by 255 first", not_scaled),
            ("first minus the mean, then over the spread", over_std_first),
            ("the mean is not subtracted", not_centred),
            ("both kinds get the figures of LVD", lambda image, kind: ready(image, "lvd")),
            ("both kinds get the figures of SAT", lambda image, kind: ready(image, "sat")),
            ("red and blue are swapped; the order is red, green, blue", backwards),
        ),
    ),
    Exercise(
        "22.5",
        "half the size, but for the periods",
        halved,
        states,
        (
            ("the periods are rounded, too; they stay as they are", all_as(torch.bfloat16)),
            ("that is float16; wanted is bfloat16", all_as(torch.float16)),
            ("nothing is rounded", all_as(torch.float32)),
            ("rounded, and stored as float32 again: not half the size", rounded_floats),
            ("a name ends in `periods`; that it is in there is not enough", named_like_periods),
            ("the periods are rounded and the weights are not: the wrong way round", half_periods),
            ("the periods are gone; keep them, unchanged", without_periods),
        ),
        run=with_dtypes,
    ),
)  # fmt: skip
