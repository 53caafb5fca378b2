"""Edit a model for as long as a block runs: an intervention in each of its calls."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np

from negkernel.answers.passes import resolved
from negkernel.arguments import check_choice, shown
from negkernel.handle import Host
from negkernel.hooks.generating import POSITIONS, generating
from negkernel.request.neurons import Intervention
from negkernel.sites import Spot


def edited(host: Host, intervention: Intervention, position: str) -> AbstractContextManager[None]:
    """Answer :meth:`negkernel.Engine.edited`."""
    if not isinstance(intervention, Intervention):
        raise TypeError(
            f"intervention is {shown(intervention)}; expected one negkernel.Intervention"
        )
    check_choice("position", position, POSITIONS)
    host.look()
    can = getattr(host.model, "can_generate", None)
    if host.task != "causal" or can is None or not can():
        raise NotImplementedError(
            f"{type(host.model).__name__} cannot generate; expected a causal language model, or "
            "ask Engine.intervene, which reads the answer of a masked one"
        )
    if intervention.signs == "baseline" and intervention.flippable:
        raise NotImplementedError(
            "edits follow the activations as earlier layers left them; expected signs='running'"
        )
    lists, sites = resolved(host, [[intervention]])
    one = lists[0][0]
    spot = Spot.of(sites[one.site], one.axis, np.asarray(one.amounts))
    caught = spot.site.caught(host.feed_forwards)
    return generating(host.model, caught, replace(one, axis=spot.axis), position)
