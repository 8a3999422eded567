"""DINO, iBOT, KoLeo and Gram on inputs that one can draw on paper."""

import math

import pytest
import torch

from dinolite.loss.dino_clstoken_loss import DINOLoss, SoftmaxCenter
from dinolite.loss.gram_loss import GramLoss
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss
from dinolite.loss.koleo_loss import KoLeoLoss

# --- DINO ---------------------------------------------------------------------------------------


def slow_dino(student, teacher, temp, ignore_diagonal):
    """The definition, one pair and one picture at a time."""
    values = []
    for i, s in enumerate(student):
        for j, t in enumerate(teacher):
            if ignore_diagonal and i == j:
                continue
            for b in range(s.shape[0]):
                q = torch.softmax(s[b].double() / temp, 0)
                values.append(-(t[b].double() * q.log()).sum())
    return torch.stack(values).mean()


@pytest.mark.parametrize("ignore_diagonal", [False, True])
@pytest.mark.parametrize(("s", "t"), [(2, 2), (5, 2)])
def test_dino_equals_its_definition(s: int, t: int, ignore_diagonal: bool) -> None:
    student, teacher = torch.randn(s, 3, 7), torch.randn(t, 3, 7).softmax(-1)
    expected = slow_dino(student, teacher, 0.1, ignore_diagonal)
    actual = DINOLoss(0.1)(student, teacher, ignore_diagonal)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-5)


def test_dino_of_equal_scores_is_ln_k() -> None:
    loss = DINOLoss()(torch.zeros(2, 4, 32), torch.randn(2, 4, 32).softmax(-1))
    assert loss.item() == pytest.approx(math.log(32), rel=1e-6)


def test_center_moves_a_tenth_of_the_way() -> None:
    center = SoftmaxCenter(2, momentum=0.9)
    center.update(torch.tensor([[1.0, 3.0], [3.0, 5.0]]))  # mean 2, 4
    assert torch.allclose(center.center, torch.tensor([[0.2, 0.4]]))
    # scores minus center: -0.2 and -0.4 + 0.2 = -0.2 -> even
    assert torch.allclose(center(torch.tensor([[0.0, 0.2]]), 0.1), torch.tensor([[0.5, 0.5]]))


# --- iBOT ---------------------------------------------------------------------------------------


def test_ibot_masked_equals_the_plain_form() -> None:
    masks = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    student, teacher = torch.randn(4, 3, 5), torch.randn(4, 3, 5).softmax(-1)
    loss = iBOTPatchLoss()
    weight = (1 / masks.sum(1).clamp(min=1).float())[:, None].expand(4, 3)[masks]
    masked = loss.forward_masked(student[masks], teacher[masks], weight, len(masks))
    assert masked.item() == pytest.approx(loss(student, teacher, masks).item(), rel=1e-5)


def test_ibot_with_half_of_the_crops_masked_starts_at_half_ln_k() -> None:
    masks = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    loss = iBOTPatchLoss()(torch.zeros(2, 4, 24), torch.full((2, 4, 24), 1 / 24), masks)
    assert loss.item() == pytest.approx(0.5 * math.log(24), rel=1e-6)


# --- KoLeo --------------------------------------------------------------------------------------


def test_koleo_of_opposite_points() -> None:
    """Distance 2 on the unit circle."""
    x = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])
    assert KoLeoLoss()(x).item() == pytest.approx(-math.log(2), abs=1e-6)


def test_koleo_of_a_square() -> None:
    """Each corner's nearest neighbours are at distance sqrt(2), the second ones too."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert KoLeoLoss()(x).item() == pytest.approx(-math.log(2) / 2, abs=1e-6)
    assert KoLeoLoss(topk=2)(x).item() == pytest.approx(-math.log(2) / 2, abs=1e-6)
    with_opposite = -(2 * math.log(math.sqrt(2)) + math.log(2)) / 3
    assert KoLeoLoss(topk=3)(x).item() == pytest.approx(with_opposite, abs=1e-6)


def test_koleo_of_equal_features_is_large_and_finite_in_half_precision() -> None:
    """eps of the distance, twice: sqrt(D) eps + eps, in float32 whatever comes in."""
    x = torch.ones(4, 16, dtype=torch.float16, requires_grad=True)
    loss = KoLeoLoss()(x)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(math.sqrt(16) * 1e-8 + 1e-8), rel=1e-4)
    assert x.grad is not None and x.grad.isfinite().all()


def test_koleo_pushes_apart() -> None:
    x = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]], requires_grad=True)
    KoLeoLoss()(x).backward()
    moved = (x - 0.01 * x.grad).detach()
    assert (moved[0] - moved[1]).norm() > (x[0] - x[1]).norm()


def test_koleo_needs_a_neighbour() -> None:
    with pytest.raises(ValueError, match="too few"):
        KoLeoLoss()(torch.randn(1, 4))
    with pytest.raises(ValueError, match="topk = 0"):
        KoLeoLoss(topk=0)


# --- Gram ---------------------------------------------------------------------------------------


def test_gram_by_hand() -> None:
    """Two patches: the teacher's at a right angle, the student's alike: entries differ by 0, 1."""
    student = torch.tensor([[[2.0, 0.0], [5.0, 0.0]]])
    teacher = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    assert GramLoss()(student, teacher).item() == pytest.approx(2 / 4)


def test_gram_of_opposite_patches_and_the_negatives() -> None:
    """cos = -1 against 0."""
    student = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    teacher = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert GramLoss()(student, teacher).item() == pytest.approx(2 / 4)
    assert GramLoss(remove_neg=True)(student, teacher).item() == pytest.approx(0)
    assert GramLoss(remove_only_teacher_neg=True)(student, teacher).item() == pytest.approx(0)
    # The other way round only the student is negative.
    assert GramLoss(remove_neg=True)(teacher, student).item() == pytest.approx(0)
    assert GramLoss(remove_only_teacher_neg=True)(teacher, student).item() == pytest.approx(2 / 4)


def test_gram_does_not_see_rotations() -> None:
    x = torch.randn(2, 9, 6)
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    assert GramLoss()(x, x @ rotation).item() == pytest.approx(0, abs=1e-10)


def test_gram_of_the_batch_also_compares_images() -> None:
    """Equal within each image, different between them."""
    student = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
    teacher = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert GramLoss(img_level=True)(student, teacher).item() == pytest.approx(0)
    assert GramLoss(img_level=False)(student, teacher).item() == pytest.approx(2 / 4)


def test_gram_flags_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        GramLoss(remove_neg=True, remove_only_teacher_neg=True)
