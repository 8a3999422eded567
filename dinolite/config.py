"""Every setting of a run: its name, type, default, meaning and allowed range; and how a recipe and
a few changes become one checked `Config`.

Names and defaults are those of the official `configs/ssl_default_config.yaml` unless said
otherwise; durations are iterations everywhere (the official "epoch" is 1250 of them). Official
`train.py::setup_config`, which accepts misspelt names.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)

# --- types ---

Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=1)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]
Range = Annotated[tuple[Fraction, Fraction], Field(strict=False)]
Rgb = tuple[float, float, float]
Colour = Annotated[Rgb, Field(strict=False)]
MeanColour = Annotated[tuple[Fraction, Fraction, Fraction], Field(strict=False)]
Size = int | tuple[int, int]
"""Pixels: the side of a square, or (height, width)."""
WeightsFile = Annotated[str | None, BeforeValidator(lambda x: None if x == "" else x)]
"""A file or a name that `models.pretrained.load` knows; "" is how earlier runs wrote None."""
Arch = Literal[
    "vit_tiny",
    "vit_small",
    "vit_base",
    "vit_large",
    "vit_so400m",
    "vit_huge2",
    "vit_giant2",
    "vit_7b",
]


def read_size(value: Any) -> Size:
    """A side, or [height, width], which two equal sides make a side again."""
    sides = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
    if not all(type(side) is int and side >= 1 for side in sides):
        raise ValueError("should be a side or [height, width], whole numbers >= 1")
    return int(sides[0]) if len(set(sides)) == 1 else (int(sides[0]), int(sides[1]))


def height_width(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def shown(size: Size | None) -> Any:
    """As it is written in a recipe."""
    return list(size) if isinstance(size, tuple) else size


CropSize = Annotated[Size, PlainValidator(read_size), PlainSerializer(shown)]

IMAGENET_MEAN: Rgb = (0.485, 0.456, 0.406)
IMAGENET_STD: Rgb = (0.229, 0.224, 0.225)

RECIPES = Path(__file__).resolve().parent / "recipes"

INIT, CROPS, MASKS, STEP = 0, 2, 3, 4
"""Streams of random numbers of a `train.seed`: the start weights, and those of an iteration."""


def seed_of(*numbers: int) -> int:
    """One well-mixed seed from several small numbers (seed, stream, rank, iteration, ...)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


# --- settings ---


class Section(BaseModel):
    """A group of settings: unknown keys and wrong types are errors, and nothing changes later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Schedule(Section):
    """A number for every iteration; see `train/schedules.py`."""

    kind: Literal["cosine", "warmup_cosine"] = "warmup_cosine"
    """Official v1 (`CosineScheduler`) or v2 (`linear_warmup_cosine_decay`)."""
    start: float = 0.0
    """Value at iteration 0, if there is a warm-up."""
    peak: Weight
    """Value after the warm-up."""
    end: Weight | None = None
    """Value at the end; none = peak, that is a constant."""
    warmup: Number = 0
    """Iterations from start to peak, linearly."""
    cosine: Count | None = None
    """Iterations of the cosine from peak to end (warmup_cosine only); none = all that are left."""


class DataConfig(Section):
    dataset: str = "windows"
    """A name of `data.datasets.SPECS`, folder:PATH, or a sum such as windows+mosaics."""
    image_size: Count | None = None
    """Longer side in pixels to which pictures are scaled when they are read; none = as they are."""
    root: str | None = None
    """Folder of downloaded data sets; none = data/."""
    value_range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """What is black and what is white in grey files of more than 8 bits, such as [0, 4095] for 12
    bits in 16; none = all that 16 bits hold, of wider files the picture's own finite range."""
    download: bool = False
    """May torchvision fetch a data set that is missing?"""

    @property
    def grey(self) -> bool:
        """Are all its pictures grey? Who saw only grey pictures is shown only grey ones later."""
        return set(self.dataset.split("+")) <= {"windows", "mosaics"}


