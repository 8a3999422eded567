"""Equal to the official implementation: every file of figures that it produced is reproduced here.

The folder is tests/golden, or the one that the environment variable DINOLITE_GOLDEN names.
Everything is built from the settings inside the files; a file of an unknown kind fails. Formats and
tolerances: tests/golden/README.md.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from dinolite.config import check_config
from dinolite.data.masking import SSLBatch
from dinolite.layers.dino_head import DINOHead
from dinolite.layers.rope_position_encoding import RopePositionEmbedding
from dinolite.loss.dino_clstoken_loss import DINOLoss, SoftmaxCenter
from dinolite.loss.gram_loss import GramLoss
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.train.param_groups import get_params_groups, set_rates
from dinolite.train.schedules import cosine_schedule, linear_warmup_cosine_decay
from dinolite.train.ssl_meta_arch import SSLMetaArch

FOLDER = Path(os.environ.get("DINOLITE_GOLDEN", Path(__file__).parent / "golden"))
FILES = sorted(FOLDER.glob("*.safetensors"))
FORWARD, WHOLE_STEP, GRAD_NORM, FINAL_WEIGHTS = 1e-5, 1e-4, 1e-3, 2e-3  # relative L2 errors


class Golden:
    """The tensors and the settings of one file."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            self.config = json.loads(file.metadata()["config"])
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.compared: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in self.tensors.items() if n.startswith(prefix)}

    def compare(self, name: str, actual: Tensor, tolerance: float = FORWARD) -> None:
        self.compared.add(name)
        expected = self.tensors[name].double()
        assert actual.shape == expected.shape, name
        if expected.numel() == 0:
            return
        error = (actual.detach().double() - expected).norm() / expected.norm().clamp(min=1e-12)
        assert error <= tolerance, f"{name}: relative error {error:.1e} > {tolerance:.0e}"


def test_there_are_golden_files() -> None:
    assert FILES, f"no golden files in {FOLDER}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    kinds = {
        "vit_": check_vit,
        "rope": check_rope,
        "dino_head": check_head,
        "dino_loss": check_dino_loss,
        "ibot_loss": check_ibot_loss,
        "koleo_loss": check_koleo_loss,
        "gram_loss": check_gram_loss,
        "schedules": check_schedules,
        "step_": check_step,
    }
    checks = [check for prefix, check in kinds.items() if path.stem.startswith(prefix)]
    assert len(checks) == 1, f"{path.name}: a golden file of unknown kind"
    golden = Golden(path)
    checks[0](golden)
    assert golden.compared, "nothing was compared"


def official_vit(config: dict) -> DinoVisionTransformer:
    """The official constructor's arguments, without those that have no meaning here."""
    config = dict(config)
    assert config.pop("pos_embed_rope_dtype", "fp32") == "fp32", "dinolite's RoPE is float32"
    for informational in ("img_size", "device"):
        config.pop(informational, None)
    return DinoVisionTransformer(**config)


