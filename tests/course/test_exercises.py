"""Exercises: solutions pass, stubs are not attempted, every known mistake gets its own sentence."""

import ast
import json
import math
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite_course import check, progress
from dinolite_course.checking import (
    as_number,
    difference,
    keeping,
    same,
    without_gradients,
)
from dinolite_course.exercises import Exercise, exercises_of, find, lesson_numbers
from dinolite_course.progress import all_progress, solved
from tools.solutions import solutions

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
ALL = [exercise for lesson in lesson_numbers() for exercise in exercises_of(lesson)]
each_exercise = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.id)


def asked(lesson: str) -> dict[str, str]:
    """{"03.2": name of the stub} as the lesson's source checks them."""
    (source,) = (LESSONS / "src").glob(f"{lesson}_*.py")
    found = {}
    for node in ast.walk(ast.parse(source.read_text("utf8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "check":
            id, name = node.args
            assert isinstance(id, ast.Constant) and isinstance(name, ast.Name)
            found[str(id.value)] = name.id
    return found


def solution(id: str) -> Any:
    lesson = id.partition(".")[0]
    names = runpy.run_path(str(LESSONS / "solutions" / f"{lesson}.py"))
    return names[asked(lesson)[id]]


def test_every_lesson_has_its_exercises_and_solutions() -> None:
    lessons = {path.stem[:2] for path in (LESSONS / "src").glob("[0-9]*.py")}
    assert lessons == set(lesson_numbers())
    for lesson in lessons:
        assert list(asked(lesson)) == [e.id for e in exercises_of(lesson)]


@each_exercise
def test_the_solution_is_right(exercise: Exercise) -> None:
    verdict = check(exercise.id, solution(exercise.id))
    assert verdict.solved and repr(verdict) == f"{exercise.id}: right"


@each_exercise
def test_every_known_mistake_gets_its_own_sentence(exercise: Exercise) -> None:
    sentences = [sentence for sentence, *_ in exercise.slips]
    assert sentences and len(set(sentences)) == len(sentences)
    for sentence, mistake in exercise.mistakes:
        verdict = check(exercise.id, mistake)
        assert not verdict.solved and verdict.sentence == f"not yet: {sentence}"
        assert verdict.tried or not any(exercise.cases()), "the input is named"
        assert verdict.figure is None or (verdict._repr_png_() or b"").startswith(b"\x89PNG")


KEEPING = [e for e in ALL if e.run in (keeping, as_number, without_gradients)]


@pytest.mark.parametrize("exercise", KEEPING, ids=lambda e: e.id)
def test_an_argument_changed_in_place_is_told(exercise: Exercise) -> None:
    def careless(*arguments: Any) -> Any:
        found = exercise.answer(*arguments)
        for argument in arguments:
            if isinstance(argument, Tensor) and argument.is_floating_point():
                argument.data += 1
        return found

    verdict = check(exercise.id, careless)
    assert not verdict.solved and "in place" in verdict.sentence


@pytest.mark.parametrize("id", ["07.4", "08.3", "18.4"])
def test_ones_for_true_are_told(id: str) -> None:
    verdict = check(id, lambda *arguments: find(id).answer(*arguments).int())
    assert verdict.sentence == "not yet: True and False are wanted, not 1 and 0"


def test_floats_for_counts_are_told() -> None:
    verdict = check("08.2", lambda *arguments: [float(n) for n in find("08.2").answer(*arguments)])
    assert not verdict.solved and "a count is an int" in verdict.sentence


def border(z: Tensor) -> Tensor:
    return torch.cat([z[0], z[-1], z[1:-1, 0], z[1:-1, -1]])


def largest_out_first(parts: list[Tensor]) -> Tensor:
    """As the package does it: first the largest score travels, then the sums."""
    largest = torch.stack([part.amax(dim=0) for part in parts]).amax(dim=0)
    rest = torch.stack([(part - largest).exp().sum(dim=0) for part in parts])
    return largest + rest.sum(dim=0).log()


def by_potentials(logits: Tensor, temp: float, rounds: int) -> Tensor:
    """A constant for each crop and each prototype, added once at the end."""
    z, crop = logits / temp, torch.zeros(len(logits), 1)
    for _ in range(rounds):
        prototype = -(z + crop).logsumexp(dim=0)
        crop = -(z + prototype).logsumexp(dim=1, keepdim=True)
    return (z + crop + prototype).exp()


def edges(a: Tensor, b: Tensor) -> Tensor:
    """Height and width of what boxes (top, left, height, width) share."""
    ends = torch.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    return ends - torch.maximum(a[:, :2], b[:, :2])


def nearest(x: Tensor) -> Tensor:
    x = F.normalize(x, dim=1)
    return torch.cdist(x, x).fill_diagonal_(torch.inf).amin(dim=1)


def ages(momenta: list[float]) -> float:
    """As the teacher itself is made: old students shrink and age, a new one comes in."""
    mass = aged = 0.0
    for m in momenta:
        mass, aged = m * mass + 1 - m, m * (aged + mass)
    return aged / mass


def one_after_the_other(parts: list[Tensor]) -> Tensor:
    total = torch.full(parts[0].shape[1:], float("-inf"))
    for part in parts:
        total = torch.logaddexp(total, part.logsumexp(dim=0))
    return total


@pytest.mark.parametrize(
    ("id", "other_way"),
    [
        ("00.3", lambda teacher, student, m: torch.lerp(student, teacher, m)),
        ("02.5", lambda values, R, grid: values[1 : -R or None].reshape(grid)),
        ("03.4", lambda n, n_train: torch.linspace(1 - n, n - 1, n) / n_train),
        (
            "04.2",
            lambda q, k: (lambda s: (s - s.logsumexp(dim=-1, keepdim=True)).exp())(
                (q / q.shape[-1] ** 0.25) @ (k / k.shape[-1] ** 0.25).mT
            ),
        ),
        ("05.2", lambda x, weight, eps: F.rms_norm(x, weight.shape, weight, eps)),
        (
            "08.4",
            lambda position, B, h, w: (
                position // (h * w) % B,
                position // (h * w) // B,
                position // w % h,
                position % w,
            ),
        ),
        ("10.2", lambda z, p, t: -float((p * (z / t).log_softmax(dim=1)).sum()) / len(z)),
        (
            "10.3",
            lambda s, t, temp: (
                -(t[:, None] * (s / temp).log_softmax(dim=-1))
                .sum(dim=-1)
                .mean(dim=-1)[~torch.eye(len(t), len(s), dtype=torch.bool)]
                .mean()
                .item()
            ),
        ),
        ("11.3", by_potentials),
        (
            "12.3",
            lambda z, p, m, t: (
                F.cross_entropy(z / t, p, reduction="none").dot(
                    (1 / m.sum(dim=1)).repeat_interleave(m.sum(dim=1))
                )
                / len(m)
            ),
        ),
        ("13.5", lambda x, far: F.relu((far / nearest(x)).log()).mean()),
        ("14.5", lambda momenta: ages(momenta.tolist())),
        (
            "15.4",
            lambda s, t, g, lr, clip, m: [
                s := s - lr * g * (clip / g.norm()).clamp(max=1),
                t.lerp(s, 1 - m),
            ],
        ),
        (
            "17.3",
            lambda values, every, least, patience: next(
                (
                    i * every
                    for i in range(patience - 1, len(values))
                    if max(values[i - patience + 1 : i + 1]) < least
                ),
                None,
            ),
        ),
        ("17.4", lambda n: (20 * torch.eye(n).roll(1, 0) + 90 * (torch.arange(n) == 2)).tolist()),
        ("19.5", lambda z, t: (z - border(z).median()).abs() > t * border(z).std(correction=0)),
        ("19.5", lambda z, t: (z - border(z).quantile(0.5)).abs() > t * border(z).std()),
        ("21.1", lambda h, w, p, r: h * w / p**2 + 1 + r),
        (
            "21.3",
            lambda h, w, short, p: [
                max(1, int(x * short / min(h, w) / p + 0.5)) * p for x in (h, w)
            ],
        ),
        ("23.4", largest_out_first),
        ("23.4", one_after_the_other),
    ],
)
def test_another_right_way_is_right(id: str, other_way: Any) -> None:
    assert check(id, other_way).solved


@pytest.mark.parametrize(
    ("id", "mistake"),
    [
        ("00.4", lambda G, L: G * (G - 1) + 2 * L),
        ("02.2", lambda row, column, grid, R: (5 if R else 1) + row * grid[1] + column),
        ("02.4", lambda c, s, x: torch.cat([c.expand(2, -1, -1), s.expand(2, -1, -1), x], dim=1)),
        ("02.5", lambda values, R, grid: values[1:-R].unflatten(0, grid)),
        ("02.5", lambda values, R, grid: 1.0 + torch.arange(grid[0] * grid[1]).view(grid)),
        ("03.4", lambda n, n_train: (torch.arange(n) + 0.5 - n / 2) / 7),
        (
            "04.2",
            lambda q, k: (
                torch.zeros(2, 3, 5, 5).scatter(-1, (q @ k.mT).argmax(-1, True), 1)
                if (q @ k.mT).max() > 100
                else (q @ k.mT / 2).softmax(dim=-1)
            ),
        ),
        ("05.1", lambda B, p: max(min(B - 1, int(B * (1 - p))), 1)),
        ("06.2", lambda D: 12 * D * D + 15 * D + 1),
        (
            "07.5",
            lambda a, b: (
                (edges(a, b)[:, 0].clamp(min=0) * edges(a, b)[:, 1]) / a[:, 2:].prod(dim=1)
            ),
        ),
        (
            "08.4",
            lambda position, B, h, w: (position // (h * w) % B, 1, position // w % h, position % w),
        ),
        ("09.3", lambda D, h, n, K: (D + 1) * h + (h + 1) * h + (h + 1) * n + n * K + 1),
        ("10.5", lambda loss, entropy, K: find("10.5").answer(loss, 1.05 * entropy, K)),
        (
            "10.5",
            lambda loss, entropy, K: (
                find("10.5").answer(0.5 * loss, entropy, K)
                if loss < math.log(K) / 10
                else find("10.5").answer(loss, entropy, K)
            ),
        ),
        ("12.2", lambda x, indices: x.reshape(-1, 3)[indices]),
        ("13.3", lambda x, size: find("13.3").answer(x, 4 if len(x) == 8 else 3)),
        (
            "14.3",
            lambda t, s, m, buffers: {
                n: t[n] if n == "periods" else m * t[n] + (1 - m) * s[n] for n in t
            },
        ),
        (
            "14.3",
            lambda t, s, m, buffers: {
                n: t[n] if n in buffers else t[n].mul_(m).add_((1 - m) * s[n]) for n in t
            },
        ),
        ("15.4", lambda s, t, g, lr, clip, m: find("15.4").answer(s, t, g, lr, 3.0, m)),
        ("15.5", lambda d, k, i: (True, d + k + i > 0, d > 0, i > 0)),
        ("16.4", lambda name, depth, decay: find("16.4").answer(name, 3, decay)),
        ("17.2", lambda p: (-(p.mean(dim=0) * p.mean(dim=0).log()).sum()).exp()),
        (
            "17.3",
            lambda values, every, least, patience: find("17.3").answer(
                values, every, 0.2, patience
            ),
        ),
        ("19.5", lambda z, t: (z - border(z).median()).abs() > t * border(z).var()),
        ("19.5", lambda z, t: (z - z[0].median()).abs() > t * z[0].std()),
        ("19.5", lambda z, t: (z - z.mean()).abs() > t * border(z).std()),
        ("19.5", lambda z, t: (z - border(z)[:-8].median()).abs() > t * border(z)[:-8].std()),
        (
            "21.4",
            lambda side, tile, patch, prefix: (
                (side // tile) ** 2 * ((prefix + (tile // patch) ** 2) ** 2 - prefix)
            ),
        ),
        ("23.4", lambda parts: torch.cat(parts).log_softmax(dim=0).logsumexp(dim=0)),
        ("23.4", lambda parts: torch.logaddexp(*(p.logsumexp(dim=0) for p in parts[:2]))),
    ],
)
def test_a_mistake_without_a_sentence_is_not_right(id: str, mistake: Any) -> None:
    assert not check(id, mistake).solved


@each_exercise
def test_doing_nothing_is_not_right(exercise: Exercise) -> None:
    def nothing(*arguments: Any) -> None:
        return None

    def stub(*arguments: Any) -> None:
        raise NotImplementedError(f"exercise {exercise.id}")

    assert not check(exercise.id, nothing).solved
    assert check(exercise.id, stub).sentence == "not attempted yet"


@each_exercise
def test_trying_twice_gives_the_same_cases(exercise: Exercise) -> None:
    first, second = exercise.cases(), exercise.cases()
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            assert not isinstance(x, Tensor) or torch.equal(x, y)


# --- the checker itself ---


def test_an_error_of_the_answer_is_told() -> None:
    verdict = check("00.2", lambda K: 1 / 0)
    assert verdict.sentence == "your code raised ZeroDivisionError: division by zero"


def test_the_input_of_a_failure_is_named() -> None:
    first, second = find("10.1").cases()[:2]
    verdict = check("10.1", lambda G, L: find("10.1").answer(G, L) if first == (G, L) else 0)
    assert verdict.tried == f"G = {second[0]}, L = {second[1]}"
    assert repr(verdict).endswith(f"(tried on {verdict.tried})")
    assert check("10.2", lambda scores, target, temp: 0 / 0).tried == (
        "scores [3, 5], target [3, 5], temp = 0.5"
    )


def test_a_slip_must_be_an_edit_of_the_solution() -> None:
    pairs = find("10.1")
    with pytest.raises(ValueError, match=r"10\.1, slip 'twice': 'G' stands [2-9] times"):
        pairs.slipped("twice", "G", "L")
    with pytest.raises(ValueError, match="stands 0 times"):
        pairs.slipped("gone", "no such text", "")
    assert pairs.slipped("both", ("(G - 1)", "(G + 1)"), ("G * L", "L"))(2, 3) == 2 * 3 + 3


def test_solutions_are_made_from_the_exercises() -> None:
    for lesson in lesson_numbers():
        page = (LESSONS / "solutions" / f"{lesson}.py").read_text("utf8")
        assert page == solutions(lesson), "run `python -m tools.solutions`"


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "wanted is [2, 3]; are two dimensions the wrong"),
        (torch.zeros(2, 3), torch.zeros(6), "the numbers may be right and need another view"),
        (torch.zeros(2), torch.zeros(5), "the shape is [5], wanted is [2]"),
        (torch.zeros(2), torch.zeros(2).long(), "the dtype is torch.int64"),
        (torch.zeros(2), torch.tensor([0.0, float("nan")]), "nan or infinite"),
        (
            torch.zeros(2, 2),
            torch.tensor([[0, 0], [0.5, 0]]),
            "25 % of the numbers are not; the largest difference is 0.5, at [1, 0]",
        ),
        ((1, 2), (1, 2, 3), "it returned 3 things, 2 are wanted"),
        ((torch.zeros(1), torch.zeros(2)), (torch.zeros(1), torch.ones(2)), "in part 1, the shape"),
        ((1, 2), (2, 1), "it returned (2, 1), which is not right"),
        (3, None, "does the last line say return?"),
        (3.0, 4.0, "it returned 4.0, which is not right"),
        (3.0, torch.zeros(2), "it returned a Tensor, a float is wanted"),
        (0.5, 0, "it returned 0, which is not right"),
    ],
)
def test_how_a_difference_is_told(expected: Any, actual: Any, said: str) -> None:
    assert not same(expected, actual, 1e-4)
    assert said in difference(expected, actual)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1.0, 1.00001, True),
        (1.0, 1.001, False),
        (100.0, 100.001, True),
        (True, 1, False),
        ("a", "a", True),
        ((1, 2), [1, 2], True),
        (torch.ones(2), torch.ones(2) + 1e-6, True),
        (torch.ones(2), torch.ones(1, 2), False),
        (torch.ones(2), torch.ones(2).double(), True),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), True),
    ],
)
def test_what_counts_as_the_same(a: Any, b: Any, equal: bool) -> None:
    assert same(a, b, 1e-4) is equal


