"""Settings that are right each by itself and cannot go together, each with the sentence that says
so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dinolite.setting_types import Schedule

if TYPE_CHECKING:
    from dinolite.config import Config


def impossible_combinations(config: Config) -> list[str]:
    """One sentence for every impossible combination; empty if the settings can be used."""
    checks = [*check_model(config), *check_crops(config), *check_gram(config), *check_loop(config)]
    return [sentence for wrong, sentence in checks if wrong]


Check = tuple[bool, str]


def check_model(config: Config) -> list[Check]:
    s, d = config.student, config.dino
    periods = (s.pos_embed_rope_min_period, s.pos_embed_rope_max_period)
    base = s.pos_embed_rope_base
    dims = s.embed_dim is not None and s.num_heads is not None
    return [
        (
            dims and (s.embed_dim or 0) % (4 * (s.num_heads or 1)) != 0,
            f"student.embed_dim = {s.embed_dim} must be a multiple of 4 x student.num_heads = "
            f"{s.num_heads}",
        ),
        (
            (base is None) != (None not in periods) or (base is not None and any(periods)),
            f"student.pos_embed_rope_base = {base}, min_period = {periods[0]}, max_period = "
            f'{periods[1]}: give the base, or both periods and base = "none"',
        ),
        (
            d.koleo_distributed_loss_group_size is not None and not d.koleo_loss_distributed,
            "dino.koleo_distributed_loss_group_size needs dino.koleo_loss_distributed = true",
        ),
        (
            config.train.batch_size_per_gpu < 1 + d.koleo_topk
            and d.koleo_loss_weight > 0
            and not d.koleo_loss_distributed,
            f"train.batch_size_per_gpu = {config.train.batch_size_per_gpu} leaves KoLeo without "
            f"{d.koleo_topk} neighbour(s): use a larger batch or dino.koleo_loss_weight = 0",
        ),
    ]


def check_crops(config: Config) -> list[Check]:
    c, p = config.crops, config.student.patch_size
    sizes = {
        name: getattr(c, name)
        for name in ("global_crops_size", "local_crops_size", "gram_teacher_crops_size")
    }
    ranges = {
        "crops.global_crops_scale": c.global_crops_scale,
        "crops.local_crops_scale": c.local_crops_scale,
        "crops.blur_sigma": c.blur_sigma,
        "ibot.mask_ratio_min_max": config.ibot.mask_ratio_min_max,
    }
    eval_size = config.evaluation.image_size
    return [
        *(
            (size is not None and size % p != 0, f"crops.{name} = {size} is not a multiple of "
             f"student.patch_size = {p}")
            for name, size in sizes.items()
        ),
        *(
            (low > high or low < 0, f"{name} = [{low}, {high}]: the first must be at most the "
             "second")
            for name, (low, high) in ranges.items()
        ),
        (min(c.global_crops_scale[0], c.local_crops_scale[0]) <= 0, "crop scales must be above 0"),
        (c.blur_sigma[0] <= 0, f"crops.blur_sigma = {list(c.blur_sigma)} must be above 0"),
        (min(c.rgb_std) <= 0, f"crops.rgb_std = {list(c.rgb_std)} must be above 0"),
        (
            eval_size is not None and eval_size % p != 0,
            f"evaluation.image_size = {eval_size} is not a multiple of student.patch_size = {p}",
        ),
    ]  # fmt: skip


def check_gram(config: Config) -> list[Check]:
    g, size = config.gram, config.crops.gram_teacher_crops_size
    separate = g.use_loss and not g.ema_teacher
    return [
        (
            separate and g.ckpt is None and g.it_load_ema_teacher < 0,
            "gram.use_loss needs a gram teacher: gram.ckpt, gram.it_load_ema_teacher >= 0, or "
            "gram.ema_teacher = true",
        ),
        (
            g.use_loss and g.ema_teacher and (size is not None or g.rep_update or bool(g.ckpt)),
            "gram.ema_teacher = true anchors to the teacher's features of the same crops: it needs "
            "gram.rep_update = false and no gram.ckpt or crops.gram_teacher_crops_size",
        ),
        (
            g.remove_neg and g.remove_only_teacher_neg,
            "gram.remove_neg and gram.remove_only_teacher_neg exclude each other",
        ),
        (
            g.tokens_used != "all" and g.img_level,
            f"gram.tokens_used = {g.tokens_used!r} needs gram.img_level = false: images differ in "
            "how many patches are masked",
        ),
        (
            config.crops.gram_teacher_no_distortions and size is None,
            "crops.gram_teacher_no_distortions needs crops.gram_teacher_crops_size",
        ),
    ]


def check_loop(config: Config) -> list[Check]:
    total = config.train.iterations
    schedules: dict[str, Schedule | None] = {
        "optim.lr": config.optim.lr,
        "optim.weight_decay": config.optim.weight_decay,
        "teacher.momentum": config.teacher.momentum,
        "teacher.temp": config.teacher.temp,
        "gram.loss_weight_schedule": config.gram.loss_weight_schedule,
        "dino.local_loss_weight_schedule": config.dino.local_loss_weight_schedule,
    }
    momentum, temp = config.teacher.momentum, config.teacher.temp
    return [
        *(
            (s is not None and s.warmup + (s.cosine or 0) > total, f"{name} needs "
             f"{s.warmup + (s.cosine or 0) if s else 0} iterations, train.iterations = {total}")
            for name, s in schedules.items()
        ),
        (
            max(momentum.peak, momentum.end or 0, momentum.start) > 1,
            f"teacher.momentum goes from {momentum.peak} to {momentum.end}; it must stay in [0, 1]",
        ),
        (
            temp.peak <= 0 or temp.end == 0 or (temp.warmup > 0 and temp.start <= 0),
            "teacher.temp must be above 0 at every iteration",
        ),
        (
            config.gram.it_load_ema_teacher >= total and config.gram.use_loss,
            f"gram.it_load_ema_teacher = {config.gram.it_load_ema_teacher} is not before "
            f"train.iterations = {total}",
        ),
    ]  # fmt: skip
