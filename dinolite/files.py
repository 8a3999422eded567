"""Files that are either whole or not there: written beside their place, forced onto the disk, then
moved. A power cut, a full disk or a kill leaves what was there before.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write: a name beside `path`, which takes its place at the end of the block."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """The file with this text, as UTF-8, or as it was before."""
    with whole(path) as temporary:
        temporary.write_text(text, "utf8")


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder (Windows cannot do the latter)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """The checksum of a file, 64 hexadecimal digits, as `sha256sum` gives it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """What killed processes were writing in a folder, but not what lies below it."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)