class StudentConfig(Section):
    arch: Arch = "vit_small"
    """A named size; the next four change parts of it."""
    embed_dim: Count | None = None
    depth: Count | None = None
    num_heads: Count | None = None
    ffn_ratio: Positive | None = None
    patch_size: Count = 16
    in_chans: Count = 3
    """Channels of a picture; a run has 3, other numbers are for weights that are loaded."""
    drop_path_rate: Rate = 0.3
    layerscale: Weight | None = 1e-5
    ffn_layer: Literal["mlp", "swiglu", "swiglu32", "swiglu64", "swiglu128"] = "mlp"
    norm_layer: Literal["layernorm", "layernormbf16", "rmsnorm"] = "layernorm"
    qkv_bias: bool = True
    proj_bias: bool = True
    ffn_bias: bool = True
    mask_k_bias: bool = False
    n_storage_tokens: Number = 0
    untie_cls_and_patch_norms: bool = False
    untie_global_and_local_cls_norm: bool = False
    pos_embed_rope_base: Positive | None = 100.0
    pos_embed_rope_min_period: Positive | None = None
    pos_embed_rope_max_period: Positive | None = None
    pos_embed_rope_normalize_coords: Literal["separate", "min", "max"] = "separate"
    pos_embed_rope_shift_coords: Weight | None = None
    pos_embed_rope_jitter_coords: Factor | None = None
    pos_embed_rope_rescale_coords: Factor | None = None
    resume_from_teacher_chkpt: WeightsFile = None
    """Start from the weights of this backbone."""


class HeadConfig(Section):
    loss_weight: Weight = 1.0
    head_n_prototypes: Count = 65536
    """K; choose it near the number of teacher crops of a whole batch (see the entropy floor)."""
    head_bottleneck_dim: Count = 256
    head_nlayers: Count = 3
    head_hidden_dim: Count = 2048
    head_last_layer_std: Positive = 0.02
    """Spread of the prototypes at the start; more (0.1) makes small, short runs get going."""


class DinoConfig(HeadConfig):
    global_ignore_diagonal: bool = True
    """Leave out the pairs of a student crop with the teacher's view of the same crop."""
    koleo_loss_weight: Weight = 0.1
    koleo_loss_distributed: bool = False
    """Search neighbours among the samples of all processes."""
    koleo_topk: Count = 1
    koleo_distributed_loss_group_size: Count | None = None
    """Samples per neighbour search; none = all of the batch of all processes."""
    reweight_dino_local_loss: bool = False
    local_loss_weight_schedule: Schedule = Schedule(start=0.5, peak=0.5)


class IbotConfig(HeadConfig):
    mask_sample_probability: Fraction = 0.5
    """Share of the global crops that are masked."""
    mask_ratio_min_max: Range = (0.1, 0.5)
    """Share of the patches that is hidden in a masked crop."""
    mask_random_circular_shift: bool = False


class GramConfig(Section):
    use_loss: bool = False
    loss_weight: Weight = 1.0
    loss_weight_schedule: Schedule | None = None
    ema_teacher: bool = False
    """Anchor to the current teacher instead of a frozen gram teacher."""
    ckpt: WeightsFile = None
    """Weights of the gram teacher at the start."""
    it_load_ema_teacher: Annotated[int, Field(ge=-1)] = -1
    """Copy the teacher into the gram teacher right before this iteration; -1 = never."""
    rep_update: bool = True
    """Copy it again from time to time:"""
    update_frequency: Count = 50_000
    it_first_update: Number = 0
    max_updates: Number | None = None
    normalized: bool = True
    img_level: bool = False
    """Compare patches within an image; false = within the whole batch."""
    remove_neg: bool = False
    remove_only_teacher_neg: bool = False
    tokens_used: Literal["all", "masked", "unmasked"] = "all"
    global_teacher_resize_method: Literal["bicubic", "bilinear"] = "bicubic"
    global_teacher_resize_antialias: bool = False


