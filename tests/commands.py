"""Finds what the pages tell a reader to type: lines of shell blocks, commands in the text, the
commands in the heads of recipes, and blocks of Python."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("*.md", "docs/*.md", "lessons/*.md", "data/*.md", "data/weights/*.md")
PAGES = [path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]
RECIPES = sorted((ROOT / "dinolite" / "recipes").glob("*.toml"))

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)
INDENTED = re.compile(r"(?m)^ {4}((?:dinolite|python|torchrun|pytest|make) .*)")
PROGRAMS = "dinolite|torchrun|python|pytest|make|conda|pip|sbatch|sha256sum"
INLINE = re.compile(rf"`((?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?:{PROGRAMS}) [^`]+)`")
HEAD = re.compile(r"(?m)^#   command   (.*(?:\n# {8,}\S.*)*)")


class Printed(NamedTuple):
    """A command or a block of Python, and where it stands."""

    text: str
    place: str

    @property
    def name(self) -> str:
        """For the list of tests."""
        return f"{self.place}: {' '.join(self.text.split())[:60]}"


def commands() -> list[Printed]:
    """Every command for a shell, each text once."""
    found = [p for path in PAGES for p in commands_of(path)]
    for path in RECIPES:
        for match in HEAD.finditer(path.read_text("utf8")):
            found.append(Printed(re.sub(r"\s*\n#\s*", " ", match[1]), path.name))
    return once(found)


def snippets() -> list[Printed]:
    """Every block of Python."""
    found = []
    for path in PAGES:
        blocks = BLOCK.findall(path.read_text("utf8"))
        found += [Printed(text, page(path)) for kind, text in blocks if kind == "python"]
    return once(found)


def commands_of(path: Path) -> list[Printed]:
    """The commands of one page, in their order but for the kinds."""
    text = path.read_text("utf8")
    found = []
    for kind, block in BLOCK.findall(text):
        if kind == "sh":
            found += [block] if block.startswith("#!") else lines_of(block)
    prose = BLOCK.sub("", text)
    found += INDENTED.findall(prose)
    found += [" ".join(text.split()) for text in INLINE.findall(prose)]
    return [Printed(command, page(path)) for command in found]


def lines_of(block: str) -> list[str]:
    """The commands of a shell block, without comments, long ones in one line."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    bare = (re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines)
    return [line for line in bare if line]


def page(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def once(found: list[Printed]) -> list[Printed]:
    """Equal texts are one, at its first place."""
    return list({p.text: p for p in reversed(found)}.values())[::-1]
