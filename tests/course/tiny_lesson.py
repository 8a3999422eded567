"""A lesson that keeps every rule, small enough to build in a second."""

from pathlib import Path

import nbformat

from tools import lessons
from tools.lesson import Lesson

TINY = """
# %% [markdown]
# # 03 Tiny
#
# Is the machine sound?

# %% [markdown]
# After this lesson you can
# - add,
# - draw,
# - fail on purpose.
#
# A first [term](GLOSSARY.md#term).

# %%
import random
import matplotlib.pyplot as plt

# %% [markdown]
# ## First a number

# %%
rng = random.Random(3)
print("three", 3, f"{rng.random():.4f}", [1, 2])

# %%
plt.plot([1, 3, 2])
plt.show()

# %% [markdown]
# *Figure: a line that rises from one to three and falls to two.*
#
# ## Common mistakes

# %% tags=["raises-exception"]
1 / 0

# %% [markdown]
# ## Exercises

# %%
def check(name, function):
    try:
        function()
    except NotImplementedError:
        return f"{name}: not attempted yet"


def one():
    raise NotImplementedError("exercise 03.1")


check("03.1", one)

# %%
def two():
    raise NotImplementedError("exercise 03.2")


check("03.2", two)

# %%
def three():
    raise NotImplementedError("exercise 03.3")


check("03.3", three)

# %% [markdown]
# ## Recap
#
# - You added.
#
# ## Sources
#
# The [glossary](GLOSSARY.md).
""".lstrip()


def build_tiny(folder: Path) -> Path:
    """Build the lesson, with a glossary, below `folder`; returns the folder of lessons."""
    made = folder / "less ons"
    (made / "src").mkdir(parents=True)
    (made / "src" / "03_tiny.py").write_text(TINY)
    (made / "GLOSSARY.md").write_text("# Glossary\n\n## Term\n\nA word.\n")
    assert lessons.main(["build", "--folder", str(made)]) == 0
    return made


def read_tiny(folder: Path) -> Lesson:
    """A fresh copy of the built lesson."""
    path = folder / "03_tiny.ipynb"
    return Lesson(path, nbformat.read(path, 4))
