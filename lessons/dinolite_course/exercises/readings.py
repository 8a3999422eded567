"""Exercise 10.5, what a curve says: the answer, values to read and what people get wrong."""

import math

NEAR = 0.05  # of ln K


def told(asked: bool, agreed: bool, learned: bool) -> str:
    """The first that is missing or suspicious."""
    if not asked:
        return "nothing asked"
    if agreed:
        return "collapsed"
    return "look at k-NN" if learned else "not learned yet"


def diagnose(loss: float, entropy: float, K: int) -> str:
    near, top = NEAR * math.log(K), (1 - NEAR) * math.log(K)
    return told(entropy <= top, loss < near, loss <= top)


def by_loss(loss: float, entropy: float, K: int) -> str:
    """Never "nothing asked"."""
    return diagnose(loss, 0.5 * math.log(K), K)


def by_entropy(loss: float, entropy: float, K: int) -> str:
    return diagnose(loss if entropy > NEAR * math.log(K) else 0.0, entropy, K)


def fixed(loss: float, entropy: float, K: int) -> str:
    """ "Near" is 0.05, whatever K is."""
    top = math.log(K) - NEAR
    return told(entropy <= top, loss < NEAR, loss <= top)


def around(loss: float, entropy: float, K: int) -> str:
    """Near ln K on both sides."""
    found = diagnose(loss, entropy, K)
    far_above = loss > (1 + NEAR) * math.log(K)
    return "look at k-NN" if found == "not learned yet" and far_above else found


def gap(loss: float, entropy: float, K: int) -> str:
    """Collapsed if the loss is near the entropy, which is its least value."""
    near, top = NEAR * math.log(K), (1 - NEAR) * math.log(K)
    return told(entropy <= top, loss - entropy < near, loss <= top)


def readings() -> list[tuple[float, float, int]]:
    """(loss, entropy, K): four kinds, a small and a large head, and a sharp target at the start;
    then a little above and below 95 and 5 percent of ln K, which is 6.93, 2.77 or 9.01.
    """
    clear = [
        (6.93, 6.92, 1024), (6.94, 1.3, 1024), (4.1, 1.3, 1024), (0.01, 0.0, 1024),
        (2.77, 2.76, 16), (9.01, 4.0, 8192), (6.93, 5.0, 8192), (4.2, 0.02, 1024),
    ]  # fmt: skip
    near = [
        (6.8, 6.65, 1024), (6.7, 6.5, 1024), (6.65, 2.0, 1024), (6.5, 2.0, 1024),
        (0.33, 0.1, 1024), (0.36, 0.1, 1024), (0.2, 0.1, 16), (0.42, 0.1, 8192),
        (9.5, 2.0, 1024), (3.1, 2.9, 1024),
    ]  # fmt: skip
    return clear + near