class CropsConfig(Section):
    global_crops_size: CropSize = 224
    """Here and below a side or [height, width]; boxes are then cut in that aspect."""
    global_crops_scale: Range = (0.32, 1.0)
    local_crops_number: Count = 8
    local_crops_size: CropSize = 96
    local_crops_scale: Range = (0.05, 0.32)
    localcrops_subset_of_globalcrops: bool = False
    """Local crops are windows of the global ones, at whole patches, half of them of each."""
    gram_teacher_crops_size: CropSize | None = None
    gram_teacher_no_distortions: bool = False
    horizontal_flips: bool = True
    share_color_jitter: bool = False
    """One colour change for all crops of a picture."""
    color_jitter_prob: Fraction = 0.8
    brightness: Weight = 0.4
    contrast: Weight = 0.4
    saturation: Weight = 0.2
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    grayscale_prob: Fraction = 0.2
    blur_prob: Annotated[tuple[Fraction, Fraction, Fraction], Field(strict=False)] = (0.0, 0.9, 0.5)
    """First global, second global (which alone is solarised), local crops. The official YAML says
    1, 0.1, 0.5 and its code inverts them; the released models were trained with these."""
    blur_sigma: Annotated[tuple[float, float], Field(strict=False)] = (0.1, 2.0)
    """Range in pixels; the kernel has 9 x 9."""
    solarize_prob: Fraction = 0.2
    rgb_mean: MeanColour = IMAGENET_MEAN
    """Of pictures from 0 to 1."""
    rgb_std: Colour = IMAGENET_STD
    pipeline: Literal["auto", "batched", "per_image"] = "auto"
    """Batched tensors on the training device, or torchvision per picture in the workers; auto = the
    first, but on a CPU with large crops the second (`data.loaders.pipeline_of`)."""


class OptimConfig(Section):
    lr: Schedule = Schedule(kind="cosine", peak=1e-3, end=1e-6, warmup=12_500)
    weight_decay: Schedule = Schedule(kind="cosine", peak=0.04, end=0.4)
    freeze_last_layer: Number = 1250
    """Iterations during which the prototypes' learning rate is 0."""
    scaling_rule: Literal["sqrt_wrt_1024", "linear_wrt_256", "off"] = "sqrt_wrt_1024"
    """lr x 4 sqrt(batch / 1024), or x batch / 256; batch = pictures of all processes together."""
    clip_grad: Positive | None = 3.0
    """Largest gradient norm of the backbone, and of each head; none = not clipped."""
    patch_embed_lr_mult: Weight = 0.2
    layerwise_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    adamw_beta1: Rate = 0.9
    adamw_beta2: Rate = 0.999


class TeacherConfig(Section):
    momentum: Schedule = Schedule(kind="cosine", peak=0.992, end=1.0)
    temp: Schedule = Schedule(kind="cosine", start=0.04, peak=0.07, warmup=37_500)
    centering: Literal["sinkhorn_knopp", "centering"] = "sinkhorn_knopp"


class TrainConfig(Section):
    iterations: Count = 125_000
    batch_size_per_gpu: Count = 64
    """Pictures of one process; to go on with another number of them, keep the product the same."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    num_workers: Number = 10
    device: str = "auto"
    """auto = cuda where there is one, else cpu."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products (autocast); auto = bfloat16 on cuda, float32 elsewhere."""
    compile: bool = True
    """torch.compile of every block, on cuda only."""
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """With several processes: everyone holds all of the model, or a share of every layer."""
    checkpointing: bool = False
    """Keep matrix products and attention of the student's blocks, compute the rest once more in the
    backward pass."""
    checkpointing_full: bool = False
    """Keep nothing that is inside the student's blocks, compute all of it once more."""
    output_dir: str = "runs/run"
    log_every: Count = 10


class EvaluationConfig(Section):
    eval_period_iterations: Count = 12_500
    """k-NN of the teacher every so many iterations, and at the end."""
    dataset: str | None = None
    """Data set with labels; none = that of [data], if it has labels."""
    image_size: Count | None = None
    """Side of the pictures in pixels; none = as they are, or the global crop's if those differ."""
    max_train: Count = 50_000
    """At most so many pictures of the train split make the bank."""
    knn_k: Count = 20


class CheckpointingConfig(Section):
    period: Count = 3750
    max_to_keep: Count = 3
    keep_every: Count | None = None
    """Checkpoints after every so many iterations are made, too, and never removed."""


class Config(Section):
    """All settings of a run, in sections."""

    data: DataConfig = DataConfig()
    student: StudentConfig = StudentConfig()
    dino: DinoConfig = DinoConfig()
    ibot: IbotConfig = IbotConfig()
    gram: GramConfig = GramConfig()
    crops: CropsConfig = CropsConfig()
    optim: OptimConfig = OptimConfig()
    teacher: TeacherConfig = TeacherConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpointing: CheckpointingConfig = CheckpointingConfig()


# --- loading: a recipe, then changes, then checks ---


