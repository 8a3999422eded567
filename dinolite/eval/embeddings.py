"""A vector, or a map of vectors, for every picture of a folder, with the pictures' names, in one
safetensors file; and a search in it for the pictures most like one. It is written batch by batch:
memory is bounded, and a kill costs one batch, because the same call goes on.

DINO Sec. 4.2.1 (retrieval by nearest features); the official code writes no such file.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dinolite.checkpointer import sync, write_text
from dinolite.config import IMAGENET_MEAN, IMAGENET_STD, Rgb, did_you_mean
from dinolite.data.decoding import (
    PicturePath,
    UnreadablePicture,
    read_many,
    read_picture,
    show_path,
    suffixes,
)
from dinolite.data.folders import FoundPictures, find_pictures
from dinolite.eval.features import as_grey, extract_features, extract_patches, scaled
from dinolite.eval.knn import nearest
from dinolite.models.pretrained import digest
from dinolite.models.vision_transformer import DinoVisionTransformer

WHAT = ("cls", "mean", "patches")  # of the patches: their mean, or all
GRID = 16  # patches a side, unless a size is given
DECODED = 4  # times `size`: the longest side to which large pictures are decoded
HEAD = 2**15  # bytes for the header, which is written last
SEARCHED = 2**24  # numbers that are compared at once


@dataclass(frozen=True)
class Reading:
    """How a picture becomes a row: which vectors, of the picture scaled to size x size pixels
    (aspect not kept), in which colours; `half` stores them in half precision; `value_range` as in
    `read_picture`."""

    what: str
    size: int
    mean: Rgb = IMAGENET_MEAN
    std: Rgb = IMAGENET_STD
    grey: bool = False
    half: bool = False
    value_range: tuple[float, float] | None = None

    def check(self, net: DinoVisionTransformer) -> None:
        """ValueError for what this net cannot do."""
        if self.what not in WHAT:
            raise ValueError(f"what = {self.what!r}; allowed: {', '.join(WHAT)}")
        if (chans := net.patch_embed.in_chans) != 3:
            raise ValueError(f"the model takes pictures of {chans} channels; these have 3")
        if self.size < 1 or self.size % net.patch_size:
            raise ValueError(
                f"size = {self.size} is not a multiple of the model's patch_size = {net.patch_size}"
            )

    def row(self, net: DinoVisionTransformer) -> list[int]:
        """The shape of one: [D], or [D, h, w]."""
        grid = self.size // net.patch_size
        return [net.embed_dim, grid, grid] if self.what == "patches" else [net.embed_dim]

    def picture(self, path: str | Path) -> UInt8[Tensor, "1 3 size size"]:
        """One picture as it is shown; UnreadablePicture if there is none."""
        picture = read_picture(path, DECODED * self.size, value_range=self.value_range)
        return scaled(picture[None], self.size)

    def rows(
        self, net: DinoVisionTransformer, pictures: UInt8[Tensor, "B 3 size size"]
    ) -> Float[Tensor, "B *row"]:
        """Their rows, on the CPU."""
        pictures = as_grey(pictures) if self.grey else pictures
        how: Any = {"batch_size": len(pictures), "mean": self.mean, "std": self.std}
        if self.what == "patches":
            rows = extract_patches(net, pictures, **how)
        else:
            features = extract_features(net, pictures, **how)
            rows = features.cls if self.what == "cls" else features.patch_mean
        return rows.to("cpu", torch.float16 if self.half else torch.float32)


# --- writing ---


def write_embeddings(
    net: DinoVisionTransformer,
    folder: Path,
    out: Path,
    how: Reading,
    batch_size: int = 32,
    words: Mapping[str, str] | None = None,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, list[str]]:
    """A row for every readable picture under `folder`, whatever split it lies in.

    The file has the tensors "embeddings" [n, D] or [n, D, h, w], and "names" uint8: the paths in
    `folder`, in the rows' order, with a zero byte between two.

    Args:
        out: ends in .safetensors; a file that is whole already is left as it is.
        words: for the file's head, beside the settings.
        show: is told how many pictures of how many are done.
    Returns the number of rows; a sentence for each file left out, as in `OUT.skipped.txt`. Raises
    ValueError if no picture is readable, or `out` is of other settings, weights or pictures.
    """
    how.check(net)
    if out.suffix != ".safetensors" or batch_size < 1:
        raise ValueError(f"out = {out} must end in .safetensors, batch_size = {batch_size} be >= 1")
    found = all_pictures(folder)
    sums = {"weights": weights_sum(net), "pictures": files_sum(found.paths, folder)}
    settings = asdict(how) | sums
    with only_one(out):
        if not out.exists():
            work = Unfinished(out, settings, how.row(net))
            show(work.done, len(found.paths))
            for good, skipped in decoded(found.paths[work.done :], how, batch_size):
                rows = how.rows(net, torch.cat([*good.values()])) if good else None
                names = [Path(path).relative_to(folder).as_posix() for path in good]
                work.add(names, skipped, rows)
                show(work.done, len(found.paths))
            work.finish(words or {}, found.skipped)
        there = read_embeddings(out)
        same_settings(there.settings, settings, out)
        return len(there.names), left_out_of(out)


def all_pictures(folder: Path) -> FoundPictures:
    """Of all splits and classes; ValueError if there are none."""
    if not folder.is_dir():
        raise ValueError(f"{show_path(folder)} is not a folder; allowed: one with pictures")
    found = find_pictures(folder)
    if not found.paths:
        reason = found.skipped[0] if found.skipped else f"allowed: {' '.join(suffixes())} files"
        raise ValueError(f"{show_path(folder)} has no picture; {reason}")
    return found


def weights_sum(net: DinoVisionTransformer) -> str:
    """By which the same weights are known again."""
    return digest({name: value.cpu() for name, value in net.state_dict().items()}, {})[:16]


def files_sum(paths: Sequence[PicturePath], folder: Path) -> str:
    """How many files there are, and a checksum of their names, sizes and times."""
    total = hashlib.sha256()
    for path in paths:
        stat = os.stat(path)
        total.update(repr((os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns)).encode())
    return f"{len(paths)} ({total.hexdigest()[:16]})"


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Make its folder, and keep other processes from writing the same file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{out}.lock")
    try:
        with lock.acquire(timeout=0):
            yield
            with suppress(OSError):  # Windows keeps what is open
                os.unlink(lock.lock_file)
    except Timeout:
        raise ValueError(f"another process writes {out}: wait for it, or another --out") from None


def decoded(
    paths: Sequence[PicturePath], how: Reading, batch_size: int
) -> Iterator[tuple[dict[PicturePath, Tensor], list[str]]]:
    """Batches of readable pictures by their paths, and the other ones' sentences; the next batch is
    decoded while one is used."""
    batches = [paths[i : i + batch_size] for i in range(0, len(paths), batch_size)]
    with ThreadPoolExecutor(1) as pool:
        ahead: Any = None
        for i, batch in enumerate(batches):
            now = ahead or pool.submit(read_many, batch, how.picture)
            read = now.result()
            ahead = i + 1 < len(batches) and pool.submit(read_many, batches[i + 1], how.picture)
            skipped = [str(x) for x in read if isinstance(x, UnreadablePicture)]
            yield {p: x for p, x in zip(batch, read, strict=True) if isinstance(x, Tensor)}, skipped


class Unfinished:
    """`OUT.part` with the rows so far, behind room for the header, and `OUT.part.jsonl`: the
    settings, then the names and sentences of each batch whose rows are safely in the former."""

    def __init__(self, out: Path, settings: Mapping[str, Any], row: list[int]) -> None:
        self.out, self.settings, self.row = out, settings, row
        self.part, self.log = (out.with_name(out.name + end) for end in (".part", ".part.jsonl"))
        self.kind, size = ("F16", 2) if settings["half"] else ("F32", 4)
        self.row_bytes = size * math.prod(row)
        self.names, self.skipped = list[str](), list[str]()
        self.resume()

    @property
    def done(self) -> int:
        """How many pictures."""
        return len(self.names) + len(self.skipped)

    def resume(self) -> None:
        """Read what is done; begin where there is nothing, or less than the lines say."""
        lines = self.log.read_bytes().split(b"\n")[:-1] if self.log.exists() else []
        if lines:  # what followed the last line end was not written to its own
            same_settings(json.loads(lines[0]), self.settings, self.part)
            batches = [json.loads(line) for line in lines[1:]]
            self.names, self.skipped = ([x for b in batches for x in b[i]] for i in (0, 1))
            end = 8 + HEAD + self.row_bytes * len(self.names)
            if self.part.exists() and self.part.stat().st_size >= end:
                os.truncate(self.log, sum(len(line) + 1 for line in lines))
                os.truncate(self.part, end)
                return
        self.names, self.skipped = [], []
        self.part.write_bytes(b" " * (8 + HEAD))
        write_text(self.log, json.dumps(self.settings) + "\n")

    def add(self, names: list[str], skipped: list[str], rows: Tensor | None) -> None:
        """The rows of a batch, then the line that says so."""
        if rows is not None:
            append(self.part, rows.contiguous().numpy().tobytes())
        append(self.log, json.dumps([names, skipped]).encode() + b"\n")
        self.names += names
        self.skipped += skipped

    def finish(self, words: Mapping[str, str], skipped: Sequence[str]) -> None:
        """Names and header, and the file takes its name."""
        if not self.names:
            raise ValueError(f"no picture is readable; the first: {self.skipped[0]}")
        names = b"\0".join(map(os.fsencode, self.names))
        n, middle = len(self.names), self.row_bytes * len(self.names)
        tensors = {  # type, shape, first and last byte
            "embeddings": (self.kind, [n, *self.row], [0, middle]),
            "names": ("U8", [len(names)], [middle, middle + len(names)]),
        }
        keys = ("dtype", "shape", "data_offsets")
        head: dict[str, Any] = {k: dict(zip(keys, x, strict=True)) for k, x in tensors.items()}
        head["__metadata__"] = {**words, "settings": json.dumps(self.settings)}
        text = json.dumps(head).encode()
        if len(text) > HEAD:
            raise ValueError(f"words for the head of {self.out} are longer than {HEAD} bytes")
        append(self.part, names)
        with open(self.part, "r+b") as file:
            file.write(HEAD.to_bytes(8, "little") + text.ljust(HEAD))
        sync(self.part)
        skipped_file(self.out).unlink(missing_ok=True)
        if sentences := [*skipped, *self.skipped]:
            write_text(skipped_file(self.out), "\n".join(sentences) + "\n")
        os.replace(self.part, self.out)
        sync(self.out.parent)
        self.log.unlink(missing_ok=True)


def skipped_file(out: Path) -> Path:
    """Where the sentences on files left out stand."""
    return out.with_name(out.name + ".skipped.txt")


def left_out_of(out: Path) -> list[str]:
    """These sentences."""
    file = skipped_file(out)
    return file.read_text("utf8").splitlines() if file.exists() else []


def append(path: Path, data: bytes) -> None:
    """Write at the end of a file, down to the disk."""
    with open(path, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def same_settings(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    """ValueError naming the settings in which a file differs from what is wanted."""
    new = json.loads(json.dumps(new))
    if other := [f"{k} was {old.get(k)}, is {new[k]}" for k in new if old.get(k) != new[k]]:
        raise ValueError(
            f"{path} was begun with other settings ({'; '.join(other)}): the old ones, another "
            "--out, or remove it"
        )


# --- reading and searching ---


class Embeddings(NamedTuple):
    """What a file holds; `rows` stays on the disk until it is used."""

    names: list[str]
    rows: Float[Tensor, "n *row"]
    settings: dict[str, Any]
    words: dict[str, str]

    @property
    def how(self) -> Reading:
        """How a further picture becomes a row."""
        own = {k: v for k, v in self.settings.items() if k not in ("weights", "pictures")}
        lists: dict[str, Any] = {k: tuple(v) for k, v in own.items() if isinstance(v, list)}
        return Reading(**own | lists)


def read_embeddings(path: Path) -> Embeddings:
    """ValueError if `path` is no file that `write_embeddings` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            words = file.metadata() or {}
            names = bytes(file.get_tensor("names").numpy()).split(b"\0")
            rows = file.get_tensor("embeddings")
        settings = json.loads(words.pop("settings"))
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(
            f"{path} is no file of embeddings, as `dinolite features` writes them: {error}"
        ) from None
    return Embeddings([os.fsdecode(name) for name in names], rows, settings, words)


