"""What lies in a folder, a zip or a tar of pictures, and what the names of its sub-folders mean:
parts for training and for testing, classes, pictures beside masks. All that is left out is named.

The official data sets know their own layouts; none is read from a folder's names there.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from dinolite.data.decoding import Packed, PicturePath, not_read, open_archive, show_path, suffixes

EVERY = 10  # without a sub-folder for testing, every tenth picture is a test picture
Place = tuple[str, ...]  # the folders in which a picture lies, from the one that was named

_MORE = r"([_ -]?(\d{4}|set|data|images?|imgs?))?"  # train2017, test_images, ...
TRAIN = re.compile(r"train(ing|val)?" + _MORE, re.IGNORECASE)
TEST = re.compile(r"(test(ing)?|val(id(ation)?)?|dev|eval)" + _MORE, re.IGNORECASE)
IMAGES = re.compile(r"(.*[_ -])?(images?|imgs?)|jpegimages|leftimg8bit", re.IGNORECASE)
MASKS = re.compile(
    r"(.*[_ -])?(masks?|labels?|annot(ation)?s?|segmentations?|trimaps?|gt|ground_?truths?)"
    r"|segmentation(class|object)|gtfine|gtcoarse",
    re.IGNORECASE,
)


class FoundPictures(NamedTuple):
    """What lies under a folder or in an archive, in sorted order."""

    paths: list[PicturePath]
    places: list[Place]
    skipped: list[str]

    def skip(self, path: PicturePath, why: str) -> None:
        """Say that it is left out."""
        self.skipped.append(f"{show_path(path)}: skipped, {why}")


def find_pictures(root: Path) -> FoundPictures:
    """Every picture file under `root`, which may be a zip or a tar; each real folder once, so that
    circles of links end. Hidden folders, files of other kinds and folders without pictures are
    skipped, with a sentence each. Raises ValueError for what is missing or a file of another kind.
    """
    if not root.exists():
        allowed = "allowed: one with pictures, a zip, a tar"
        raise ValueError(f"folder:{show_path(root)} is not a folder; {allowed}")
    found = FoundPictures([], [], [])
    folders = _walk(root, found) if root.is_dir() else _unpack(root, found)
    full = {place[:i] for place in found.places for i in range(len(place) + 1)}
    for place in folders:
        if place not in full and place[:-1] in full:
            found.skip(root.joinpath(*place), "a folder without pictures")
    return found


def _walk(root: Path, found: FoundPictures) -> list[Place]:
    """Add the files under a folder to what was found; returns all folders."""
    seen: set[str] = set()
    folders = []

    for folder, subfolders, files in os.walk(
        root, onerror=lambda e: found.skip(e.filename, str(e.strerror)), followlinks=True
    ):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            if not Path(os.path.realpath(Path(folder).parent)).is_relative_to(real):  # no circle
                found.skip(folder, "its pictures were found under another name")
            continue
        seen.add(real)
        for name in sorted(name for name in subfolders if name.startswith(".")):
            found.skip(f"{folder}/{name}", "a hidden folder")
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        folders.append(Path(folder).relative_to(root).parts)
        for file in sorted(files):
            _add(found, os.path.join(folder, file), folders[-1], file)
    return folders


def _unpack(archive: Path, found: FoundPictures) -> list[Place]:
    """The same for an archive, in the same order as if it had been unpacked."""
    opened, _ = open_archive(str(archive), os.getpid())
    if isinstance(opened, tarfile.TarFile):
        names = {member.name for member in opened.getmembers() if not member.isdir()}
        links = {member.name for member in opened.getmembers() if not member.isreg()}
    else:
        names, links = {info.filename for info in opened.infolist() if not info.is_dir()}, set()
    split = {
        name: tuple(p for p in re.split(r"[/\\]", name) if p not in ("", ".")) for name in names
    }
    for name, parts in sorted(split.items(), key=lambda item: _walking_order(item[1])):
        path = Packed.at(archive, name)
        if any(part.startswith(".") or part == "__MACOSX" for part in parts[:-1]):
            found.skip(path, "in a hidden folder")
        elif name in links:
            found.skip(path, "not a regular file")
        else:
            _add(found, path, parts[:-1], parts[-1])
    return sorted({parts[:i] for parts in split.values() for i in range(len(parts))})


def _walking_order(parts: Place) -> list[tuple[bool, str]]:
    """Sorts paths as `os.walk` finds them: the files of a folder come before its sub-folders."""
    return [(i < len(parts) - 1, part) for i, part in enumerate(parts)]


def _add(found: FoundPictures, path: PicturePath, place: Place, name: str) -> None:
    if name.startswith("."):
        found.skip(path, "a hidden file")
    elif not name.lower().endswith(suffixes()):
        found.skip(path, not_read(name))
    elif not (isinstance(path, Packed) or os.path.isfile(path)):
        found.skip(path, "not a regular file")
    else:
        found.paths.append(path)
        found.places.append(place)


class Contents(NamedTuple):
    """The pictures of a folder as it was understood."""

    paths: list[PicturePath]
    parts: list[str]  # of each picture: "train", "test", or "" if it is left out
    names: list[str]  # of its class; "" if it has none
    test: str  # what the part for testing is called in the folder
    remarks: list[str]  # for the line that says what was understood
    skipped: list[str]

    def part(self, split: str) -> tuple[list[PicturePath], list[str]]:
        """Paths and classes of one part."""
        rows = [i for i, part in enumerate(self.parts) if part == split]
        return [self.paths[i] for i in rows], [self.names[i] for i in rows]

    def classes(self) -> list[str]:
        """Sorted, of both parts."""
        both = zip(self.names, self.parts, strict=True)
        return sorted({name for name, part in both if name and part})

    def words(self, lost: Iterable[str] = ()) -> str:
        """One line: "20,000 train, 2,000 val, 37 classes (abyssinian, ...)"; `lost` are classes of
        which no picture could be read."""
        queries, bank = self.part("test")[1], self.part("train")[1]
        known = sorted(set(bank) - {"", *lost})
        words = [f"{len(bank):,} train"]
        words.append(f"{len(queries):,} {self.test}" if queries else "no test part")
        words.append(listed(known, "class", "classes") if known else "no labels")
        if known and (loose := bank.count("")):
            words.append(f"{loose:,} of train without a label")
        if known and queries and not any(queries):
            words.append(f"{self.test} without labels")
        if unknown := sorted(set(queries) - {"", *known}):
            words.append(f"{self.test} also has {listed(unknown, 'other class', 'other classes')}")
        return "; ".join([", ".join(words), *self.remarks])


def listed(names: Sequence[str], one: str, many: str) -> str:
    """ "37 classes (abyssinian, bengal, birman, ...)"."""
    shown = ", ".join(show_path(name) for name in [*names[:3], *["..."] * (len(names) > 3)])
    return f"{len(names):,} {one if len(names) == 1 else many} ({shown})"


def read_folder(root: Path) -> Contents:
    """Find the pictures of a folder, a zip or a tar, and understand its sub-folders by their names.

    - `train` and `test`, `val`, or the like (any case) are parts; of several that could be for
      testing, the first with classes that the training part has is taken, `test` before `val`.
      Otherwise every tenth picture in sorted order is for testing.
    - Other sub-folders are classes; a single one is only a wrapping.
    - `masks` or the like beside `images`, or beside parts, are left out.
    Raises ValueError where whole data sets lie beside each other, or all is for testing.
    """
    found = find_pictures(root)
    children = _children(found.places)
    left_out = {place: _masks(place, children) for place in set(found.places)}
    kept = [place for place in found.places if not left_out[place]]
    above = _common(set(kept))
    depth = len(above)
    heads = {place[depth] for place in kept if place[depth:]}
    train = {name for name in heads if TRAIN.fullmatch(name)}
    held = sorted(filter(TEST.fullmatch, heads), key=lambda n: (n[0] not in "tT", n))
    under = {place[depth + 1] for place in kept if place[depth + 1 :] and place[depth] in held}
    labels = {place: (place[depth] if place[depth:] else "") for place in kept}
    alone = heads == set(held) and not all(place[depth:] for place in kept)  # pictures beside it
    if held and (train or under & heads or alone):
        test, remarks = _choose_parts(kept, depth, train, held, labels, left_out), list[str]()
        in_test = [place[depth : depth + 1] == (test,) for place in found.places]
    else:
        _refuse_sets(root, above, children)
        test, remarks = "test", [f"{name} is taken for a class" for name in [*sorted(train), *held]]
        count = iter(range(len(kept)))
        in_test = [not left_out[p] and next(count) % EVERY == EVERY - 1 for p in found.places]
    parts = [
        "" if left_out[place] else "test" if tested else "train"
        for place, tested in zip(found.places, in_test, strict=True)
    ]
    told = _tell(Counter(why for place in found.places if (why := left_out[place])))
    remarks = [f"read in {show_path('/'.join(above))}/"] * bool(above) + remarks + told
    skipped = [*found.skipped, *(f"{show_path(root)}/{sentence}" for sentence in told)]
    names = [labels.get(place, "") for place in found.places]
    return Contents(found.paths, parts, names, test, remarks, skipped)


def _tell(left_out: Counter[tuple[Place, str]]) -> list[str]:
    """A sentence for each folder that is left out."""
    return [
        f"{show_path('/'.join(where) or '.')}: {n:,} pictures left out, {why}"
        for (where, why), n in left_out.items()
    ]


def _common(places: set[Place]) -> Place:
    """The folders in which all of them lie."""
    first, last = (min(places), max(places)) if places else ((), ())
    return tuple(
        a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    )


LeftOut = dict[Place, tuple[Place, str] | None]  # place -> the folder that is left out, and why


def _children(places: Iterable[Place]) -> dict[Place, set[str]]:
    """Folder -> names of its sub-folders that hold pictures."""
    children: dict[Place, set[str]] = defaultdict(set)
    for place in set(places):
        for i, name in enumerate(place):
            children[place[:i]].add(name)
    return children


def _masks(place: Place, children: dict[Place, set[str]]) -> tuple[Place, str] | None:
    """The folder of masks around a picture, if there is one: images or parts stand beside it."""
    for i, name in enumerate(place):
        beside = [n for n in children[place[:i]] if not MASKS.fullmatch(n)]
        if MASKS.fullmatch(name):
            for kind in (IMAGES, TRAIN, TEST):
                if other := next((n for n in sorted(beside) if kind.fullmatch(n)), None):
                    return place[: i + 1], f"beside {other}/"
    return None


def _choose_parts(
    kept: list[Place],
    depth: int,
    train: set[str],
    held: list[str],
    labels: dict[Place, str],
    left_out: LeftOut,
) -> str:
    """The name of the part for testing. Writes the classes of both parts into `labels`, and into
    `left_out` what belongs to neither. Without a `train`, all but `held` is for training."""
    places, at = set(kept), depth + 1
    heads: dict[str, set[Place]] = defaultdict(set)
    for place in places:
        heads[place[depth] if place[depth:] else ""].add(place)
    for head in train | set(held):
        inside = {place[at] if place[at:] else "" for place in heads[head]}
        k = at + (len(inside) == 1 and all(map(IMAGES.fullmatch, inside)))
        labels.update({place: (place[k] if place[k:] else "") for place in heads[head]})
    bank = {place for head in (train or heads.keys() - set(held)) for place in heads[head]}
    known = {labels[place] for place in bank} - {""}
    test = next((n for n in held if known & {labels[place] for place in heads[n]}), held[0])
    for place in places - bank - heads[test]:
        if place[depth:] and place[depth] in held:
            left_out[place] = place[:at], f"since {test}/ is for testing"
        else:
            left_out[place] = place[:at], f"beside {min(train)}/ and {test}/"
    return test


def _refuse_sets(root: Path, above: Place, children: dict[Place, set[str]]) -> None:
    """Raises ValueError if folders here have parts of their own, or if all is for testing."""
    inside = [place for place in children if place[: len(above)] == above]
    kinds = TRAIN, TEST
    sets = [p for p in inside if all(any(map(k.fullmatch, children[p])) for k in kinds)]
    what = f"{len(sets)} whole data sets inside"
    heads = sorted(children.get(above, ()))
    if heads and all(map(TEST.fullmatch, heads)):
        sets, what = [(*above, name) for name in heads], f"{' and '.join(heads)} and no train"
    if sets:
        specs = [f"folder:{show_path(root.joinpath(*place))}" for place in sorted(sets)[:2]]
        raise ValueError(
            f"folder:{show_path(root)} has {what}; allowed: one of them, or several joined: "
            f"{'+'.join(specs)}"
        )