class ConfigError(ValueError):
    """Settings that cannot be used; the message has one line for each mistake."""


def load_config(
    recipe_or_path: str | Path | None = None, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Config:
    """Read a recipe, apply overrides, check everything.

    Args:
        recipe_or_path: a name in `dinolite/recipes`, a path of a TOML file, or None (defaults).
        overrides: "section.key=value" strings (the value in TOML; bare words are strings, `none`
            is None), or a mapping {"section.key": value}.

    Raises:
        ConfigError: every unknown key, wrong type, value out of range and impossible combination.
    """
    tree = read_recipe(recipe_or_path) if recipe_or_path is not None else {}
    if not isinstance(overrides, Mapping):
        overrides = dict(parse_override(text) for text in overrides)
    for dotted, value in overrides.items():
        *sections, key = dotted.split(".")
        inner: Any = tree
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{dotted}: {section} is not a section")
        inner[key] = value
    return check_config(tree)


def recipe_names() -> list[str]:
    """The packaged recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def recipe_header(name: str) -> str:
    """The comment at the top of a packaged recipe: what it is for, what it costs and reaches."""
    lines = (RECIPES / f"{name}.toml").read_text("utf8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return "\n".join(line.strip("# ") for line in comment)


def read_recipe(recipe_or_path: str | Path) -> dict[str, Any]:
    """The settings in a recipe, unchecked: {"section": {"key": value}}."""
    name, path = str(recipe_or_path), Path(recipe_or_path)
    if name in recipe_names():
        path = RECIPES / f"{name}.toml"
    elif path.suffix != ".toml" or not path.is_file():
        raise ConfigError(
            f"recipe {name!r} is neither a packaged recipe ({', '.join(recipe_names())}) nor a "
            f".toml file{did_you_mean(name, recipe_names())}"
        )
    try:
        return none_for_word(tomllib.loads(path.read_text("utf8")))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name!r} is not valid TOML: {error}") from None


def none_for_word(value: Any) -> Any:
    """TOML has no null: the word "none" stands for it."""
    if isinstance(value, dict):
        return {k: none_for_word(v) for k, v in value.items()}
    return None if value == "none" else value


def to_toml(config: Config) -> str:
    """The settings as TOML; `load_config` reads them back to an equal Config."""

    def table(settings: dict[str, Any], above: str) -> str:
        plain, tables = "", ""
        for name, value in settings.items():
            if isinstance(value, dict):
                tables += f"\n[{above}{name}]\n{table(value, f'{above}{name}.')}"
            else:  # numbers, texts, true, false and lists are written alike in JSON and in TOML
                word = json.dumps("none" if value is None else value, ensure_ascii=False)
                plain += f"{name} = {word}\n"
        return plain + tables

    return table(config.model_dump(mode="json"), "")


def parse_override(text: str) -> tuple[str, Any]:
    """ "a.b=1" -> ("a.b", 1)."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {text!r} is not of the form section.key=value")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return key.strip(), none_for_word(parsed)


def check_config(tree: Mapping[str, Any]) -> Config:
    """Validate a tree of settings. Raises ConfigError with every mistake in it."""
    mistakes, wrong = [], set()
    try:
        config = Config.model_validate(dict(tree))
    except ValidationError as error:
        mistakes = explain(error, Config)
        wrong = {".".join(map(str, e["loc"][:2])) for e in error.errors()}
        # Wrong settings are left out, so that the others can be compared, too.
        right = {
            section: {k: v for k, v in settings.items() if f"{section}.{k}" not in wrong}
            for section, settings in tree.items()
            if section not in wrong
        }
        config = Config.model_validate(right)
    combined = impossible_combinations(config)
    mistakes += [sentence for sentence in combined if not any(name in sentence for name in wrong)]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def explain(error: ValidationError, model: type[BaseModel], whole: str = "") -> list[str]:
    """A sentence for each mistake that pydantic found in the settings of a model. `whole`: what to
    call a mistake of no single setting, such as JSON that is none."""
    return [sentence_of(mistake, model, whole) for mistake in error.errors()]


