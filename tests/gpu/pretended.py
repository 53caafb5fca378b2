"""A pretended GPU: tensors on the CPU that answer ``cuda`` and refuse what a GPU would refuse.

Everything around the kernels runs on it: tensors of both devices in one operation raise, as they
would on a GPU, and launches, copies to the device and waits of the host are counted. The kernels
themselves are stood in for by their references. Meant for few families, not for speed.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from negkernel import ops
from negkernel.families import weights
from negkernel.judge import choice

CUDA, META = torch.device("cuda", 0), torch.device("meta")
# A GPU takes indices and sources from the host here; everywhere else only numbers.
MAY_MIX = {"index", "index_put", "index_put_", "_index_put_impl_", "copy_"}
# These wait, since the host must know the size of the result.
WAITS = {"nonzero", "_unique2", "masked_select", "repeat_interleave", "_local_scalar_dense"}
# No kernel runs for these.
FREE = {"_unsafe_view", "alias", "as_strided", "detach", "diagonal", "expand", "permute", "select"}
FREE |= {"slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze"}
FREE |= {"view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}

counted: Counter[str] = Counter()


class OnGpu(torch.Tensor):
    """A tensor of the pretended GPU; ``numbers`` on the CPU hold its values."""

    @staticmethod
    def __new__(cls, numbers):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=META,  # torch here need not know CUDA
        )
        made.numbers = numbers
        return made

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = is_meta = property(lambda self: False)

    def cpu(self):
        return self.to("cpu")

    def tolist(self):
        counted["waits"] += 1
        return self.numbers.tolist()

    def numpy(self):
        raise TypeError("can't convert a tensor of the pretended GPU to numpy")

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def _real(x):
    return x.numbers if isinstance(x, OnGpu) else x


def _on_gpu(x):
    return OnGpu(x) if isinstance(x, torch.Tensor) and not isinstance(x, OnGpu) else x


def _run(operation, args, kwargs):
    """Run an operation on the numbers behind its arguments."""
    name = operation._schema.name.split("::")[1]
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, OnGpu)]
    hosts = [x for x in tensors if not isinstance(x, OnGpu)]
    if ours and any(x.dim() for x in hosts):
        moves = name in MAY_MIX and (name == "copy_" or isinstance(tensors[0], OnGpu))
        assert moves, f"{operation} was given tensors of two devices"
    target = kwargs.get("device")
    makes_here = target is not None and torch.device(target).type == "meta"
    to_host = bool(ours) and target is not None and torch.device(target).type == "cpu"
    to_host |= name == "copy_" and not isinstance(tensors[0], OnGpu)
    counted["waits"] += to_host or (bool(ours) and name in WAITS)
    counted["copies"] += bool(ours and hosts) or (makes_here and bool(hosts))
    counted["launches"] += bool(ours) and not to_host and name not in FREE | WAITS
    real_args, real_kwargs = tree_map(_real, (args, kwargs))
    if makes_here:
        real_kwargs["device"] = "cpu"
    if name == "mm" and len(args) == 3:  # out_dtype, which a CPU does not have
        out = torch.mm(*(x.to(args[2]) for x in real_args[:2]))
    else:
        out = operation(*real_args, **real_kwargs)
    if to_host or not (ours or makes_here):
        return args[0] if name == "copy_" else out
    if name.endswith("_"):
        return args[0]
    return kwargs.get("out", tree_map(_on_gpu, out))


class _Dispatch(TorchDispatchMode):
    """Catches what has no tensor of ours yet: moves and makes of the pretended GPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        target = kwargs.get("device")
        if target is not None and torch.device(target).type == "meta":
            return _run(operation, args, kwargs)
        return operation(*args, **kwargs)


class _Devices(TorchFunctionMode):
    """Lets ``device=cuda`` pass without torch looking for a driver."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.Tensor.new_tensor and isinstance(args[0], OnGpu):
            counted["copies"] += 1
            return OnGpu(torch.tensor(args[1], dtype=args[0].dtype))
        args, kwargs = tree_map(_without_driver, (args, kwargs))
        return function(*args, **kwargs)


def _without_driver(x):
    return META if isinstance(x, torch.device) and x.type == "cuda" else x


def move(model):
    """Put a model's parameters and buffers on the pretended GPU, for good."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            tensors |= {name: OnGpu(x.detach()) for name, x in tensors.items() if x is not None}
    return model


@contextmanager
def gpu(monkeypatch):
    """Run on the pretended GPU, the references in place of the Triton kernels."""
    for op, backends in ops.BACKENDS.items():
        if "triton" in backends:
            monkeypatch.setattr(backends["triton"], op, _stand_in(op, backends["reference"]))
            monkeypatch.setattr(backends["triton"], "supports", _takes)
    # The judge runs transformers' own forward, which makes masks that nothing here can follow.
    for hear in ("hear", "hear_slopes"):
        monkeypatch.setattr(choice, hear, lambda *args: None)
    # Weights of any other class may be in pieces, or packed; these are what they look like.
    monkeypatch.setattr(weights, "WHOLE", (*weights.WHOLE, OnGpu))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (1 << 37, 1 << 37))
    counted.clear()
    with _Devices(), _Dispatch():
        yield


def _takes(*args, **options):
    ours = any(isinstance(x, OnGpu) for x in tree_leaves((args, options)))
    return None if ours and not callable(args[1]) else "not for the pretended GPU"


def _stand_in(op, reference):
    run = getattr(reference, op)

    def kernel(*args, **options):
        for x in tree_leaves((args, options)):
            assert not isinstance(x, torch.Tensor) or isinstance(x, OnGpu), f"{op}: host tensor"
        counted["launches"] += 1
        return OnGpu(run(*tree_map(_real, args), **tree_map(_real, options)))

    return kernel
