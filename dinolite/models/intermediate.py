"""Looking inside a backbone: the features after any block and the attention maps of any block.

Official `DinoVisionTransformer.get_intermediate_layers`; attention maps are not in the official code.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinolite.layers.attention import Rope


class IntermediateLayers(nn.Module):
    """What `DinoVisionTransformer` inherits to show its blocks from inside."""

    blocks: nn.ModuleList
    patch_size: int
    n_storage_tokens: int
    n_blocks: int

    def run_blocks(
        self, xs: Sequence[Tensor], masks: Sequence[Tensor | None]
    ) -> Iterator[list[Tensor]]:
        raise NotImplementedError

    def ropes(self, grids: Sequence[tuple[int, int]]) -> list[Rope]:
        raise NotImplementedError

    def normed(self, x: Tensor, idx: int = 0) -> Tensor:
        raise NotImplementedError

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

        Returns:
            one entry per block, in the order of the blocks: patches [B, N, D], or [B, D, h, w]
            with `reshape`; a tuple (patches, cls, storage tokens) where those are asked for.
        """
        wanted = self.block_numbers(n)
        states = list(self.run_blocks([x], [None]))[1:]
        out: list[Any] = []
        for i in wanted:
            t = self.normed(states[i][0]) if norm else states[i][0]
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
        self, x: Float[Tensor, "B C H W"], n: int | Sequence[int] = 1
    ) -> list[Float[Tensor, "B h T T"]]:
        """Attention probabilities (query, key) of the last n blocks, or of the given ones."""
        grid = (x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size)
        wanted, maps = self.block_numbers(n), []
        for i, (block, (tokens,)) in enumerate(zip(self.blocks, self.run_blocks([x], [None]))):
            if i in wanted:
                maps.append(block.attn.attention_map(block.norm1(tokens), self.ropes([grid])[0]))
        return maps
