"""A model that was written for other programs gives the model's features there, for any number and
size of pictures; needs the extra `export`."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dinolite.models import export
from dinolite.models.vision_transformer import DinoVisionTransformer

SHAPES = [(1, 3, 8, 8), (1, 3, 32, 12), (5, 3, 8, 36), (2, 3, 20, 20)]


def small() -> DinoVisionTransformer:
    """With all that a released model has."""
    torch.manual_seed(0)
    return DinoVisionTransformer(
        patch_size=4,
        embed_dim=16,
        depth=1,
        num_heads=2,
        n_storage_tokens=2,
        mask_k_bias=True,
        layerscale_init=0.5,
        pos_embed_rope_rescale_coords=2.0,
        untie_cls_and_patch_norms=True,
    ).eval()


@torch.no_grad()
def equal(net: DinoVisionTransformer, run: Any, atol: float) -> None:
    for shape in SHAPES:
        x = torch.randn(shape)
        out = net(x, is_training=True)
        cls, patches = run(x)
        torch.testing.assert_close(cls, out["x_norm_clstoken"], atol=atol, rtol=0)
        torch.testing.assert_close(patches, out["x_norm_patchtokens"], atol=atol, rtol=0)


@pytest.mark.slow
def test_onnx_gives_the_features_of_the_model(tmp_path: Path) -> None:
    import onnx

    net, path = small(), tmp_path / "m.onnx"
    assert export.write_onnx(net, path, {"mean": "[0.5]"}) < 1e-4
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx"}
    equal(net, export.onnx_runner(path), 1e-5)
    written = onnx.load(path)
    onnx.checker.check_model(written)
    words = {p.key: p.value for p in written.metadata_props}
    assert words["patch_size"] == "4" and words["mean"] == "[0.5]"
    (images,) = written.graph.input
    assert images.name == "images"
    assert images.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [x.name for x in written.graph.output] == ["cls", "patches"]


@pytest.mark.slow
def test_onnx_of_more_than_one_file_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, path = small(), tmp_path / "m.onnx"
    monkeypatch.setattr(export, "ONE_FILE", 0)
    export.write_onnx(net, path)
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.onnx.data"}
    equal(net, export.onnx_runner(path), 1e-5)
    monkeypatch.setattr(export, "CLOSE", -1.0)
    with pytest.raises(ValueError, match="not kept"):
        export.write_onnx(net, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_program_gives_the_features_of_the_model(tmp_path: Path) -> None:
    net, path = small(), tmp_path / "m.pt2"
    assert export.write_program(net, path, {"mean": "[0.5]"}) < 1e-6
    words = {"patch_size": "", "mean": ""}
    run = torch.export.load(path, extra_files=words).module()
    equal(net, run, 1e-6)
    assert {k: str(v) for k, v in words.items()} == {"patch_size": "4", "mean": "[0.5]"}


def test_what_differs_from_the_model_is_not_kept(tmp_path: Path) -> None:
    net = small()

    def off_by(error: float) -> Any:
        def run(x: Tensor) -> list[Tensor]:
            return [y + error for y in export.Outputs(net)(x)]

        return run

    assert export.largest_difference(net, off_by(1e-4), tmp_path) == pytest.approx(1e-4, rel=0.1)
    for error in (0.01, float("nan")):
        with pytest.raises(ValueError, match="not kept: its features are off"):
            export.largest_difference(net, off_by(error), tmp_path)


def test_without_the_extra_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"onnxscript is not installed; .*\[export\]"):
        export.write_onnx(small(), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"onnx = .*m.bin must end in .onnx"):
        export.write_onnx(small(), tmp_path / "m.bin")
    with pytest.raises(ValueError, match=r"program = .*m.pt must end in .pt2"):
        export.write_program(small(), tmp_path / "m.pt")
