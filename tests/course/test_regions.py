"""Regions: the file is sound, patches lie in them as one counts by hand, and each measure has the
value that a sheet of paper gives."""

import json
import math
from pathlib import Path

import pytest
import torch
from sklearn import metrics

from dinolite.data.demo_pictures.photographs import CLASSES
from dinolite_course.measures import regions as module
from dinolite_course.measures.regions import (
    FEWEST,
    SIDE,
    UNSEEN,
    Labelled,
    Region,
    agreement,
    central_patch,
    chance_agreement,
    inside,
    labelled,
    largest_region,
    most_textured_region,
    normalised_information,
    place,
    purity_ceiling,
    read_regions,
    region_map,
    shown_photographs,
    similarity_auc,
    untouched,
)


def polygon(*corners: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(corners, dtype=torch.float64)


# --- the file ---


@pytest.fixture(scope="module")
def all_of_them() -> Labelled:
    return labelled()


def test_every_photograph_has_its_regions(all_of_them: Labelled) -> None:
    assert tuple(all_of_them.photos) == (*CLASSES, *UNSEEN) and len(UNSEEN) >= 3
    assert all_of_them.unseen.tolist() == [False] * 16 + [True] * len(UNSEEN)
    several = [p for p, rs in read_regions().items() if len({r.name for r in rs}) > 1]
    assert len(set(several) & set(CLASSES)) >= 10 and set(UNSEEN) <= set(several)


def test_no_region_is_lost_or_shared(all_of_them: Labelled) -> None:
    """Each has patches enough to count, and no patch lies in two of them."""
    for photo, labels in zip(all_of_them.photos, all_of_them.labels, strict=True):
        mine = read_regions()[photo]
        total = 0
        for name in {r.name for r in mine}:
            alone = region_map([r for r in mine if r.name == name], all_of_them.names)
            assert (alone >= 0).sum() >= FEWEST, f"{photo}: {name}"
            total += int((alone >= 0).sum())
        assert total == int((labels >= 0).sum()), photo


def test_parts_share_no_patch(all_of_them: Labelled) -> None:
    parts = all_of_them.parts()
    kept = {part: labels >= 0 for part, labels in parts.items()}
    assert not (kept["sixteen"] & kept["never seen"]).any()
    assert (kept["sixteen"] | ~kept["untouched"]).all()
    assert 0 < kept["untouched"].sum() < kept["sixteen"].sum()


@pytest.mark.parametrize("corners", [[[0, 0], [9, 9]], [[0, 0], [9, 0], [9, 385]]])
def test_polygons_that_are_none(corners: list[list[int]], tmp_path: Path) -> None:
    path = tmp_path / "regions.json"
    entry = {"name": "sky", "polygon": corners}
    path.write_text(json.dumps({"about": "", "side": SIDE, "photographs": {"camera": [entry]}}))
    with pytest.raises(ValueError, match="camera, sky"):
        read_regions(path)


# --- patches in regions ---


def test_points_in_a_hook() -> None:
    """An L: the square of side 4 without its upper right quarter."""
    hook = polygon((0, 0), (2, 0), (2, 2), (4, 2), (4, 4), (0, 4))
    points = polygon((1, 1), (3, 1), (3, 3), (1, 3), (5, 3), (-1, 3), (3, -1))
    assert inside(points, hook).tolist() == [True, False, True, True, False, False, False]


def test_patches_lie_wholly_in_a_region() -> None:
    """4 x 4 patches of 96 px. Columns 0 and 1 end at 192; a pixel less, and column 1 is out."""
    names = ["sky", "sea"]
    exact = Region("sea", polygon((0, 0), (192, 0), (192, 96), (0, 96)))
    labels = region_map([exact], names, grid=4)
    assert labels.tolist() == [[1, 1, -1, -1]] + [[-1] * 4] * 3
    less = Region("sea", polygon((0, 0), (191, 0), (191, 96), (0, 96)))
    assert region_map([less], names, grid=4)[0].tolist() == [1, -1, -1, -1]


def test_diagonal_cells_by_hand() -> None:
    """A square of 3 x 3 cells of 16 x 16 patches. And 300 x 450 px: the square middle starts at 75,
    cells end at 150 and 300, that is at patches 12 and 36 (6.25 px each) in x, 16 and 32 in y."""
    grid = torch.zeros(48, 48, dtype=torch.bool)
    for i in (0, 16, 32):
        grid[i : i + 16, i : i + 16] = True
    assert torch.equal(untouched("camera", 512, 512), grid)
    wide = torch.zeros(48, 48, dtype=torch.bool)
    wide[:16, :12] = wide[16:32, 12:36] = wide[32:, 36:] = True
    assert torch.equal(untouched("chelsea", 300, 450), wide)


def test_the_retina_is_cut_before_its_cells() -> None:
    """Of 15 x 15 px the inner 9 x 9, from 3 to 12: cells of 3; patches of 1 px."""
    expected = torch.zeros(15, 15, dtype=torch.bool)
    for i in (3, 6, 9):
        expected[i : i + 3, i : i + 3] = True
    assert torch.equal(untouched("retina", 15, 15, grid=15), expected)


# --- similarity ---


def two_regions() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight patches as arrows on a circle, the opposite ones of region 0 in region 1, so that their
    mean is nothing."""
    degrees = torch.tensor([0.0, 20, 65, 210, 180, 200, 245, 30]) * math.pi / 180
    patches = torch.stack([degrees.cos(), degrees.sin()]).view(1, 2, 2, 4)
    return patches, torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1]]])


def test_similarity_by_hand() -> None:
    """Cosine falls with the angle between, so angles are compared.
    Query 0:   own 20, 65, 150;   rest 180, 160, 115, 30: won 4, 3, 2 of 4.
    Query 20:  own 20, 45, 170;   rest 160, 180, 135, 10: won 3, 3, 1.
    Query 65:  own 65, 45, 145;   rest 115, 135, 180, 35: won 3, 3, 1.
    Query 210: own 150, 170, 145; rest 30, 10, 35, 180:   won 1, 1, 1."""
    values = similarity_auc(*two_regions())
    assert values.keys() == {(0, 0), (0, 1)}
    assert values[0, 0] == pytest.approx((9 + 7 + 7 + 3) / 48)


def test_the_mean_of_all_patches_is_subtracted() -> None:
    patches, labels = two_regions()
    expected = similarity_auc(patches, labels)
    moved = patches + torch.tensor([7.0, -3.0])[:, None, None]
    assert similarity_auc(moved, labels) == pytest.approx(expected)
    given = similarity_auc(moved, labels, mean=torch.tensor([7.0, -3.0]))
    assert given == pytest.approx(expected)


def test_across_pictures_the_rest_is_what_has_another_name() -> None:
    """Two pictures; features say the name and no more. A region alone in its picture has no rest
    within it, and what has its own name in the other picture is no mistake."""
    name = torch.tensor([[[0, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    patches = torch.nn.functional.one_hot(name, 2).permute(0, 3, 1, 2).float()
    assert similarity_auc(patches, name) == {}
    assert similarity_auc(patches, name, across=True) == {(0, 0): 1, (1, 0): 1, (2, 1): 1}


def test_small_regions_are_not_judged() -> None:
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, 1]]])
    values = similarity_auc(torch.randn(1, 3, 1, 8), labels)
    assert values == {}  # region 0 is too small to ask, and too small a rest for region 1


def test_place_alone_falls_with_distance() -> None:
    """cos(pi (i - j) / 4) along each axis, their mean."""
    waves = torch.nn.functional.normalize(place(1, grid=4)[0], dim=0)
    cosine = (waves * waves[:, :1, :1]).sum(dim=0)
    expected = [[(math.cos(math.pi * r / 4) + math.cos(math.pi * c / 4)) / 2 for c in range(4)]
                for r in range(4)]  # fmt: skip
    torch.testing.assert_close(cosine, torch.tensor(expected))


# --- groups ---


def test_agreement_by_hand() -> None:
    """Region 0 has 8 patches, three quarters in group 0; region 1 has 4, all in group 1. With equal
    weights the table is [3/4 0; 1/4 1], so purity is (3/4 + 1) / 2."""
    groups = torch.tensor([[[0, 0, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 5, 5, 5, 5]]])
    labels = torch.tensor([[[0] * 8, [1] * 4 + [-1] * 4]])
    found = agreement(groups, labels)
    h = -(3 / 8 * math.log(3 / 8) + 5 / 8 * math.log(5 / 8))
    both = -(3 / 8 * math.log(3 / 8) + 1 / 8 * math.log(1 / 8) + 1 / 2 * math.log(1 / 2))
    assert found.purity == pytest.approx(7 / 8)
    assert found.nmi == pytest.approx((h + math.log(2) - both) / ((h + math.log(2)) / 2))
    assert found.nmi_in_picture == pytest.approx(found.nmi)


def test_knowing_the_picture_is_not_knowing_its_regions() -> None:
    """Groups that are the pictures: half of the names, and nothing within a picture."""
    labels = torch.tensor([[[0] * 4, [1] * 4], [[2] * 4, [3] * 4]])
    groups = torch.tensor([[[0] * 4] * 2, [[1] * 4] * 2])
    found = agreement(groups, labels)
    ours = math.log(2) / ((math.log(2) + math.log(4)) / 2)
    assert found == pytest.approx((0.5, ours, 0.0))
    assert agreement(labels, labels) == pytest.approx((1, 1, 1))


def test_few_groups_cannot_be_pure() -> None:
    """Regions of names 0, 0, 1 and 2; two groups can hold 0 and one other: 3 of 4."""
    labels = torch.tensor([[[0] * 4, [1] * 4], [[0] * 4, [2] * 4], [[3] * 3 + [-1], [-1] * 4]])
    assert purity_ceiling(labels, 2) == 0.75 and purity_ceiling(labels, 3) == 1


def test_information_is_that_of_scikit_learn() -> None:
    a, b = torch.randint(0, 5, (2, 300))
    table = torch.zeros(5, 5).index_put((a, b), torch.ones(()), accumulate=True)
    expected = metrics.normalized_mutual_info_score(a.numpy(), b.numpy())
    assert normalised_information(table.double()) == pytest.approx(expected)
    assert normalised_information(torch.ones(1, 1)) == 0


def test_chance_keeps_sizes_and_forgets_places() -> None:
    """Four names of 64 patches, groups equal to them: 1 becomes nearly 1/4 and 0."""
    labels = torch.arange(4)[:, None].expand(4, 64).reshape(1, 16, 16)
    found = chance_agreement(labels, labels)
    assert 0.25 <= found.purity < 0.4 and found.nmi < 0.1


def test_nothing_to_compare() -> None:
    groups, none = torch.zeros(1, 2, 2, dtype=torch.int64), -torch.ones(1, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="no region of at least"):
        agreement(groups, none)
    with pytest.raises(ValueError, match="groups begin at -1"):
        agreement(none, none)


# --- examples ---


def test_the_query_of_the_largest_region_is_chosen_by_place() -> None:
    """The largest region is 1; its middle is (7 / 6, 7 / 6): the nearest of its patches is (1, 1).
    Without the middle patch, (1, 2) and (2, 1) are equally near, and the first counts."""
    labels = torch.tensor([[0, 1, 0], [1, 1, 1], [-1, 1, 1]])
    assert largest_region(labels) == 1 and central_patch(labels, 1) == (1, 1)
    labels[1, 1] = 0
    assert central_patch(labels, 1) == (1, 2)


def test_the_textured_region_is_chosen_by_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of 2 x 2 px: region 0 differs from patch to patch, region 1 within its patches; a
    region 2 with more of both is too small to be shown, unless all are."""
    labels = torch.tensor([[0, 0], [1, 1], [2, -1]])
    grey = torch.tensor([
        [0, 0, 200, 200], [0, 0, 200, 200],
        [90, 110, 90, 110], [110, 90, 110, 90],
        [0, 255, 0, 0], [255, 0, 0, 0],
    ])  # fmt: skip
    image = grey.to(torch.uint8).expand(3, -1, -1)
    monkeypatch.setattr(module, "SHOWN", 2)
    assert most_textured_region(labels, image) == 1
    monkeypatch.setattr(module, "SHOWN", 3)
    assert most_textured_region(labels, image) == 2


def test_without_regions_there_is_no_example() -> None:
    none = -torch.ones(2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="no patch"):
        largest_region(none)
    with pytest.raises(ValueError, match="no patch"):
        most_textured_region(none, torch.zeros(3, 4, 4, dtype=torch.uint8))


def test_photographs_with_most_regions_are_shown_first() -> None:
    count = {p: len({r.name for r in rs}) for p, rs in read_regions().items()}
    shown = shown_photographs(5)
    others = [count[p] for p in CLASSES if p not in shown]
    assert min(count[p] for p in shown) >= max(others)
    assert shown_photographs(16)[:5] == shown and set(shown_photographs(16)) == set(CLASSES)


def test_photographs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNSEEN", (("skimage", "data/nothing.png"),))
    with pytest.raises(FileNotFoundError, match=r"skimage does not ship data/nothing\.png"):
        module.unseen_photographs()
