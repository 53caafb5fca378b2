"""Say what a shift moves: which tensor the neuron is (site), and what the number means (axis).

A new site of the feed-forward layer is a file with a :class:`~negkernel.sites.site.Neuron` and its
entry in ``ALL``; :class:`Head` and :class:`Direction` are those that lie elsewhere.
"""

from __future__ import annotations

from negkernel.arguments import shown
from negkernel.sites.axes import AXES as AXES
from negkernel.sites.axes import Spot as Spot
from negkernel.sites.axes import check_axis as check_axis
from negkernel.sites.axes import shift_amount as shift_amount
from negkernel.sites.direction import Direction as Direction
from negkernel.sites.direction import coordinates as coordinates
from negkernel.sites.gate import Gate
from negkernel.sites.head import Head as Head
from negkernel.sites.post import Post
from negkernel.sites.pre import Pre
from negkernel.sites.site import Inner as Inner
from negkernel.sites.site import Neuron as Neuron
from negkernel.sites.site import Site as Site
from negkernel.sites.up import Up

ALL: dict[str, Neuron] = {site.name: site for site in (Up(), Gate(), Pre(), Post())}
SITES = tuple(ALL)


def resolve_site(name: str, gated: bool) -> Neuron:
    """Turn ``"paper"`` into the paper's neuron and refuse a site that the MLP does not have.

    The paper's neuron is the output of ``up_proj`` in a gated MLP and the activation after the
    nonlinearity elsewhere. An ungated MLP has the sites "pre" (before the nonlinearity) and
    "post"; a gated one "up", "gate" and "post" (input of ``down_proj``).
    """
    allowed = {one.name: one for one in ALL.values() if gated in one.gated}
    if isinstance(name, str) and name == "paper":
        return ALL["up" if gated else "post"]
    if not isinstance(name, str) or name not in allowed:
        kind = "gated" if gated else "ungated"
        raise ValueError(
            f"site {shown(name)} is not a tensor of this model's {kind} MLP; expected 'paper' or "
            f"one of {', '.join(map(repr, allowed))}, or 'head'"
        )
    return allowed[name]
