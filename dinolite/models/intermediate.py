"""Looking inside a backbone: the features after any block and the attention maps of any block.

Official `DinoVisionTransformer.get_intermediate_layers`; the official code shows no attention maps.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinolite.layers.attention import Rope
from dinolite.layers.block import SelfAttentionBlock


class IntermediateLayers(nn.Module):
    """What `DinoVisionTransformer` inherits to show its blocks from inside, and what it lends."""

    n_blocks: int
    n_storage_tokens: int
    patch_size: int
    blocks: nn.ModuleList
    run_blocks: Callable[..., Iterator[list[Tensor]]]
    ropes: Callable[[Sequence[tuple[int, int]]], list[Rope]]
    normed: Callable[..., Tensor]

    def get_intermediate_layers(
        self,
        x: Float[Tensor, "B C H W"],
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        return_extra_tokens: bool = False,
        norm: bool = True,
    ) -> tuple[Any, ...]:
        """Patch features of the last n blocks, or of the blocks with the given numbers.

        Args:
            x: images; H and W are multiples of the patch size.
            n: how many, or which; blocks count from 0, or backwards from -1.
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

    def block_numbers(self, n: int | Sequence[int]) -> list[int]:
        """The last n blocks, or the given ones, in order; -1 is the last."""
        numbers = range(self.n_blocks - n, self.n_blocks) if isinstance(n, int) else n
        if not all(-self.n_blocks <= i < self.n_blocks for i in numbers):
            raise ValueError(f"blocks {n!r} asked for; this model has {self.n_blocks}, from 0 on")
        return sorted({i % self.n_blocks for i in numbers})

    @torch.no_grad()
    def get_attention_maps(
        self, x: Float[Tensor, "B C H W"], layers: Sequence[int] | None = None
    ) -> list[Float[Tensor, "B h T T"]]:
        """Attention probabilities (row = query, column = key) of some blocks.

        Args:
            x: images; H and W are multiples of the patch size.
            layers: block numbers from 0, or backwards from -1; None = the last.

        Returns:
            one map per block, in the order of the blocks.
        """
        grid = (x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size)
        wanted, maps = self.block_numbers(1 if layers is None else layers), []
        for i, (tokens,) in zip(range(self.n_blocks), self.run_blocks([x], [None]), strict=False):
            if i in wanted:
                block = self.blocks[i]
                assert isinstance(block, SelfAttentionBlock)
                maps.append(block.attn.attention_map(block.norm1(tokens), self.ropes([grid])[0]))
        return maps