def most_alike(
    found: Embeddings, query: Float[Tensor, "*row"], k: int, leave_out: str = ""
) -> list[tuple[str, float]]:
    """Names and cosines of the k pictures most like one, the most alike first.

    Args:
        query: a row as in the file; of maps the mean patch is compared.
        leave_out: the name of a picture that is not wanted, the asked one.

    Raises:
        ValueError: k is below 1, or no other picture is there.
    """
    n = len(found.names) - (leave_out in found.names)
    if k < 1 or n < 1:
        raise ValueError(f"k = {k} must be at least 1, and there are {n} other pictures")
    cosines = []
    for rows in found.rows.split(max(SEARCHED // query.numel(), 1)):
        x = rows.float().flatten(2).mean(2) if query.ndim == 3 else rows.float()
        q = query.float().flatten(1).mean(1) if query.ndim == 3 else query.float()
        cosines.append(F.cosine_similarity(x, q[None]))
    similarity = torch.cat(cosines)
    if leave_out in found.names:
        similarity[found.names.index(leave_out)] = -torch.inf
    values, places = nearest(similarity[None], min(k, n))
    return [
        (found.names[i], x) for i, x in zip(places[0].tolist(), values[0].tolist(), strict=True)
    ]


def asked_row(
    found: Embeddings, picture: str, load: Callable[[], DinoVisionTransformer]
) -> Float[Tensor, "*row"]:
    """The row of a picture of the file, by its name there, or of any other picture file, for which
    the model is loaded.

    Raises:
        ValueError: there is neither, or the model is not the file's.
    """
    if picture in found.names:
        return found.rows[found.names.index(picture)]
    if not Path(picture).is_file():
        hint = did_you_mean(picture, found.names[:10000])
        raise ValueError(f"{picture} is neither a file nor the name of an embedded picture{hint}")
    shown, net = found.how.picture(picture), load()
    if (own := weights_sum(net)) != found.settings["weights"]:
        raise ValueError(
            f"the model has other weights ({own}) than the embeddings ({found.settings['weights']})"
            "; name the one they were made with"
        )
    return found.how.rows(net, shown)[0]
