"""Exercise 16.4, the rates of a parameter by its name. The answer, its cases and what people get
wrong."""

Rates = tuple[float, float]


def rates(name: str, depth: int, decay: float) -> Rates:
    lr = decay ** (depth + 1 - layer(name, depth))
    if "patch_embed" in name:
        lr *= 0.2
    return lr, weight_decay(name)


def layer(name: str, depth: int, first: tuple[str, ...] = ("token", "patch_embed")) -> int:
    """`first` are the names in layer 0."""
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    return 0 if any(part in name for part in first) else depth + 1


def weight_decay(name: str) -> float:
    return 0.0 if name.endswith("bias") or "norm" in name or "gamma" in name else 1.0


def upside_down(name: str, depth: int, decay: float) -> Rates:
    lr = decay ** layer(name, depth) * (0.2 if "patch_embed" in name else 1.0)
    return lr, weight_decay(name)


def one_off(name: str, depth: int, decay: float) -> Rates:
    lr, wd = rates(name, depth, decay)
    return (lr * decay if name.startswith("blocks.") else lr), wd


def cls_only(name: str, depth: int, decay: float) -> Rates:
    number = layer(name, depth, first=("cls_token", "patch_embed"))
    return with_layer(name, depth, decay, number)


def one_digit(name: str, depth: int, decay: float) -> Rates:
    short = name.startswith("blocks.")
    return with_layer(name, depth, decay, int(name[7]) + 1 if short else layer(name, depth))


def with_layer(name: str, depth: int, decay: float, number: int) -> Rates:
    lr = decay ** (depth + 1 - number) * (0.2 if "patch_embed" in name else 1.0)
    return lr, weight_decay(name)


def in_its_place(name: str, depth: int, decay: float) -> Rates:
    lr, wd = rates(name, depth, decay)
    return (0.2 if "patch_embed" in name else lr), wd


def tokens_too(name: str, depth: int, decay: float) -> Rates:
    lr, wd = rates(name, depth, decay)
    return (0.2 * lr if "token" in name else lr), wd


def cases() -> list[tuple[str, int, float]]:
    """Two depths; a block whose number has two digits."""
    names = ["cls_token", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight"]
    names += ["blocks.0.attn.qkv.weight", "blocks.1.attn.qkv.bias", "blocks.2.norm1.weight"]
    names += ["blocks.2.ls1.gamma", "mask_token"]
    deep = ["blocks.10.norm2.weight", "blocks.11.ls2.gamma", "blocks.11.mlp.fc1.weight"]
    deep += ["storage_tokens", "norm.bias"]
    return [(name, 3, 0.9) for name in names] + [(name, 12, 0.8) for name in deep]


MISTAKES = (
    ("the order is upside down: the deepest block learns fastest", upside_down),
    ("the blocks are one layer off: block i is layer i + 1, the last one has rate decay",
     one_off),
    ("all one layer off: the layer of the final norm, depth + 1, has factor 1",
     lambda name, depth, decay: (
         rates(name, depth, decay)[0] * decay, weight_decay(name))),
    ("the tokens are decayed, whatever the official comment says",
     lambda name, depth, decay: (
         rates(name, depth, decay)[0],
         0.0 if "token" in name else weight_decay(name))),
    ("the patch embedding gets 0.2 times the rate of its layer",
     lambda name, depth, decay: (
         decay ** (depth + 1 - layer(name, depth)), weight_decay(name))),
    ("biases, norms and gammas are not decayed; yours all are",
     lambda name, depth, decay: (rates(name, depth, decay)[0], 1.0)),
    ("not only biases are spared: norms and gammas as well",
     lambda name, depth, decay: (
         rates(name, depth, decay)[0], float(not name.endswith("bias")))),
    ("CLS is not the only token in layer 0", cls_only),
    ("the number of a block may have two digits", one_digit),
    ("0.2 comes on top of the rate of its layer, not in its place", in_its_place),
    ("0.2 belongs to the patch embedding alone, not to all of layer 0", tokens_too),
    ("the order of the two: learning rate first", lambda *a: rates(*a)[::-1]),
    ("turned round: 1.0 is with decay, 0.0 without",
     lambda name, depth, decay: (rates(name, depth, decay)[0], 1 - weight_decay(name))),
)  # fmt: skip
