"""From a recipe and a few changes to one checked `Config`: mistakes are refused, and all told at
once, with the nearest right name.

Sections and names are those of `settings.py`. Official counterpart: `train.py::setup_config`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dinolite import settings
from dinolite.checks import impossible_combinations
from dinolite.recipe_files import (
    ConfigError,
    did_you_mean,
    read_recipe,
    recipe_header,
    recipe_names,
    to_toml,
    without_none,
)
from dinolite.setting_types import Section

__all__ = [
    "Config",
    "ConfigError",
    "StudentConfig",
    "load_config",
    "recipe_header",
    "recipe_names",
    "to_toml",
]


class Config(Section):
    """All sections of `settings.py`."""

    data: settings.DataConfig = settings.DataConfig()
    student: settings.StudentConfig = settings.StudentConfig()
    dino: settings.DinoConfig = settings.DinoConfig()
    ibot: settings.IbotConfig = settings.IbotConfig()
    gram: settings.GramConfig = settings.GramConfig()
    crops: settings.CropsConfig = settings.CropsConfig()
    optim: settings.OptimConfig = settings.OptimConfig()
    teacher: settings.TeacherConfig = settings.TeacherConfig()
    train: settings.TrainConfig = settings.TrainConfig()
    evaluation: settings.EvaluationConfig = settings.EvaluationConfig()
    checkpointing: settings.CheckpointingConfig = settings.CheckpointingConfig()


StudentConfig = settings.StudentConfig


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
        set_dotted(tree, dotted, value)
    return check_config(tree)


def parse_override(text: str) -> tuple[str, Any]:
    """ "a.b=1" -> ("a.b", 1)."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {text!r} is not of the form section.key=value")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return key.strip(), without_none(parsed)


def set_dotted(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """tree["a"]["b"] = value for "a.b"."""
    *sections, key = dotted.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{dotted}: {section} is not a section")
        tree = inner
    tree[key] = value


def check_config(tree: Mapping[str, Any]) -> Config:
    """Validate a tree of settings. Raises ConfigError with every mistake in it."""
    try:
        config, mistakes, wrong = Config.model_validate(dict(tree)), [], set()
    except ValidationError as error:
        mistakes = [explain(e) for e in error.errors()]
        wrong = {".".join(map(str, e["loc"][:2])) for e in error.errors()}
        good = without_paths(tree, [e["loc"] for e in error.errors()])
        try:
            config = Config.model_validate(good)
        except ValidationError:
            config = Config()
    # What was wrong stands at its default now, and says nothing about its neighbours.
    combined = impossible_combinations(config)
    mistakes += [sentence for sentence in combined if not any(name in sentence for name in wrong)]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def explain(error: Any) -> str:
    """One sentence for one pydantic error."""
    dotted = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        model: type[BaseModel] = Config
        for part in error["loc"][:-1]:
            model = section_type(model.model_fields[str(part)].annotation)
        names = list(model.model_fields)
        return f"{dotted} is not a setting" + did_you_mean(str(error["loc"][-1]), names)
    message = error["msg"].removeprefix("Input ").removeprefix("Value ")
    return f"{dotted} = {error['input']!r}: {message}"


def section_type(annotation: Any) -> type[BaseModel]:
    """The group of settings in an annotation such as `Schedule | None`."""
    return next(t for t in (annotation, *get_args(annotation)) if issubclass(t, BaseModel))


def without_paths(tree: Mapping[str, Any], paths: list[tuple[Any, ...]]) -> dict[str, Any]:
    """A copy of the tree without the given entries."""
    out = {}
    for key, value in tree.items():
        inner = [p[1:] for p in paths if p[0] == key]
        if not inner:
            out[key] = value
        elif isinstance(value, dict) and all(inner):
            out[key] = without_paths(value, inner)
    return out
