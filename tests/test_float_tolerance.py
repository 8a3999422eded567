"""Outputs agree if their floats are within one part in a thousand and all else is the same."""

import runpy
from pathlib import Path

import pytest

same_text = runpy.run_path(str(Path(__file__).resolve().parents[1] / "conftest.py"))["same_text"]


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("loss 1.2345", "loss 1.2346"),
        ("0.53.", "0.5302."),
        ("tensor([ 0.0000, -0.1234])", "tensor([-0.0000, -0.1234])"),
        ("tensor([ 1.0000, -0.5000])", "tensor([1.0005, -0.5000])"),
        ("tensor([1., 2.])", "tensor([1.0000, 2.0000])"),
        ("1e-05", "1.0001e-05"),
        ("-2.000e+03 and 3", "-2.001e+03 and 3"),
        ("12.30%", "12.31%"),
        ("5.0-6.0", "5.001-6.001"),
        ("nan inf", "nan inf"),
    ],
)
def test_close_floats_agree(stored: str, new: str) -> None:
    assert same_text(stored, new) and same_text(new, stored)


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("1.2345", "1.2360"),  # 1.2e-3 apart
        ("1000", "1001"),  # integers, however close
        ("there are 3000.", "there are 3001."),
        ("3", "3.0"),
        ("0.0000", "0.0001"),
        ("0.5", "-0.5"),
        ("loss 1.0", "cost 1.0"),
        ("torch.Size([1000, 3])", "torch.Size([1001, 3])"),
        ("[1.0, 2.0]", "[1.0, 2.0, 2.0]"),
        ("True", "False"),
        ("1.0 nan", "1.0 1.0"),
        ("version 1.2000.3", "version 1.2001.3"),
        ("v1.2000", "v1.2001"),
        ("12e4567", "12e4568"),
        ("a b", "a  b"),
    ],
)
def test_everything_else_differs(stored: str, new: str) -> None:
    assert not same_text(stored, new) and not same_text(new, stored)


def test_the_tolerance_is_the_one_promised() -> None:
    for factor, agrees in [(1 + 0.9e-3, True), (1 + 1.1e-3, False), (1 - 1.1e-3, False)]:
        assert same_text("2.000000", f"{2 * factor:.6f}") == agrees
