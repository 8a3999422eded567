"""Settings as TOML text: the packaged recipes, and a run's settings written down.

A recipe is `dinolite/recipes/NAME.toml`, or a TOML file anywhere. Official counterpart: `configs/`.
"""

import difflib
import json
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel


class ConfigError(ValueError):
    """Settings that cannot be used; the message has one line for each mistake."""


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


def without_none(value: Any) -> Any:
    """TOML has no null: the word "none" stands for it."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items()}
    return None if value == "none" else value


def did_you_mean(word: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


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
