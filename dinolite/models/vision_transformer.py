"""The backbone: an image becomes patches, patches become tokens beside a CLS and a few storage
tokens, and a stack of attention blocks turns them into features. Then the sizes that have names.

DINOv3 Sec. 3.2, Table 2 and Fig. 16a; official `models/vision_transformer.py`, without maps of
attention, and `models/__init__.py::build_model`; vit_tiny is none of Meta's sizes.
"""

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, SupportsIndex

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dinolite.config import IMAGENET_MEAN, IMAGENET_STD, Rgb, StudentConfig
from dinolite.layers.attention import LinearKMaskedBias, Rope
from dinolite.layers.block import SelfAttentionBlock
from dinolite.layers.layer_scale import LayerScale
from dinolite.layers.norm_layers import norm_named
from dinolite.layers.patch_embed import PatchEmbed
from dinolite.layers.rope_position_encoding import RopePositionEmbedding

WITH_RESET = (PatchEmbed, LayerScale, RopePositionEmbedding, nn.LayerNorm, nn.RMSNorm)

Features = dict[str, Any]
"""What `is_training=True` returns: x_norm_clstoken [B, D], x_storage_tokens [B, R, D],
x_norm_patchtokens [B, N, D], x_prenorm [B, 1 + R + N, D], and the masks that went in."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Arguments of `DinoVisionTransformer`, with the names and defaults of the official class."""

    patch_size: int = 16
    in_chans: int = 3
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    ffn_ratio: float = 4.0
    # See `RopePositionEmbedding`; the tables are always float32.
    pos_embed_rope_base: float | None = 100.0
    pos_embed_rope_min_period: float | None = None
    pos_embed_rope_max_period: float | None = None
    pos_embed_rope_normalize_coords: Literal["min", "max", "separate"] = "separate"
    pos_embed_rope_shift_coords: float | None = None
    pos_embed_rope_jitter_coords: float | None = None
    pos_embed_rope_rescale_coords: float | None = None
    qkv_bias: bool = True
    proj_bias: bool = True
    ffn_bias: bool = True
    mask_k_bias: bool = False  # keys without a bias
    drop_path_rate: float = 0.0  # stochastic depth, in [0, 1), the same in every block
    layerscale_init: float | None = None  # start value of LayerScale; None or 0 leaves it out
    norm_layer: str = "layernorm"  # with eps 1e-6; or "layernormbf16" (eps 1e-5), or "rmsnorm"
    ffn_layer: str = "mlp"  # or "swiglu", "swiglu32", "swiglu64", "swiglu128" (width alignment)
    n_storage_tokens: int = 0  # R, the register tokens
    untie_cls_and_patch_norms: bool = False  # an own final norm for CLS and storage tokens
    untie_global_and_local_cls_norm: bool = False  # in training, another for the second crop size


