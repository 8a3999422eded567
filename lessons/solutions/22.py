"""Solutions of lesson 22. Try first: `check` in the lesson tells you what kind of wrong it is."""

import torch


def tokens_of(height, width):
    return 1 + 4 + (height // 16) * (width // 16)


def our_name(name):
    table = {
        "reg_token": "storage_tokens",
        "gamma_1": "ls1.gamma",
        "gamma_2": "ls2.gamma",
        "fc1_g": "w1",
        "fc1_x": "w2",
        "fc2": "w3",
    }
    for theirs, ours in table.items():
        name = name.replace(theirs, ours)
    return name


def fuse(q, k, v, q_bias, v_bias):
    zeros = torch.zeros_like(q_bias)
    return torch.cat([q, k, v]), torch.cat([q_bias, zeros, v_bias])


def ready(image, kind):
    colours = {
        "lvd": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        "sat": ([0.430, 0.411, 0.296], [0.213, 0.156, 0.143]),
    }
    mean, std = (torch.tensor(x)[:, None, None] for x in colours[kind])
    return (image.float() / 255 - mean) / std


def halved(state):
    # A handful of periods saves nothing, and all attention of all blocks turns by
    # them: rounded, every patch stands at a slightly other place. Those of the
    # released models were rounded before training; the models know no others.
    return {name: w if name.endswith("periods") else w.bfloat16() for name, w in state.items()}
