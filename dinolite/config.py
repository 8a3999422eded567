"""From a recipe and a few changes to one checked `Config`: mistakes are refused, and all told at
once, with the nearest right name.

A recipe is a TOML file, packaged (`dinolite/recipes/NAME.toml`) or anywhere; its sections are those
of `settings.py`. Official counterpart: `configs/` and `train.py::setup_config`.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dinolite import settings
from dinolite.checks import impossible_combinations
from dinolite.setting_types import Section


class ConfigError(ValueError):
    """Settings that cannot be used; the message has one line for each mistake."""


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


def recipe_names() -> list[str]:
    """The packaged recipes."""
    folder = files("dinolite") / "recipes"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def read_recipe(recipe_or_path: str | Path) -> dict[str, Any]:
    """The settings in a recipe, unchecked."""
    path = Path(recipe_or_path)
    if str(recipe_or_path) in recipe_names():
        text = (files("dinolite") / "recipes" / f"{recipe_or_path}.toml").read_text("utf8")
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text("utf8")
    else:
        raise ConfigError(
            f"recipe {str(recipe_or_path)!r} is neither a packaged recipe "
            f"({', '.join(recipe_names())}) nor a .toml file"
            + did_you_mean(str(recipe_or_path), recipe_names())
        )
    try:
        return without_none(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {str(recipe_or_path)!r} is not valid TOML: {error}") from None


def recipe_header(name: str) -> str:
    """The comment at the top of a packaged recipe: what it is for, what it costs and reaches."""
    lines = (files("dinolite") / "recipes" / f"{name}.toml").read_text("utf8").splitlines()
    return "\n".join(line.strip("# ") for line in takewhile(lambda x: x.startswith("#"), lines))


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


def without_none(value: Any) -> Any:
    """TOML has no null: the word "none" stands for it."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items()}
    return None if value == "none" else value


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
        config, mistakes = Config.model_validate(dict(tree)), []
    except ValidationError as error:
        mistakes = [explain(e) for e in error.errors()]
        good = without_paths(tree, [e["loc"] for e in error.errors()])
        try:
            config = Config.model_validate(good)
        except ValidationError:
            config = Config()
    mistakes += impossible_combinations(config)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def explain(error: Any) -> str:
    """One sentence for one pydantic error."""
    dotted = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        model: Any = Config
        for part in error["loc"][:-1]:
            model = model.model_fields[part].annotation
        names = list(getattr(model, "model_fields", {}))
        return f"{dotted} is not a setting" + did_you_mean(str(error["loc"][-1]), names)
    message = error["msg"].removeprefix("Input ").removeprefix("Value ")
    return f"{dotted} = {error['input']!r}: {message}"


def did_you_mean(word: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


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


def to_toml(model: BaseModel, prefix: str = "") -> str:
    """The settings as TOML; `load_config` reads them back to an equal Config."""

    def literal(value: Any) -> str:
        if value is None:
            return '"none"'
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple | list):
            return f"[{', '.join(literal(v) for v in value)}]"
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        return repr(value)

    plain, tables = [], []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            tables.append(f"\n[{prefix}{name}]\n{to_toml(value, f'{prefix}{name}.')}")
        else:
            plain.append(f"{name} = {literal(value)}\n")
    return "".join(plain + tables)
