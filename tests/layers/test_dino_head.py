"""Heads as the official code names and divides them."""

import pytest
import torch

from dinolite.layers.dino_head import DINOHead


def test_one_layer_has_no_number_in_its_name() -> None:
    head = DINOHead(8, 5, nlayers=1, bottleneck_dim=4)
    assert list(head.state_dict()) == ["mlp.weight", "mlp.bias", "last_layer.weight"]
    x = torch.randn(3, 8)
    z = x @ head.mlp.weight.T + head.mlp.bias
    expected = z / z.norm(dim=1, keepdim=True) @ head.last_layer.weight.T
    torch.testing.assert_close(head(x), expected)
    names = list(DINOHead(8, 5, nlayers=2, hidden_dim=6, bottleneck_dim=4).state_dict())
    assert names[:4] == ["mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias"]


@pytest.mark.parametrize(
    ("dtype", "length"), [(torch.float32, 1), (torch.bfloat16, 1), (torch.float16, 0.5)]
)
def test_short_vectors_are_divided_by_their_length(dtype: torch.dtype, length: float) -> None:
    """5e-7 is below the guard of float16, 1e-6, and above that of bfloat16, 1e-12."""
    head = DINOHead(1, 2, nlayers=1, bottleneck_dim=1)
    head.mlp.weight.data.fill_(1)
    z = head.to(dtype).bottleneck(torch.full((1, 1), 5e-7, dtype=dtype))
    assert float(z) == pytest.approx(length, rel=0.1)
