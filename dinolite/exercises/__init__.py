"""Exercises that check themselves and say which kind of wrong an answer is. In a lesson:

    check("03.2", my_function)

No counterpart in the paper or the official code.
"""

from dinolite.exercises.checking import check
from dinolite.exercises.progress import progress

__all__ = ["check", "progress"]
