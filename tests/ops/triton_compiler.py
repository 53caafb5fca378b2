"""Compile the Triton kernels for GPUs that need not be there: ``python triton_compiler.py 80 90``.

Run without TRITON_INTERPRET. The blocks are those of few rows, and autotuned kernels take the first
of their configurations; with ``--all`` in front those of many rows and every configuration, which
takes minutes.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from negkernel.ops.attention.configs import PRECISION, block_m
from negkernel.ops.attention.kernel import attention_kernel, base_kernel
from negkernel.ops.logprob.configs import block_r
from negkernel.ops.logprob.kernel import tuned_for_float32, tuned_for_half
from negkernel.ops.mlp.kernel import mlp_kernel
from negkernel.ops.norm.kernel import norm_kernel
from negkernel.ops.shift.kernel import shift_kernel

INTEGERS = {"R", "T", "H", "I", "D", "G", "Hkv", "V", "K", "heads", "share"}
NUMBERS = {"scale", "softcap", "eps"}
INDICES = {"row_prompt", "row_column", "prefix_start", "targets"}


def kernels(rows):
    """Yield (kernel, its constants, types of the arguments that are not float32)."""
    yield norm_kernel, {"LAYER": False, "BLOCK_R": 1, "BLOCK_H": 4096}, {}
    yield norm_kernel, {"LAYER": True, "BLOCK_R": 16, "BLOCK_H": 128, "branch": None}, {}
    yield shift_kernel, {"BLOCK_H": 1024}, {}
    for activation in ("silu", "gelu", "gelu_tanh", "relu"):
        yield mlp_kernel, {"ACTIVATION": activation, "BLOCK_I": 1024}, {}
    yield mlp_kernel, {"ACTIVATION": "gelu", "BLOCK_I": 1024, "gate": None, "dgate": None}, {}
    for capped, size in ((False, 128), (True, 64)):
        attention = {"CAPPED": capped, "BLOCK_D": size}
        yield base_kernel, attention | {"BLOCK_S": 32}, {}
        blocks = {"BLOCK_M": block_m(rows, size), "PRECISION": PRECISION}
        yield attention_kernel, attention | blocks, {}
    # Many rows of half precision are what the registers hardly hold.
    for half, kernel, taken in (
        (True, tuned_for_half, rows),
        (True, tuned_for_half, 1 << 20),
        (False, tuned_for_float32, rows),
    ):
        operands = {"dn": "*bf16", "weight": "*bf16"} if half else {}
        constants = {
            "INTERPRETED": False,
            "BLOCK_R": block_r(taken, half),
            "GROUP": 8,
            "CAPPED": not half,
        }
        yield kernel, constants | ({"base_logits": None} if half else {}), operands


def compile_for(capability, every):
    """Compile for a compute capability such as 90, and print what each kernel takes."""
    for kernel, constants, types in kernels(1 << 20 if every else 1):
        configs = getattr(kernel, "configs", [triton.Config({})])
        function = getattr(kernel, "fn", kernel) if hasattr(kernel, "configs") else kernel
        for config in configs if every else configs[:1]:
            fixed = constants | config.kwargs
            signature = {
                name: "constexpr" if name in fixed else type_of(name, types)
                for name in function.arg_names
            }
            # Addresses and sizes are multiples of 16, as those of real models are.
            aligned = {
                (i,): [["tt.divisibility", 16]]
                for i, name in enumerate(function.arg_names)
                if signature[name] == "i32" or signature[name].startswith("*")
            }
            compiled = triton.compile(
                ASTSource(function, signature, fixed, aligned),
                target=GPUTarget("cuda", capability, 32),
                options={"num_warps": config.num_warps, "num_stages": config.num_stages},
            )
            assert compiled.asm["cubin"]
            shared, stack = compiled.metadata.shared, stack_of(compiled.asm["cubin"])
            print(f"sm_{capability} {function.__name__} {fixed}: {shared} shared, {stack} spilled")


def stack_of(cubin):
    """Return the bytes a thread keeps outside its registers."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        )
    return int(re.search(r"STACK:(\d+)", done.stdout)[1])


def type_of(name, types):
    """Return Triton's name of an argument's type."""
    if name in INTEGERS:
        return "i32"
    if name in NUMBERS:
        return "fp32"
    return types.get(name, "*i64" if name in INDICES else "*fp32")


if __name__ == "__main__":
    every = "--all" in sys.argv
    for argument in sys.argv[1 + every :]:
        compile_for(int(argument), every)
