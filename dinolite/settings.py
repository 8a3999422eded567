"""Every setting of a run: name, type, default, meaning, allowed range. A default lives here and
nowhere else. Names and defaults are those of the official `configs/ssl_default_config.yaml` unless
said otherwise; durations are iterations everywhere (the official "epoch" is 1250 of them)."""

from typing import Annotated, Literal

from pydantic import Field

from dinolite.setting_types import (
    Arch,
    Count,
    Factor,
    Fraction,
    Iterations,
    Range,
    Rate,
    Schedule,
    Section,
    Triple,
    Weight,
)


class DataConfig(Section):
    dataset: str = "windows"
    """windows, scenes, mosaics, a sum of these, photos, folder:PATH, cifar10, cifar100, stl10,
    imagenette or imagenet."""
    image_size: Count | None = None
    """Longer side in pixels to which pictures are scaled when they are read; none = as they are."""
    root: str | None = None
    """Folder of downloaded data sets; none = data/."""
    download: bool = False
    """May torchvision fetch a data set that is missing?"""


class StudentConfig(Section):
    arch: Arch = "vit_small"
    """A named size; the next four change parts of it."""
    embed_dim: Count | None = None
    depth: Count | None = None
    num_heads: Count | None = None
    ffn_ratio: Annotated[float, Field(gt=0)] | None = None
    patch_size: Count = 16
    drop_path_rate: Rate = 0.3
    layerscale: Weight | None = 1e-5
    ffn_layer: Literal["mlp", "swiglu", "swiglu32", "swiglu64", "swiglu128"] = "mlp"
    norm_layer: Literal["layernorm", "layernormbf16", "rmsnorm"] = "layernorm"
    qkv_bias: bool = True
    proj_bias: bool = True
    ffn_bias: bool = True
    mask_k_bias: bool = False
    n_storage_tokens: Annotated[int, Field(ge=0)] = 0
    untie_cls_and_patch_norms: bool = False
    untie_global_and_local_cls_norm: bool = False
    pos_embed_rope_base: Annotated[float, Field(gt=0)] | None = 100.0
    pos_embed_rope_min_period: Annotated[float, Field(gt=0)] | None = None
    pos_embed_rope_max_period: Annotated[float, Field(gt=0)] | None = None
    pos_embed_rope_normalize_coords: Literal["separate", "min", "max"] = "separate"
    pos_embed_rope_shift_coords: Weight | None = None
    pos_embed_rope_jitter_coords: Factor | None = None
    pos_embed_rope_rescale_coords: Factor | None = None
    resume_from_teacher_chkpt: str = ""
    """Start from these backbone weights (a file or a name that `models.pretrained.load` knows)."""


class HeadConfig(Section):
    loss_weight: Weight = 1.0
    head_n_prototypes: Count = 65536
    """K; choose it near the number of teacher crops of a whole batch (see the entropy floor)."""
    head_bottleneck_dim: Count = 256
    head_nlayers: Count = 3
    head_hidden_dim: Count = 2048
    head_last_layer_std: Annotated[float, Field(gt=0)] = 0.02
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
    ckpt: str | None = None
    """Weights of the gram teacher at the start."""
    it_load_ema_teacher: Annotated[int, Field(ge=-1)] = -1
    """Copy the teacher into the gram teacher right before this iteration; -1 = never."""
    rep_update: bool = True
    """Copy it again from time to time:"""
    update_frequency: Count = 50_000
    it_first_update: Iterations = 0
    max_updates: Iterations | None = None
    normalized: bool = True
    img_level: bool = False
    """Compare patches within an image; false = within the whole batch."""
    remove_neg: bool = False
    remove_only_teacher_neg: bool = False
    tokens_used: Literal["all", "masked", "unmasked"] = "all"
    global_teacher_resize_method: Literal["bicubic", "bilinear"] = "bicubic"
    global_teacher_resize_antialias: bool = False


class CropsConfig(Section):
    global_crops_size: Count = 224
    global_crops_scale: Range = (0.32, 1.0)
    local_crops_number: Count = 8
    local_crops_size: Count = 96
    local_crops_scale: Range = (0.05, 0.32)
    gram_teacher_crops_size: Count | None = None
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
    rgb_mean: Triple = (0.485, 0.456, 0.406)
    rgb_std: Triple = (0.229, 0.224, 0.225)
    pipeline: Literal["batched", "per_image"] = "batched"
    """Batched tensors on the training device, or torchvision per picture in the workers."""


class OptimConfig(Section):
    lr: Schedule = Schedule(kind="cosine", peak=1e-3, end=1e-6, warmup=12_500)
    weight_decay: Schedule = Schedule(kind="cosine", peak=0.04, end=0.4)
    freeze_last_layer: Iterations = 1250
    """Iterations during which the prototypes' learning rate is 0."""
    scaling_rule: Literal["sqrt_wrt_1024", "linear_wrt_256", "off"] = "sqrt_wrt_1024"
    """lr x 4 sqrt(batch / 1024), or x batch / 256; batch = pictures of all processes together."""
    clip_grad: Annotated[float, Field(gt=0)] = 3.0
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
    num_workers: Annotated[int, Field(ge=0)] = 10
    device: str = "auto"
    """auto = cuda where there is one, else cpu."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products (autocast); auto = bfloat16 on cuda, float32 elsewhere."""
    compile: bool = True
    """torch.compile of every block, on cuda only."""
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """With several processes: everyone holds all of the model, or a share of every layer."""
    checkpointing_full: bool = False
    """Forget what is inside the student's blocks and compute it again in the backward pass."""
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
