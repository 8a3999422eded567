"""What the lessons share: exercises that check themselves, figures, measurements. In a lesson:

    check("03.2", my_function)

No counterpart in the paper or the official code.
"""

from dinolite_course.checking import check
from dinolite_course.progress import progress

__all__ = ["check", "progress"]
