"""A GPU that is not there: tensors that lie on it have a shape, a type and a device, and no numbers
(PyTorch's FakeTensorMode); those on the CPU are real. So an operation on two devices raises, and
whatever would make the host wait for the GPU does, too: there is no number to be read."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
COPIES = ("_to_copy", "copy_")
PRODUCTS = ("mm", "addmm")  # attention here is the plain form, which no GPU would take


class HostWaits(Exception):
    """A copy between the host and the GPU for which the host would wait."""


class FakeGpu(TorchDispatchMode):
    """Within `with`: CUDA device 0 is there. `products`: the types of matrix products, counted."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.products: Counter[torch.dtype] = Counter()
        self.may_wait = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if not any(isinstance(x, FakeTensor) or x == CUDA for x in leaves if on_gpu(x)):
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        with self.fake:
            out = func(*args, **kwargs)
        if name in COPIES and not self.may_wait and waits(args, kwargs, out):
            raise HostWaits(f"{name}: a copy between host and GPU without non_blocking=True")
        if name in PRODUCTS:
            self.products[out.dtype] += 1
        return out

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Blocking copies are no errors (what reads a number always is one)."""
        self.may_wait = True
        try:
            yield
        finally:
            self.may_wait = False


def on_gpu(x: object) -> bool:
    return isinstance(x, FakeTensor | torch.device)


def waits(args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> bool:
    """Does the host wait for this copy? For one to the host always: its numbers are wanted."""
    places = {x.device.type for x in (*args, out) if isinstance(x, Tensor)}
    calm = kwargs.get("non_blocking", False) or args[-1] is True
    return places == {"cpu", "cuda"} and (out.device.type == "cpu" or not calm)


@contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """The GPU, for everything but backward passes: autograd asks the driver itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda._lazy_init", lambda: None)
        patch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)
        patch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(1.0, device=...) asks no driver
        try:
            with FakeGpu() as gpu:
                yield gpu
        finally:
            torch._C._set_only_lift_cpu_tensors(before)


def made_gradients(network: nn.Module, patch: pytest.MonkeyPatch) -> None:
    """In place of `backward`: gradients of the right shape, on the right device."""

    def backward(loss: Tensor) -> None:
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)

    patch.setattr(Tensor, "backward", backward)
