"""What is read off the model without shifting anything: direct effects and ranks."""

from __future__ import annotations

import numpy as np
import torch

from negkernel.delta import direct_effects as direct
from negkernel.delta.method import Delta
from negkernel.handle import Host
from negkernel.hooks.lease import borrowed
from negkernel.judge.choice import Asked, choose
from negkernel.methods.forward import probed_logprob
from negkernel.model.finite import check_finite
from negkernel.request.prompts import Request


def direct_effects(host: Host, request: Request, *, norm: str) -> np.ndarray:
    """Answer :meth:`negkernel.Engine.direct_effects`."""
    if host.task == "masked":
        raise NotImplementedError(
            "the log-probability increase reads the residual stream of a causal model; this "
            "one is masked"
        )
    request.one_token("direct effects")
    runner = choose(host, request, Asked("delta", host.site("paper")))
    assert isinstance(runner, Delta)
    P, K, L, I = len(request), request.K, host.n_layers, host.n_neurons
    increase = np.full((P, K, L, I), np.nan, host.result_dtype)
    for first, last in runner.groups(request):
        some = request.take(range(first, last))
        base, ids = runner.trace(some), torch.from_numpy(some.target_ids)
        check_finite(host.model, base.logprob.gather(1, ids.to(base.logprob.device)))
        for layer, values in direct.direct_effects(runner.model, base, ids, norm=norm):
            increase[first:last, :, layer, : values.shape[-1]] = values.cpu().numpy()
    return request.squeeze(increase)


def rank(host: Host, request: Request) -> np.ndarray:
    """Answer :meth:`negkernel.Engine.rank`."""
    request.one_token("ranks")
    ranks = np.empty((len(request), request.K), dtype=np.int64)
    with torch.no_grad(), borrowed(host.model) as state:
        for p, (tokens, position) in enumerate(zip(request.tokens, request.positions, strict=True)):
            state.restore()
            logprob = probed_logprob(host.model, torch.tensor([list(tokens)]), [position])[0, 0]
            own = logprob[torch.from_numpy(request.target_ids[p]).to(logprob.device)]
            check_finite(host.model, own)
            ranks[p] = (logprob > own[:, None]).sum(1).cpu().numpy()
    return request.squeeze(ranks)