def check_vit(golden: Golden) -> None:
    model = official_vit(golden.config)
    model.load_state_dict(golden.under("state_dict."), strict=True)
    image, local, masks = golden["image"], golden["local_image"], golden["masks"]
    model.eval()
    with torch.no_grad():
        outputs = {
            "unmasked": model(image, is_training=True),
            "masked": model(image, masks=masks, is_training=True),
        }
        golden.compare("forward", model(image))
        layers = model.get_intermediate_layers(image, n=2, reshape=True, return_class_token=True)
        h, w = (side // model.patch_size for side in image.shape[-2:])
        sin, cos = model.rope_embed(H=h, W=w)
        model.train()
        both = model([image, local], masks=[masks, None], is_training=True)
        outputs |= {"train_list.global": both[0], "train_list.local": both[1]}
    golden.compare("rope.sin", sin)
    golden.compare("rope.cos", cos)
    for i, (patch, cls) in enumerate(layers):
        golden.compare(f"intermediate.{i}.patch", patch)
        golden.compare(f"intermediate.{i}.cls", cls)
    for prefix, output in outputs.items():
        for name in ("x_norm_clstoken", "x_storage_tokens", "x_norm_patchtokens", "x_prenorm"):
            golden.compare(f"{prefix}.{name}", output[name])
    inputs = {"image", "local_image", "masks"}
    weights = {name for name in golden.tensors if name.startswith("state_dict.")}
    assert golden.compared | inputs | weights == set(golden.tensors), "a tensor was not compared"


def check_rope(golden: Golden) -> None:
    for i, case in enumerate(golden.config):
        case = dict(case)
        H, W = case.pop("H"), case.pop("W")
        rope = RopePositionEmbedding(case.pop("embed_dim"), **case).eval()
        sin, cos = rope(H=H, W=W)
        golden.compare(f"{i}.periods", rope.periods)
        golden.compare(f"{i}.sin", sin)
        golden.compare(f"{i}.cos", cos)
    assert golden.compared == set(golden.tensors)


def check_head(golden: Golden) -> None:
    head = DINOHead(**golden.config)
    head.load_state_dict(golden.under("state_dict."), strict=True)
    golden.compare("bottleneck", head.bottleneck(golden["input"]))
    golden.compare("output", head(golden["input"]))


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(loss, x)[0]


def check_dino_loss(golden: Golden) -> None:
    c = golden.config
    logits = golden["teacher_logits"]
    sinkhorn = sinkhorn_knopp(logits, c["teacher_temp"], c["n_iterations"])
    golden.compare("sinkhorn", sinkhorn)
    student = golden["student_global"].requires_grad_()
    local = golden["student_local"].requires_grad_()
    targets = sinkhorn.unflatten(0, (student.shape[0], -1))
    loss = DINOLoss(c["student_temp"])
    golden.compare("loss_global_all_pairs", loss(student, targets))
    without = loss(student, targets, ignore_diagonal=True)
    golden.compare("loss_global_ignore_diagonal", without)
    golden.compare("grad_global_ignore_diagonal", gradient(without, student))
    golden.compare("loss_local", loss(local, targets))
    golden.compare("grad_local", gradient(loss(local, targets), local))
    center = SoftmaxCenter(c["out_dim"], c["center_momentum"])
    golden.compare("softmax_first", center(logits, c["teacher_temp"]))
    center.update(logits)
    golden.compare("center_after_update", center.center)
    golden.compare("softmax_after_update", center(logits, c["teacher_temp"]))


def check_ibot_loss(golden: Golden) -> None:
    c = golden.config
    targets = sinkhorn_knopp(golden["teacher_logits"], c["teacher_temp"], c["n_iterations"])
    golden.compare("sinkhorn", targets)
    loss, masks = iBOTPatchLoss(c["student_temp"]), golden["masks"]
    student = golden["student_logits"].requires_grad_()
    masked = loss.forward_masked(student, targets, golden["masks_weight"], len(masks))
    golden.compare("loss_masked", masked)
    golden.compare("grad_masked", gradient(masked, student))
    dense = loss(golden["dense_student_logits"], golden["dense_teacher_probs"], masks)
    golden.compare("loss_dense", dense)


def check_koleo_loss(golden: Golden) -> None:
    x = golden["input"].requires_grad_()
    loss = KoLeoLoss(eps=golden.config["eps"])(x)
    golden.compare("loss", loss)
    golden.compare("grad", gradient(loss, x))


def check_gram_loss(golden: Golden) -> None:
    for i, case in enumerate(golden.config):
        student = golden[f"{i}.student"].requires_grad_()
        loss = GramLoss(**case)(student, golden[f"{i}.teacher"])
        golden.compare(f"{i}.loss", loss)
        golden.compare(f"{i}.grad", gradient(loss, student))


def check_schedules(golden: Golden) -> None:
    n = len(golden["cosine"])
    c = golden.config["cosine"]
    cosine = torch.full((n,), float(c["final_value"]), dtype=torch.float64)  # after the run's end
    assert c.pop("freeze_iters") == c.pop("trunc_extra") == 0  # no setting of ours reaches them
    cosine[: c["total_iters"]] = torch.from_numpy(cosine_schedule(**c))[:n]
    golden.compare("cosine", cosine, 1e-12)
    for name in ("warmup_cosine", "warmup_cosine_constant"):
        values = linear_warmup_cosine_decay(**golden.config[name])
        golden.compare(name, torch.from_numpy(values), 1e-12)


def run_config(golden: Golden):
    """Our settings from the official overrides: the same names, but for what is gone."""
    c = golden.config
    tree = json.loads(json.dumps(c["overrides"]))
    student = tree["student"]
    assert student.pop("pos_embed_rope_dtype", "fp32") == "fp32"
    student.pop("arch", None)
    student |= c["vit"]
    tree.get("train", {}).pop("compile", None)
    tree["optim"] = {
        "layerwise_decay": c["layerwise_decay"],
        "patch_embed_lr_mult": c["patch_embed_lr_mult"],
        "clip_grad": c["clip_grad"],
    }
    return check_config(tree)


def check_step(golden: Golden) -> None:
    c, config = golden.config, run_config(golden)
    model = SSLMetaArch(config)
    for network in ("student", "teacher", "gram_teacher"):
        weights = golden.under(f"init.{network}.")
        if weights and (module := getattr(model, network)) is not None:
            module.load_state_dict(weights, strict=True)
    groups = get_params_groups(model.student, c["layerwise_decay"], c["patch_embed_lr_mult"])
    check_groups(model, groups, c["param_groups"])
    optimizer = torch.optim.AdamW(groups, betas=tuple(c["adamw_betas"]))
    assert c["lr"] == "1e-3*(step+1), last layer 0 at step 0", "the only rule this test knows"
    for t in range(c["n_steps"]):
        lr = 1e-3 * (t + 1)
        set_rates(optimizer.param_groups, lr, 0.0 if t == 0 else lr, c["weight_decay"])
        batch = official_batch(golden.under(f"batch.{t}."))
        weights = {n: float(golden[f"loss.{t}.{n}"]) for n in loss_weights(golden, t)}
        total, losses = model(
            batch,
            c["teacher_temp"],
            local_loss_weight=weights.get("dino_local_loss_weight", 1.0),
            gram_loss_weight=config.gram.loss_weight,
        )
        if "gram_loss_weight" in weights:
            assert weights["gram_loss_weight"] == pytest.approx(config.gram.loss_weight)
        golden.compare(f"loss.{t}.total", total, WHOLE_STEP)
        for name in golden.under(f"loss.{t}."):
            if not name.endswith("weight") and name != "total":
                golden.compare(f"loss.{t}.{name}", losses[name], WHOLE_STEP)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        for name, module in model.student.items():
            norm = torch.nn.utils.clip_grad_norm_(module.parameters(), c["clip_grad"])
            golden.compare(f"grad_norm.{t}.{name}", norm, GRAD_NORM)
        optimizer.step()
        model.update_teacher(c["momentum"])
    for network in ("student", "teacher"):
        final = getattr(model, network).state_dict()
        for name in golden.under(f"final.{network}."):
            golden.compare(f"final.{network}.{name}", final[name], FINAL_WEIGHTS)


def loss_weights(golden: Golden, t: int) -> list[str]:
    return [name for name in golden.under(f"loss.{t}.") if name.endswith("weight")]


def official_batch(tensors: dict[str, Tensor]) -> SSLBatch:
    return SSLBatch(
        global_crops=tensors["collated_global_crops"],
        local_crops=tensors["collated_local_crops"],
        masks=tensors["collated_masks"],
        mask_indices_list=tensors["mask_indices_list"],
        masks_weight=tensors["masks_weight"],
        gram_teacher_crops=tensors.get("collated_gram_teacher_crops"),
    )


def check_groups(model: SSLMetaArch, groups: list, expected: dict) -> None:
    names = {param: name for name, param in model.student.named_parameters()}
    keys = ("lr_multiplier", "wd_multiplier", "is_last_layer")
    actual = {
        names[p]: {key: group[key] for key in keys} for group in groups for p in group["params"]
    }
    assert actual.keys() == expected.keys()
    for name, multipliers in expected.items():
        assert actual[name] == pytest.approx(multipliers), name
