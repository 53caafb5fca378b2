"""Log-probs from other people's fused cross entropies, where they are installed.

Liger-Kernel and cut-cross-entropy train language models: from hidden states, the head's weight and
a target for each row they give ``-log p(target)`` without a rows x vocabulary tensor. That is what
`logprob` does, but for the shifted rows themselves in place of their difference from the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.op_calls import Call
from negkernel.testing.compare import assert_close

# Of the largest -log p: logits that are written down in bfloat16 keep 8 bits.
BUDGET = 1e-2


def _liger(rows: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    functional = import_module("liger_kernel.transformers.functional")
    out: Tensor = functional.liger_fused_linear_cross_entropy(
        rows, weight, targets, reduction="none"
    )
    return out


def _cut(rows: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    out: Tensor = import_module("cut_cross_entropy").linear_cross_entropy(
        rows, weight, targets, reduction="none"
    )
    return out


MINUS_LOGPROB = {"Liger-Kernel": _liger, "cut-cross-entropy": _cut}
MODULES = {"Liger-Kernel": "liger_kernel", "cut-cross-entropy": "cut_cross_entropy"}


def why_not(name: str, device: torch.device) -> str | None:
    """Return None if ``name`` can run on ``device``, else why not."""
    if find_spec(MODULES[name]) is None:
        return f"{MODULES[name]} is not installed"
    if device.type != "cuda":
        return f"its kernels need a GPU, the rows are on {device}"
    return None


@dataclass(frozen=True)
class CrossEntropy:
    """One library on rows [R, H] in the head's dtype, ``weight`` [V, H] and ``target`` [R]."""

    name: str
    rows: Tensor
    weight: Tensor
    target: Tensor

    @torch.no_grad()
    def run(self, _: object = None) -> Tensor:
        """``-log p(target)`` of every row: [R] in nats. A round's input is not needed."""
        return MINUS_LOGPROB[self.name](self.rows, self.weight, self.target)

    def error(self) -> float:
        """Largest error of some rows beside float64, as a fraction of the largest value.

        Raises
        ------
        AssertionError
            It exceeds :data:`BUDGET`.
        """
        last = len(self.rows) - 1
        some = torch.linspace(0, last, 32, device=self.rows.device).round().long().unique()
        logits = self.rows[some].double() @ self.weight.double().t()
        true = F.cross_entropy(logits, self.target[some], reduction="none")
        found, largest = self.run()[some].double(), true.abs().max()
        what = f"{self.name} vs float64"
        assert_close(found, true, budget=BUDGET, relative_to=largest, what=what)
        return float((found - true).abs().max() / largest)


def cross_entropies(call: Call) -> tuple[list[CrossEntropy], dict[str, str]]:
    """Who can run on rows as those of a `logprob` call with a plain head, and who cannot, why."""
    dn, weight, _, targets, row_prompt = call.arguments
    # Shifted rows, in the head's dtype as these libraries want them; of several targets the first.
    prompts = torch.randn(len(targets), dn.shape[1], device=dn.device)
    rows = (prompts[row_prompt] + dn).to(weight.dtype)
    target = targets[row_prompt, 0]
    reasons = {name: why_not(name, dn.device) for name in MINUS_LOGPROB}
    found = [CrossEntropy(name, rows, weight, target) for name in reasons if not reasons[name]]
    return found, {name: reason for name, reason in reasons.items() if reason}