class DinoVisionTransformer(nn.Module):
    """The DINOv3 ViT; parameter names are those of the official class.

    Args:
        arguments: those of `Architecture`; `SIZES` has the sizes with a name.

    Raises:
        ValueError: a size is below 1, or a name is unknown.
        TypeError: there is no such argument.
    """

    __signature__ = inspect.signature(Architecture)  # what help() shows

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        a = Architecture(**arguments)
        if a.depth < 1 or a.n_storage_tokens < 0:
            tokens = f"n_storage_tokens = {a.n_storage_tokens}"
            raise ValueError(f"depth = {a.depth} must be at least 1, {tokens} at least 0")
        self.architecture = a
        self.pixel_mean: Rgb = IMAGENET_MEAN  # of the pictures it was trained with
        self.pixel_std: Rgb = IMAGENET_STD
        self.embed_dim, self.n_blocks, self.num_heads = a.embed_dim, a.depth, a.num_heads
        self.num_features = a.embed_dim  # its name at timm and in the official code
        self.patch_size, self.n_storage_tokens = a.patch_size, a.n_storage_tokens
        self.cls_token = nn.Parameter(torch.empty(1, 1, a.embed_dim))
        if a.n_storage_tokens:
            self.storage_tokens = nn.Parameter(torch.empty(1, a.n_storage_tokens, a.embed_dim))
        self.mask_token = nn.Parameter(torch.empty(1, a.embed_dim))
        self.patch_embed = PatchEmbed(a.patch_size, a.in_chans, a.embed_dim)
        start = "pos_embed_rope_"
        rope = {k.removeprefix(start): v for k, v in vars(a).items() if k.startswith(start)}
        self.rope_embed = RopePositionEmbedding(a.embed_dim, num_heads=a.num_heads, **rope)
        norm = norm_named(a.norm_layer)
        self.blocks = nn.ModuleList(self.new_block(norm) for _ in range(a.depth))
        self.norm = norm(a.embed_dim)
        self.cls_norm = norm(a.embed_dim) if a.untie_cls_and_patch_norms else None
        self.local_cls_norm = norm(a.embed_dim) if a.untie_global_and_local_cls_norm else None
        self.init_weights()

    def new_block(self, norm: Callable[[int], nn.Module]) -> SelfAttentionBlock:
        """One of the equal blocks; `init_weights` fills it."""
        a = self.architecture
        return SelfAttentionBlock(
            a.embed_dim,
            a.num_heads,
            ffn_layer=a.ffn_layer,
            ffn_ratio=a.ffn_ratio,
            qkv_bias=a.qkv_bias,
            proj_bias=a.proj_bias,
            ffn_bias=a.ffn_bias,
            mask_k_bias=a.mask_k_bias,
            norm_layer=norm,
            init_values=a.layerscale_init,
            drop_path=a.drop_path_rate,
        )

    def init_weights(self) -> None:
        """Give every parameter and buffer its start value (the official scheme)."""
        nn.init.normal_(self.cls_token, std=0.02)
        if self.n_storage_tokens:
            nn.init.normal_(self.storage_tokens, std=0.02)
        nn.init.zeros_(self.mask_token)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
                if isinstance(module, LinearKMaskedBias):
                    module.reset_bias_mask()
            elif isinstance(module, WITH_RESET):
                module.reset_parameters()

    def prepare_tokens_with_masks(
        self, x: Float[Tensor, "B C H W"], masks: Bool[Tensor, "B N"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], tuple[int, int]]:
        """Patches, the hidden ones replaced by the mask token, behind CLS and storage tokens.

        Args:
            x: images; H and W are multiples of the patch size.
            masks: True = hidden.

        Returns:
            tokens [B, 1 + R + N, D] and the grid (H / p, W / p).
        """
        x = self.patch_embed(x)  # [B, h, w, D]
        B, h, w, _ = x.shape
        x = x.flatten(1, 2)  # [B, N, D]
        cls_token: Tensor = self.cls_token
        if masks is not None:
            x = torch.where(masks[:, :, None], self.mask_token.to(x.dtype), x)
        else:
            # Zero, but it gives the mask token a gradient in every pass, which DDP waits for.
            cls_token = cls_token + 0 * self.mask_token
        prefix = [cls_token.expand(B, -1, -1)]
        if self.n_storage_tokens:
            prefix.append(self.storage_tokens.expand(B, -1, -1))
        return torch.cat([*prefix, x], dim=1), (h, w)  # [B, T, D]

    def run_blocks(
        self, xs: Sequence[Tensor], masks: Sequence[Tensor | None]
    ) -> Iterator[list[Tensor]]:
        """Yield the tokens of every crop size before the first block and after each block."""
        prepared = [self.prepare_tokens_with_masks(x, m) for x, m in zip(xs, masks, strict=True)]
        tokens, grids = [t for t, _ in prepared], [grid for _, grid in prepared]
        yield tokens  # [B_i, T_i, D]
        ropes: list[Rope] = []
        for block in self.blocks:
            if not ropes or self.rope_embed.draws:  # augmented: other tables for every block
                ropes = self.ropes(grids)
            tokens = [block(t, rope) for t, rope in zip(tokens, ropes, strict=True)]
            yield tokens

    def ropes(self, grids: Sequence[tuple[int, int]]) -> list[Rope]:
        """One (sin, cos) table per grid."""
        return [self.rope_embed(H=h, W=w) for h, w in grids]

    def normed(self, x: Float[Tensor, "B T D"], idx: int = 0) -> Float[Tensor, "B T D"]:
        """The final norm; CLS and storage tokens may have their own. `idx`: which crop size."""
        n_prefix = 1 + self.n_storage_tokens
        cls_norm = self.cls_norm
        if self.local_cls_norm is not None and self.training and idx == 1:
            cls_norm = self.local_cls_norm
        if cls_norm is None:
            return self.norm(x)
        return torch.cat([cls_norm(x[:, :n_prefix]), self.norm(x[:, n_prefix:])], dim=1)

    def forward_features_list(
        self, x_list: Sequence[Tensor], masks_list: Sequence[Tensor | None]
    ) -> list[Features]:
        """Crops of several sizes, each size a batch [B_i, C, H_i, W_i], through every block."""
        for tokens in self.run_blocks(x_list, masks_list):
            final = tokens
        return [
            self.features(x, m, i) for i, (x, m) in enumerate(zip(final, masks_list, strict=True))
        ]

    def features(self, x: Float[Tensor, "B T D"], masks: Tensor | None, idx: int) -> Features:
        """The official dictionary of the tokens after the last block."""
        normed, n_prefix = self.normed(x, idx), 1 + self.n_storage_tokens
        return {
            "x_norm_clstoken": normed[:, 0],
            "x_storage_tokens": normed[:, 1:n_prefix],
            "x_norm_patchtokens": normed[:, n_prefix:],
            "x_prenorm": x,
            "masks": masks,
        }

    def forward_features(
        self, x: Tensor | Sequence[Tensor], masks: Tensor | Sequence[Tensor | None] | None = None
    ) -> Features | list[Features]:
        """Features of a batch, or of a list of batches with a list of masks (True = hidden)."""
        if isinstance(x, Tensor):
            assert masks is None or isinstance(masks, Tensor)
            return self.forward_features_list([x], [masks])[0]
        return self.forward_features_list(x, [None] * len(x) if masks is None else list(masks))

    def forward(self, x: Any, masks: Any = None, is_training: bool = False) -> Any:
        """CLS feature [B, D]; with `is_training` the dictionary (a list of them for a list)."""
        out = self.forward_features(x, masks)
        return out if is_training else out["x_norm_clstoken"]  # type: ignore[call-overload]

    def get_intermediate_layers(
        self,
        x: Float[Tensor, "B C H W"],
        n: SupportsIndex | Iterable[SupportsIndex] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        return_extra_tokens: bool = False,
        norm: bool = True,
    ) -> tuple[Any, ...]:
        """Patch features of the last n blocks, or of the blocks with the given numbers.

        Args:
            x: images; H and W are multiples of the patch size.
            n: how many, or which, each once; blocks count from 0, or backwards from -1.
            reshape: patches as [B, D, h, w] instead of [B, N, D].
            return_class_token, return_extra_tokens: add CLS [B, D], storage tokens [B, R, D].
            norm: apply the final norm, which was trained for the last block only.

        Returns:
            one entry per block, in the order of the blocks: patches, or a tuple (patches, CLS,
            storage tokens) of what was asked for.

        Raises:
            ValueError: there is no such block.
        """
        wanted, out = self.block_numbers(n), []
        for i, (t,) in enumerate(self.run_blocks([x], [None]), start=-1):  # -1: before block 0
            if i not in wanted:
                continue
            t = self.normed(t) if norm else t
            patches = t[:, 1 + self.n_storage_tokens :]
            if reshape:
                h, w = (side // self.patch_size for side in x.shape[-2:])
                patches = patches.unflatten(1, (h, w)).permute(0, 3, 1, 2).contiguous()
            parts = [patches]
            parts += [t[:, 0]] if return_class_token else []
            parts += [t[:, 1 : 1 + self.n_storage_tokens]] if return_extra_tokens else []
            out.append(tuple(parts) if len(parts) > 1 else patches)
        return tuple(out)

    def block_numbers(self, n: Any) -> list[int]:
        """The last n blocks, or the given ones, in order; -1 is the last."""
        L, n = self.n_blocks, plain(n)
        try:
            one = not isinstance(n, Iterable)
            numbers = range(L - whole(n), L) if one else [whole(i) for i in n]
        except TypeError:
            numbers = []
        found = sorted({i % L for i in numbers})
        if not found or len(found) != len(numbers) or not all(-L <= i < L for i in numbers):
            raise ValueError(
                f"blocks {n!r} asked for; this model has {L}: give how many of them, from 1 on, or "
                f"a list of numbers from 0 to {L - 1}, each once"
            )
        return found

    @torch.no_grad()
    def get_attention_maps(
        self, x: Float[Tensor, "B C H W"], layers: Iterable[SupportsIndex] | None = None
    ) -> list[Float[Tensor, "B h T T"]]:
        """Attention probabilities (row = query, column = key), one map per block, in their order.

        Args:
            x: images; H and W are multiples of the patch size.
            layers: block numbers from 0, or backwards from -1, each once; None = the last.

        Raises:
            ValueError: there is no such block.
        """
        if layers is not None and not isinstance(plain(layers), Iterable):
            raise ValueError(f"layers = {layers!r}; give a list of block numbers, such as [0, -1]")
        grid = (x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size)
        wanted, maps = self.block_numbers(1 if layers is None else layers), []
        for i, (tokens,) in zip(range(self.n_blocks), self.run_blocks([x], [None]), strict=False):
            if i in wanted:
                block = self.blocks[i]
                assert isinstance(block, SelfAttentionBlock)
                maps.append(block.attn.attention_map(block.norm1(tokens), self.ropes([grid])[0]))
        return maps


def whole(number: Any) -> int:
    """A whole number of any kind (NumPy's, a tensor's) as an int; TypeError if it is none, or True
    or False."""
    if isinstance(number := plain(number), bool):
        raise TypeError(f"{number!r} is not a number")
    return operator.index(number)


def plain(x: Any) -> Any:
    """Arrays, tensors and their numbers as Python's lists and numbers."""
    return x.tolist() if hasattr(x, "tolist") else x


class Size(NamedTuple):
    """Width D, number of blocks, heads h and FFN ratio."""

    embed_dim: int
    depth: int
    num_heads: int
    ffn_ratio: float


SIZES = {
    "vit_tiny": Size(192, 12, 3, 4),
    "vit_small": Size(384, 12, 6, 4),
    "vit_base": Size(768, 12, 12, 4),
    "vit_large": Size(1024, 24, 16, 4),
    "vit_so400m": Size(1152, 27, 18, 3.777777778),
    "vit_huge2": Size(1280, 32, 20, 4),
    "vit_giant2": Size(1536, 40, 24, 4),
    "vit_7b": Size(4096, 40, 32, 3),
}


def complete(student: StudentConfig) -> StudentConfig:
    """The same settings with the numbers of the named size where none are given."""
    size = SIZES[student.arch]._asdict().items()
    return student.model_copy(update={k: v for k, v in size if getattr(student, k) is None})


def build_backbone(student: StudentConfig, *, teacher: bool = False) -> DinoVisionTransformer:
    """The backbone that `[student]` describes; a teacher is the same without stochastic depth."""
    others = {"arch", "layerscale", "resume_from_teacher_chkpt"}
    settings = complete(student).model_dump(exclude=others)
    settings |= {"drop_path_rate": 0.0} if teacher else {}
    return DinoVisionTransformer(layerscale_init=student.layerscale, **settings)