def sentence_of(mistake: Any, model: type[BaseModel], whole: str) -> str:
    """See `explain`."""
    dotted = ".".join(map(str, mistake["loc"])) or whole
    if mistake["type"] == "extra_forbidden":
        for part in mistake["loc"][:-1]:  # the group in an annotation such as `Schedule | None`
            wide = model.model_fields[str(part)].annotation
            model = next(t for t in (wide, *get_args(wide)) if hasattr(t, "model_fields"))
        end = did_you_mean(str(mistake["loc"][-1]), list(model.model_fields))
        return f"{dotted} is not a setting{end}"
    message = mistake["msg"]
    for beginning in ("Value error, ", "Input ", "Value "):
        message = message.removeprefix(beginning)
    value = repr(mistake["input"])
    value = value if len(value) <= 100 else f"{value[:100]}..."  # a picture, a whole file
    return f"{dotted} = {value}: {message}"


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """The end of a sentence: "; did you mean NAME?", or nothing if no name is near."""
    near = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


# --- settings that exclude each other ---


def impossible_combinations(config: Config) -> list[str]:
    """One sentence for each; empty if the settings can be used."""
    checks = (check_data, check_model, check_crops, check_gram, check_schedules)
    return [sentence for check in checks for sentence in check(config)]


def check_data(config: Config) -> Iterator[str]:
    black, white = config.data.value_range or (0, 1)
    if black >= white:
        yield f"data.value_range = [{black}, {white}]: the first must be below the second"


def check_model(config: Config) -> Iterator[str]:
    s, d, batch = config.student, config.dino, config.train.batch_size_per_gpu
    # Constructors refuse these, too; here, so that all mistakes are told at once.
    width, heads = s.embed_dim, s.num_heads
    if width is not None and heads is not None and width % (4 * heads):
        yield f"student.embed_dim = {width} must be a multiple of 4 x student.num_heads = {heads}"
    if s.in_chans != 3:
        yield f"student.in_chans = {s.in_chans}: pictures are read in three colours, a run needs 3"
    low, high = s.pos_embed_rope_min_period, s.pos_embed_rope_max_period
    given = [period is not None for period in (low, high)]
    if any(given) if s.pos_embed_rope_base is not None else not all(given):
        yield (
            f"student.pos_embed_rope_base = {s.pos_embed_rope_base}, "
            f"student.pos_embed_rope_min_period = {low}, "
            f"student.pos_embed_rope_max_period = {high}: "
            f'give the base, or both periods and base = "none"'
        )
    if d.loss_weight == d.koleo_loss_weight == config.ibot.loss_weight == 0:
        yield (
            "dino.loss_weight, dino.koleo_loss_weight and ibot.loss_weight are all 0, which leaves "
            "nothing to learn from: give one of them a weight"
        )
    if d.koleo_distributed_loss_group_size is not None and not d.koleo_loss_distributed:
        yield "dino.koleo_distributed_loss_group_size needs dino.koleo_loss_distributed = true"
    if d.koleo_loss_weight > 0:
        yield from check_koleo(d, batch, d.koleo_distributed_loss_group_size)


def check_koleo(d: DinoConfig, batch: int, group: int | None) -> Iterator[str]:
    """As far as it does not depend on the number of processes."""
    if not d.koleo_loss_distributed and batch <= d.koleo_topk:
        yield (
            f"train.batch_size_per_gpu = {batch} leaves KoLeo without {d.koleo_topk} "
            "neighbour(s): use a larger batch or dino.koleo_loss_weight = 0"
        )
    if d.koleo_loss_distributed and group and (group % batch or group <= d.koleo_topk):
        yield (
            f"dino.koleo_distributed_loss_group_size = {group} must be a multiple of "
            f"train.batch_size_per_gpu = {batch} and above dino.koleo_topk = {d.koleo_topk}"
        )


