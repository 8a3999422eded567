"""Settings: read, overridden, written back; every mistake told at once with the nearest right
name."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dinolite.config import (
    Config,
    ConfigError,
    StudentConfig,
    explain,
    load_config,
    recipe_names,
    to_toml,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_can_be_used_and_written_back(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    copy = tmp_path / "copy.toml"
    copy.write_text(to_toml(config), "utf8")
    assert load_config(copy) == config


def test_overrides() -> None:
    config = load_config(
        "demo",
        [
            "train.seed=7",
            "optim.lr.peak=0.5",
            "student.layerscale=1e-3",
            "crops.gram_teacher_crops_size=none",
            "data.dataset=folder:my pictures/a=b",
            "crops.global_crops_scale=[0.5, 1]",
            "student.norm_layer=rmsnorm",
        ],
    )
    assert (config.train.seed, config.optim.lr.peak, config.student.layerscale) == (7, 0.5, 1e-3)
    assert config.data.dataset == "folder:my pictures/a=b"
    assert config.crops.global_crops_scale == (0.5, 1)
    assert config.student.norm_layer == "rmsnorm"
    assert load_config("demo", {"train.seed": 7}).train.seed == 7
    assert load_config("demo", ["optim.clip_grad=none"]).optim.clip_grad is None


def test_no_file_is_none_also_where_an_earlier_run_wrote_an_empty_text() -> None:
    old = load_config("demo", {"student.resume_from_teacher_chkpt": "", "gram.ckpt": ""})
    assert old == load_config("demo") and old.gram.ckpt is None
    assert load_config("demo", ["gram.ckpt=a.pth"]).gram.ckpt == "a.pth"


def test_sizes_that_are_not_square(tmp_path: Path) -> None:
    changes = ["crops.global_crops_size=[24, 32]", "crops.local_crops_size=[8, 8]"]
    config = load_config("demo", changes)
    assert config.crops.global_crops_size == (24, 32) and config.crops.local_crops_size == 8
    (tmp_path / "a.toml").write_text(to_toml(config), "utf8")
    assert load_config(tmp_path / "a.toml") == config


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(
            "demo",
            [
                "student.pach_size=8",
                "studnt.depth=3",
                "train.seed=x",
                "optim.lr.pek=1",
                "student.drop_path_rate=1.5",
                "crops.local_crops_size=13",
            ],
        )
    message = str(error.value)
    assert "student.pach_size is not a setting; did you mean patch_size?" in message
    assert "studnt is not a setting; did you mean student?" in message
    assert "train.seed = 'x': should be a valid integer" in message
    assert "optim.lr.pek is not a setting; did you mean peak?" in message
    assert "student.drop_path_rate = 1.5: should be less than 1" in message
    assert "crops.local_crops_size = 13 is not a multiple of student.patch_size = 4" in message
    assert len(message.splitlines()) == 6


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["crops.global_crops_size=25"], "not a multiple of student.patch_size"),
        (["crops.gram_teacher_crops_size=33"], "crops.gram_teacher_crops_size = 33"),
        (["crops.global_crops_size=[24, 25]"], "crops.global_crops_size = [24, 25] is not a multi"),
        (["crops.global_crops_size=[24]"], "crops.global_crops_size = [24]: should be a side or ["),
        (["crops.local_crops_size=[8, 8, 8]"], "= [8, 8, 8]: should be a side or [height, width]"),
        (["crops.local_crops_size=[8, 0]"], "crops.local_crops_size = [8, 0]: should be a side or"),
        (["crops.local_crops_size=8.0"], "crops.local_crops_size = 8.0: should be a side or ["),
        (["crops.gram_teacher_crops_size=true"], "crops.gram_teacher_crops_size = True: should be"),
        (
            ["crops.gram_teacher_crops_size=[48, 24]"],
            "crops.gram_teacher_crops_size = [48, 24] must have the aspect of",
        ),
        (
            ["crops.localcrops_subset_of_globalcrops=true", "crops.local_crops_number=3"],
            "crops.local_crops_number = 3 must be even",
        ),
        (
            ["crops.localcrops_subset_of_globalcrops=true", "crops.local_crops_size=[8, 24]"],
            "crops.local_crops_size = [8, 24] must be smaller than crops.global_crops_size = 24",
        ),
        (["evaluation.image_size=33"], "evaluation.image_size = 33"),
        (["dino.head_n_prototypes=0"], "greater than or equal to 1"),
        (["student.embed_dim=66"], "multiple of 4 x student.num_heads"),
        (["student.pos_embed_rope_min_period=1.0"], "give the base, or both periods"),
        (["student.pos_embed_rope_base=none"], "give the base, or both periods"),
        (["ibot.mask_ratio_min_max=[0.5, 0.1]"], "the first must be at most the second"),
        (["ibot.mask_ratio_min_max=[0.5, 1.1]"], "less than or equal to 1"),
        (["ibot.mask_sample_probability=-0.1"], "greater than or equal to 0"),
        (["crops.global_crops_scale=[0.0, 1.0]"], "above 0"),
        (["crops.blur_sigma=[0.0, 1.0]"], "crops.blur_sigma"),
        (["crops.rgb_std=[0.0, 1.0, 1.0]"], "crops.rgb_std"),
        (["gram.use_loss=true"], "needs a gram teacher"),
        (["gram.use_loss=true", "gram.ema_teacher=true"], "gram.rep_update = false"),
        (["gram.remove_neg=true", "gram.remove_only_teacher_neg=true"], "exclude each other"),
        (["gram.tokens_used=masked", "gram.img_level=true"], "gram.img_level = false"),
        (["crops.gram_teacher_no_distortions=true"], "needs crops.gram_teacher_crops_size"),
        (["gram.use_loss=true", "gram.it_load_ema_teacher=900"], "is not before"),
        (["optim.lr.warmup=1000"], "optim.lr needs 1000 iterations"),
        (["teacher.momentum.peak=1.5"], "peak = 1.5, end = None; all must be in [0, 1]"),
        (["teacher.temp.peak=0.0"], "teacher.temp must be above 0"),
        (["train.batch_size_per_gpu=1"], "leaves KoLeo without"),
        (["dino.koleo_distributed_loss_group_size=16"], "dino.koleo_loss_distributed = true"),
        (
            ["dino.koleo_loss_distributed=true", "dino.koleo_distributed_loss_group_size=48"],
            "must be a multiple of train.batch_size_per_gpu = 32",
        ),
        (
            ["dino.loss_weight=0", "dino.koleo_loss_weight=0", "ibot.loss_weight=0"],
            "leaves nothing to learn from",
        ),
        (["train.seed=1.5"], "train.seed = 1.5"),
        (["train.compile=1"], "train.compile = 1"),
        (["train.seed"], "not of the form section.key=value"),
        (["train.seed.x=1"], "train.seed"),
    ],
)
def test_impossible_settings(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config("demo", overrides)


def test_unknown_recipe_and_broken_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean demo"):
        load_config("dmo")
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\nseed = 1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(broken)


def test_settings_do_not_change_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config("demo").train.seed = 3


def test_every_setting_is_read_somewhere() -> None:
    """House rule 5: a setting that no code reads does not exist."""
    sources = {p.name: p.read_text("utf8") for p in (ROOT / "dinolite").rglob("*.py")}
    code = "\n".join(text for name, text in sources.items() if name not in ("config.py",))
    by_name_only = {"brightness", "contrast", "saturation", "hue"}  # read in a loop over names
    for section, field in Config.model_fields.items():
        for name in field.annotation.model_fields:  # type: ignore[union-attr]
            if section == "student" or name in by_name_only:
                continue  # [student] is handed to the model whole; the golden tests use it
            assert re.search(rf"\.{name}\b", code), f"{section}.{name} is read nowhere"


def test_one_sentence_for_a_mistake_whoever_finds_it() -> None:
    """A setting, JSON that is none, a long text: the name, the value, what is allowed."""

    def told(text: str) -> list[str]:
        with pytest.raises(ValidationError) as error:
            StudentConfig.model_validate_json(text)
        return explain(error.value, StudentConfig, "config")

    assert told('{"depth": 0}') == ["depth = 0: should be greater than or equal to 1"]
    assert told('{"dept": 1}') == ["dept is not a setting; did you mean depth?"]
    assert len(told('{"depth": 0, "dept": 1}')) == 2
    (long,) = told(f'{{"arch": "{"x" * 9000}"}}')
    assert long.startswith("arch = 'xxx") and "vit_tiny" in long and len(long) < 400
    (whole,) = told("no JSON")
    assert whole.startswith("config = 'no JSON': Invalid JSON")


@pytest.mark.parametrize("value_range", ["[5, 5]", "[9, 1]"])
def test_a_range_of_values_rises(value_range: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.value_range = .*: the first must be below"):
        load_config(None, [f"data.value_range={value_range}"])
    assert load_config(None, ["data.value_range=[-1000, 1000]"]).data.value_range == (-1000, 1000)
