"""Exercises of lesson 06, the ViT: a shape, a count of parameters, the forward pass, the norms."""

import torch
from torch import nn

from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite_course.checking import without_gradients
from dinolite_course.exercises import exercise


@exercise(
    "06.1",
    "the shape of a map of patch features",
    cases=[(224, 224, 16, 384), (160, 224, 16, 768), (96, 48, 8, 192)],
)
def patch_map(height, width, patch, D):
    return D, height // patch, width // patch


patch_map.slips = [
    ("height comes before width", "height, width", "width, height"),
    (
        "that is the shape for a picture viewer; PyTorch's maps have the channels first",
        ("D, height", "height"),
        ("width // patch", "width // patch, D"),
    ),
    (
        "those are pixels; there is one vector for each patch",
        ("height // patch", "height"),
        ("width // patch", "width"),
    ),
    (
        "that is the sequence; reshape=True gives it its two dimensions back",
        "D, height // patch, width // patch",
        "1, (height // patch) * (width // patch), D",
    ),
    (
        "the picture need not be square: rows come from the height, columns from the width",
        "width //",
        "height //",
    ),
]


@exercise("06.2", "the parameters of one block", cases=[(384,), (192,), (768,), (1,), (4,)])
def block_parameters(D):
    attention = 4 * D * D + 4 * D  # q, k, v and the output
    ffn = 8 * D * D + 4 * D + D  # there: D to 4 D, and back
    norms, scales = 2 * 2 * D, 2 * D
    return attention + ffn + norms + scales


block_parameters.slips = [
    ("the biases of the linear layers are missing", (" + 4 * D  #", "  #"), (" + 4 * D + D", "")),
    (
        "4 D are missing: the two norms with weight and bias, or the biases of attention",
        " + norms",
        "",
    ),
    ("2 D are missing: two LayerScales, or two biases of width D", " + scales", ""),
    ("D are missing: one bias of width D, or one LayerScale", " + D", ""),
    ("5 D are missing: the biases of the FFN", " + 4 * D + D", ""),
    ("q, k and v are three projections; you count one", "4 * D * D + 4 * D", "2 * D * D + 2 * D"),
    ("the FFN has two matrices; you count one", "8 * D * D + 4 * D + D", "4 * D * D + 4 * D"),
]


@exercise(
    "06.3",
    "CLS, registers and patches apart",
    cases=lambda: [(torch.arange(60.0).view(2, 10, 3), 4), (torch.arange(22.0).view(1, 11, 2), 2)],
)
def split(tokens, R):
    return tokens[:, 0], tokens[:, 1 : 1 + R], tokens[:, 1 + R :]


split.slips = [
    ("the registers are among your patches: patches start at 1 + R", "1 + R :]", "1:]"),
    (
        "you forgot to count CLS: registers and patches start one later",
        ("1 : 1 + R", ":R"),
        ("1 + R :", "R:"),
    ),
    (
        "the registers stand behind CLS, not at the end of the sequence",
        ("1 : 1 + R", "-R:"),
        ("1 + R :", "1:-R"),
    ),
    ("CLS is one vector per picture, [B, D]: index it, do not slice it", "[:, 0]", "[:, :1]"),
]


def nets_and_images():
    """Two blocks whose every part matters: without LayerScale, with 4 tokens beside the patches."""
    torch.manual_seed(0)
    net = DinoVisionTransformer(
        patch_size=4, embed_dim=16, depth=2, num_heads=2, n_storage_tokens=3
    )
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn(weight.shape) * (0.3 if weight.ndim > 1 else 1))
    net.eval()
    return [(net, torch.randn(2, 3, 12, 12)), (net, torch.randn(1, 3, 8, 16))]


@exercise("06.4", "the forward pass of the ViT", cases=nets_and_images, run=without_gradients)
def vit_forward(net, images):
    x, (h, w) = net.prepare_tokens_with_masks(images)
    rope = net.rope_embed(H=h, W=w)
    for block in net.blocks:
        x = block(x, rope)
    return net.norm(x)


vit_forward.slips = [
    ("the final norm is missing", "net.norm(x)", "x"),
    (
        "the final norm comes once, after the last block, not after each",
        ("block(x, rope)", "net.norm(block(x, rope))"),
        ("return net.norm(x)", "return x"),
    ),
    ("the blocks got no RoPE table, so no patch knows its place", ", rope)", ", None)"),
    ("the blocks run from last to first", "net.blocks", "net.blocks[::-1]"),
    ("height and width of the grid have changed places in the RoPE table", "H=h, W=w", "H=w, W=h"),
    (
        "the registers stand behind the patches; the last N tokens are turned by RoPE, "
        "so these must be the patches",
        "rope =",
        "x[:, 1:] = x[:, 1:].roll(-net.n_storage_tokens, 1); rope =",
    ),
]


def tokens_and_norms():
    torch.manual_seed(0)
    cls_norm, norm = nn.LayerNorm(8), nn.LayerNorm(8)
    with torch.no_grad():
        for parameter in [*cls_norm.parameters(), *norm.parameters()]:
            parameter.normal_()  # each channel has its own: norms do not cancel each other
    return [(torch.randn(2, 1 + R + 6, 8), R, cls_norm, norm) for R in (4, 2)]


@exercise(
    "06.5",
    "CLS and registers get a norm of their own",
    cases=tokens_and_norms,
    run=without_gradients,
)
def normed(tokens, R, cls_norm, norm):
    # With one norm, one scale per channel has to suit two losses, the one on
    # CLS and the one on patches. With two, each gets its own. It costs 2 D
    # parameters; a norm for CLS alone would leave registers with the patches.
    head, patches = tokens[:, : 1 + R], tokens[:, 1 + R :]
    return torch.cat([cls_norm(head), norm(patches)], dim=1)


normed.slips = [
    ("all tokens went through `norm`", "cls_norm(head)", "norm(head)"),
    ("the two norms have changed places", "cls_norm, norm", "norm, cls_norm"),
    (
        "the registers belong to CLS: they are no places in the picture either",
        (": 1 + R]", ":1]"),
        ("1 + R :]", "1:]"),
    ),
    ("CLS and registers went through `norm` before their own", "(head)", "(norm(head))"),
    ("the patches went through `cls_norm` before their own", "(patches)", "(cls_norm(patches))"),
    ("the patches come last", "norm(patches)]", "norm(patches)][::-1]"),
]