def check_crops(config: Config) -> Iterator[str]:
    c, patch = config.crops, config.student.patch_size
    names = "global_crops_size", "local_crops_size", "gram_teacher_crops_size"
    sizes = {f"crops.{name}": getattr(c, name) for name in names}
    for name, size in {**sizes, "evaluation.image_size": config.evaluation.image_size}.items():
        if size is not None and any(side % patch for side in height_width(size)):
            yield f"{name} = {shown(size)} is not a multiple of student.patch_size = {patch}"
    names = "global_crops_scale", "local_crops_scale", "blur_sigma"
    ranges = {f"crops.{name}": getattr(c, name) for name in names}
    ranges["ibot.mask_ratio_min_max"] = config.ibot.mask_ratio_min_max
    for name, (low, high) in ranges.items():
        if low > high:
            yield f"{name} = [{low}, {high}]: the first must be at most the second"
        if low <= 0 and name.startswith("crops"):
            yield f"{name} = [{low}, {high}] must be above 0"
    if min(c.rgb_std) <= 0:
        yield f"crops.rgb_std = {list(c.rgb_std)} must be above 0"
    if c.gram_teacher_no_distortions and c.gram_teacher_crops_size is None:
        yield "crops.gram_teacher_no_distortions needs crops.gram_teacher_crops_size"
    h, w = height_width(c.global_crops_size)
    gram_h, gram_w = height_width(c.gram_teacher_crops_size or c.global_crops_size)
    if h * gram_w != w * gram_h:
        yield (
            f"crops.gram_teacher_crops_size = {shown(c.gram_teacher_crops_size)} must have the "
            f"aspect of crops.global_crops_size = {shown(c.global_crops_size)}: both show the same"
        )
    if c.localcrops_subset_of_globalcrops:
        yield from check_windows(c, patch)


def check_windows(c: CropsConfig, patch: int) -> Iterator[str]:
    if c.local_crops_number % 2:
        yield (
            f"crops.local_crops_number = {c.local_crops_number} must be even for "
            "crops.localcrops_subset_of_globalcrops = true: half are windows of each global crop"
        )
    sides = zip(height_width(c.global_crops_size), height_width(c.local_crops_size), strict=True)
    if any(large - small < patch for large, small in sides):
        yield (
            f"crops.local_crops_size = {shown(c.local_crops_size)} must be smaller than "
            f"crops.global_crops_size = {shown(c.global_crops_size)} by at least "
            f"student.patch_size = {patch} for crops.localcrops_subset_of_globalcrops = true"
        )


def check_gram(config: Config) -> Iterator[str]:
    g, total = config.gram, config.train.iterations
    own_crops = config.crops.gram_teacher_crops_size is not None
    if g.use_loss and not g.ema_teacher and g.ckpt is None and g.it_load_ema_teacher < 0:
        yield (
            "gram.use_loss needs a gram teacher: gram.ckpt, gram.it_load_ema_teacher >= 0, or "
            "gram.ema_teacher = true"
        )
    if g.use_loss and g.ema_teacher and (own_crops or g.rep_update or g.ckpt is not None):
        yield (
            "gram.ema_teacher = true anchors to the teacher's features of the same crops: it needs "
            "gram.rep_update = false and no gram.ckpt or crops.gram_teacher_crops_size"
        )
    if g.use_loss and (loaded := g.it_load_ema_teacher) >= total:
        yield f"gram.it_load_ema_teacher = {loaded} is not before train.iterations = {total}"
    if g.remove_neg and g.remove_only_teacher_neg:
        yield "gram.remove_neg and gram.remove_only_teacher_neg exclude each other"
    if g.tokens_used != "all" and g.img_level:
        yield (
            f"gram.tokens_used = {g.tokens_used!r} needs gram.img_level = false: images differ in "
            "how many patches are masked"
        )


def check_schedules(config: Config) -> Iterator[str]:
    momentum, temp, total = config.teacher.momentum, config.teacher.temp, config.train.iterations
    schedules: dict[str, Schedule | None] = {
        "optim.lr": config.optim.lr,
        "optim.weight_decay": config.optim.weight_decay,
        "teacher.momentum": momentum,
        "teacher.temp": temp,
        "gram.loss_weight_schedule": config.gram.loss_weight_schedule,
        "dino.local_loss_weight_schedule": config.dino.local_loss_weight_schedule,
    }
    for name, schedule in schedules.items():
        if schedule is not None and (n := schedule.warmup + (schedule.cosine or 0)) > total:
            yield f"{name} needs {n} iterations, train.iterations = {total}"
    if max(momentum.start, momentum.peak, momentum.end or 0) > 1:
        values = f"start = {momentum.start}, peak = {momentum.peak}, end = {momentum.end}"
        yield f"teacher.momentum: {values}; all must be in [0, 1]"
    if temp.peak <= 0 or temp.end == 0 or (temp.warmup > 0 and temp.start <= 0):
        yield "teacher.temp must be above 0 at every iteration"
