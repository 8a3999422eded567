"""Solutions of lesson 15. Try first: `check` in the lesson tells you what kind of wrong it is."""


def logits_shape(B, L, K):
    return 2 + L, B, K


def dino_weights(L, ignore_diagonal):
    n_local = 2 * L
    n_global = 2 if ignore_diagonal else 4
    return n_local / (n_local + n_global), n_global / (n_local + n_global)


def picture_means(x, B):
    return x.unflatten(0, (-1, B)).mean(dim=0)


def step_on_paper(student, teacher, grad, lr, clip, momentum):
    grad = grad * min(1.0, clip / grad.norm().item())
    student = student - lr * grad
    teacher = momentum * teacher + (1 - momentum) * student
    return student, teacher


def who_learns(dino, koleo, ibot):
    # All three pull at the backbone. CLS of a masked crop looks at mask tokens,
    # so DINO and KoLeo reach them too. KoLeo works on features before the heads.
    # Without local crops nothing changes here: the global term does it all.
    anything = dino > 0 or koleo > 0 or ibot > 0
    return anything, anything, dino > 0, ibot > 0
