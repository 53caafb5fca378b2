"""Gradients of every neuron, as the model is and along a path of scaled layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from negkernel.answers.asked import How
from negkernel.answers.kept import IN_MEMORY, Job, Keeping
from negkernel.arguments import check_flag
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer, choose
from negkernel.methods.base import LayerGradients, Method
from negkernel.model.finite import check_finite
from negkernel.request.directions import Directions
from negkernel.request.neurons import check_shifts
from negkernel.request.prompts import Request
from negkernel.results import DirectionGradients, Gradients
from negkernel.results.shards import Shard, split_prompts
from negkernel.sites import Neuron, Site


def by_layer(
    host: Host,
    request: Request,
    *,
    site: str,
    method: str,
    check: str | bool = "once",
    log: bool = False,
) -> Iterator[LayerGradients]:
    """Answer :meth:`negkernel.Engine.stream_gradients`."""
    where, written = host.site(site), request.unrolled()
    if len(written) != len(request):
        raise NotImplementedError(
            "gradients are streamed for one target of several tokens a prompt; expected one, or "
            "each prompt as often as it has targets"
        )
    runner = choose(host, request, _asked(host, where, method, check))
    return runner.gradients(written, where, log=log)


def gradients(
    host: Host,
    request: Request,
    how: How,
    directions: Any = None,
    *,
    log: bool = False,
    keeping: Keeping = IN_MEMORY,
) -> Gradients:
    """Answer :meth:`negkernel.Engine.gradients`."""
    check_flag("log", log)
    if directions is not None and not isinstance(directions, Directions):
        raise ValueError(
            f"gradients are of all neurons of a site, or of negkernel.Directions; got "
            f"{type(directions).__name__}"
        )
    kind: type[Gradients] = Gradients
    if directions is None:
        where = host.site(how.site)
    else:
        (at, where), kind = host.place(directions, how.site), DirectionGradients
    widths = where.widths(host.feed_forwards)

    def compute(runner: Method) -> Gradients:
        def computer(runner: Method) -> Callable[[Shard], Gradients]:
            def shard(shard: Shard) -> Gradients:
                some = request.take(range(*shard.prompts))
                found = computed(host, some, runner, where, log=log)
                return found if directions is None else _along(directions, at, found)

            return shard

        shards = [Shard((0, len(request)))]
        if keeping.folder is not None:
            arrays = 1 + request.K * (3 if request.summed else 1)
            shards = split_prompts(len(request), 8 * arrays * len(widths) * int(widths.max()))
        settings = {
            "site": where.name,
            "directions": None if directions is None else directions.digest,
            "method": runner.name,
            "log": log,
            "sum": request.summed,
        }
        job = Job(kind, settings, shards, computer, "prompt")
        return job.answered(host, request, runner, keeping)

    return answer(host, request, _asked(host, where, how.method, how.check), compute)


def _along(directions: Directions, at: np.ndarray, found: Gradients) -> DirectionGradients:
    """Pick the gradients of directions, which are at the places ``at`` [N, 2] of their site."""
    own = (..., *at.T)
    return DirectionGradients(
        prompts=found.prompts,
        targets=found.targets,
        prompt_tokens=found.prompt_tokens,
        target_ids=found.target_ids,
        positions=found.positions,
        target_tokens=found.target_tokens,
        model=found.model,
        dtype=found.dtype,
        task=found.task,
        site=found.site,
        neurons=directions.pairs,
        prob=found.prob,
        cg=found.cg[own],
        activation=found.activation[own],
        scale=None if found.scale is None else found.scale[own],
        log=found.log,
    )


def of_site(
    host: Host, request: Request, site: Site, method: str, check: str | bool, *, log: bool = False
) -> Gradients:
    """Gradients of all that there is at a site, [P, K, L, I]."""
    asked = _asked(host, site, method, check)
    return answer(
        host, request, asked, lambda runner: computed(host, request, runner, site, log=log)
    )


def _asked(
    host: Host, site: Site, method: str, check: str | bool, kind: str = "gradients"
) -> Asked:
    def slopes(runner: Method, some: Request) -> Gradients:
        return computed(host, some, runner, site, log=True)

    return Asked(method, site, check, kind, slopes)


def computed(
    host: Host, request: Request, runner: Method, site: Site, *, log: bool = False
) -> Gradients:
    """Gradients by ``runner``."""
    written, widths = request.unrolled(), site.widths(host.feed_forwards)
    P, K, L, I = len(written), written.K, len(widths), int(widths.max())
    dtype = host.result_dtype
    prob = np.empty((P, K), dtype)
    found = {"cg": np.full((P, K, L, I), np.nan, dtype)}
    if request.summed:
        found |= {name: np.full_like(found["cg"], np.nan) for name in ("magnitude", "scale")}
    activation = np.full((P, L, I), np.nan, dtype)
    for part in runner.gradients(written, site, log=log):
        prob[part.prompts] = part.prob.cpu().numpy()
        width = part.cg.shape[-1]
        for name, array in found.items():
            own = part.cg if name == "cg" else part.along(name)
            assert own is not None
            array[part.prompts, :, part.layer, :width] = own.cpu().numpy()
        activation[part.prompts, part.layer, :width] = part.activation.cpu().numpy()
    check_finite(host.model, prob)
    of_targets = {"prob": prob, **found}
    squeezed: dict[str, Any] = {
        name: request.squeeze(array.reshape(len(request), request.K, *array.shape[2:]))
        for name, array in of_targets.items()
    }
    return Gradients(
        **request.fields(),
        **host.identity(),
        site=site.name,
        **squeezed,
        activation=request.by_prompt(activation),
        log=log,
        paper=site.name == host.site("paper").name,
    )


def path_gradients(
    host: Host,
    request: Request,
    scales: Sequence[float],
    *,
    site: str,
    method: str,
    check: str | bool,
) -> Gradients:
    """Answer :meth:`negkernel.Engine.path_gradients`."""
    where = host.site(site)
    if not isinstance(where, Neuron):
        raise ValueError(
            f"path gradients scale the neurons of a layer, not site {site!r}; expected a site of "
            "the feed-forward layers"
        )
    factors = [float(scale) for scale in check_shifts(scales, torch.float64, "scales")]
    asked, written = _asked(host, where, method, check, "path gradients"), request.unrolled()

    def compute(runner: Method) -> Gradients:
        plain = computed(host, request, runner, where)
        # One target a prompt is asked for without an axis K.
        size = len(written), written.K, host.n_layers, host.n_neurons
        cg = plain.cg.reshape(size)
        for p, layer, mean in runner.path_gradients(written, where, factors):
            cg[p, :, layer, : mean.shape[-1]] = mean.cpu().numpy()
        return replace(plain, cg=cg.reshape(plain.cg.shape))

    return answer(host, request, asked, compute)
