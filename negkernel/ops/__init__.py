"""The five fused ops of the delta forward; each has a contract, a reference and its backends."""

from negkernel.ops.attention import attention
from negkernel.ops.logprob import logprob
from negkernel.ops.mlp import mlp
from negkernel.ops.norm import norm
from negkernel.ops.shift import shift

__all__ = ["attention", "logprob", "mlp", "norm", "shift"]
