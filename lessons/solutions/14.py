"""Solutions of lesson 14. Try first: `check` in the lesson tells you what kind of wrong it is."""

import math

import torch


def half_life(momentum):
    return math.log(0.5) / math.log(momentum)


def shares(momentum, n):
    path = [torch.tensor([1.0])]
    for _ in range(n):
        path = [momentum * share for share in path] + [torch.tensor([1 - momentum])]
    return torch.cat(path)


def next_teacher(teacher, student, momentum, buffers):
    new = dict(teacher)
    for name in teacher.keys() - buffers:
        new[name] = torch.lerp(teacher[name], student[name], 1 - momentum)
    return new


def teacher_error(momentum, noise, drift):
    late = drift * momentum / (1 - momentum)
    return noise * (1 - momentum) / (1 + momentum) + late**2


def teacher_age(momenta):
    # The weights of the students grow out of the rule itself: at each step all
    # old ones shrink by m and a new one enters with 1 - m. Under the cosine to 1
    # nothing enters near the end, so its teacher is several times older than the
    # one of the constant 0.98, whose age is 49 steps all the time.
    weights, ages = [], []
    for m in momenta.tolist():
        weights = [m * w for w in weights] + [1 - m]
        ages = [a + 1 for a in ages] + [0]
    return sum(w * a for w, a in zip(weights, ages, strict=True)) / sum(weights)
