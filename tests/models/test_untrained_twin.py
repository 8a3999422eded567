"""The untrained twin of a net is what a run of the same seed begins with."""

import torch

from dinolite.config import load_config
from dinolite.models.pretrained import load, untrained_twin
from dinolite.train.train import make_state


def test_the_twin_is_the_start_of_the_run() -> None:
    config = load_config("tiny", ["train.seed=3"])
    start = make_state(config, torch.device("cpu")).model.teacher["backbone"].state_dict()
    before = torch.get_rng_state()
    net = load("dinolite_tiny")
    twin = untrained_twin(net, seed=3)
    assert torch.equal(before, torch.get_rng_state())  # nobody's random numbers are used up
    assert not twin.training and twin.pixel_mean == net.pixel_mean == (0.5, 0.5, 0.5)
    own = twin.state_dict()
    assert own.keys() == start.keys()
    assert all(torch.equal(own[name], start[name]) for name in own)
    assert not torch.equal(own["cls_token"], untrained_twin(net).state_dict()["cls_token"])