@pytest.mark.parametrize("id", ["99.1", "00.9", "nonsense"])
def test_an_unknown_exercise_is_named(id: str) -> None:
    with pytest.raises(ValueError, match=id.partition(".")[0] if id != "00.9" else id):
        find(id)


# --- progress ---


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("DINOLITE_PROGRESS", str(path))
    return path


def test_solved_exercises_are_remembered(file: Path) -> None:
    ids = [e.id for e in exercises_of("00")]
    assert progress("00").endswith(f"0 of {len(ids)} exercises solved; open: {', '.join(ids)}")
    check("00.2", lambda K: K)  # wrong
    assert not file.exists()
    check("00.2", find("00.2").answer)
    check("00.1", find("00.1").answer)
    assert json.loads(file.read_text()) == {"solved": ["00.1", "00.2"]} and solved()
    assert progress("00").startswith(f"lesson 00: 2 of {len(ids)} exercises solved; open: 00.3")
    assert progress("00") in all_progress() and not list(file.parent.glob("*.tmp"))


def test_all_solved_leaves_nothing_open(file: Path) -> None:
    for exercise in exercises_of("00"):
        check(exercise.id, exercise.answer)
    assert progress("00").endswith("exercises solved")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"solved": 3}', '{"solved": [1]}'])
def test_a_damaged_file_counts_as_nothing_solved(file: Path, text: str) -> None:
    file.write_text(text)
    assert solved() == set()
    check("00.1", find("00.1").answer)
    assert solved() == {"00.1"}


def test_no_file_is_written_where_none_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINOLITE_PROGRESS", "")
    monkeypatch.chdir(tmp_path)
    assert check("00.1", find("00.1").answer).solved
    assert list(tmp_path.iterdir()) == []


def test_progress_lies_beside_the_lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DINOLITE_PROGRESS")
    (tmp_path / "lessons").mkdir()
    monkeypatch.chdir(tmp_path)
    check("00.1", find("00.1").answer)
    monkeypatch.chdir(tmp_path / "lessons")
    assert solved() == {"00.1"} and (tmp_path / "lessons" / ".progress.json").is_file()
