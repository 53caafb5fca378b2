"""Resolve what other libraries call the place of a neuron: hook names and module paths."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from negkernel.arguments import shown
from negkernel.families.feed_forward import FeedForward
from negkernel.sites import SITES

# Of TransformerLens, for a gated MLP and for another one; its bridges say the second three.
_HOOKS = {
    "hook_pre": ("gate", "pre"),
    "hook_pre_linear": ("up", None),
    "hook_post": ("post", "post"),
    "gate.hook_out": ("gate", None),
    "in.hook_out": ("up", "pre"),
    "out.hook_in": ("post", "post"),
}
_HOOK = re.compile(r"(?:blocks\.(?P<layer>\d+)\.)?(?:mlp\.)?(?P<hook>\w+(?:\.hook_\w+)?)")
_FORMS = (
    "'blocks.0.mlp.hook_post' as in TransformerLens, or a module's path with '.output' or '.input' "
    "such as 'model.layers.0.mlp.up_proj.output'"
)


@dataclass(frozen=True)
class Place:
    """A site and, where the name says one, the layer."""

    site: str
    layer: int | None = None


def is_place(name: Any) -> bool:
    """Whether ``name`` is a place of another library and not a site of this one."""
    return isinstance(name, str) and ("." in name or name in _HOOKS or "hook_" in name)


def find_place(name: str, model: nn.Module, layers: Sequence[FeedForward]) -> Place:
    """Resolve a place.

    Parameters
    ----------
    name : str
        ``blocks.10.mlp.hook_post``, ``hook_pre``, ``hook_pre_linear`` and what a bridge calls them
        (``blocks.10.mlp.in.hook_out``), or ``model.layers.10.mlp.up_proj.output`` and the like;
        without the layer it is the place in all of them.
    model, layers
        A model and its feed-forward parts.

    Raises
    ------
    ValueError
        No place of neurons, or several at once.
    """
    plain = re.sub(r"\[(\d+)\]", r".\1", name).strip(".")
    gated = any(one.gated for one in layers)
    hook = _HOOK.fullmatch(plain)
    if hook is not None and "hook_" in plain:
        return _hooked(name, hook, gated, layers)
    path, _, side = plain.rpartition(".")
    if side not in ("input", "output") or not path:
        raise ValueError(f"place {shown(name)} has no known form; expected {_FORMS}")
    known = dict(_modules(model, layers))
    found = known.get((path, side))
    if found is None:  # a part of the path, or one that begins with a wrapper
        related = [
            places
            for (one, its_side), places in known.items()
            if its_side == side and (one.endswith("." + path) or path.endswith("." + one))
        ]
        found = [place for places in related for place in places]
    return _one(name, found, model, known)


def named_neurons(given: Any, find: Any, widths: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Take neurons that are given by places: pairs [N, 2] and their site; None for other neurons.

    Parameters
    ----------
    given : str, list of str, or mapping of str to list of int
        Places, each of one layer, with all their neurons or those listed.
    find : callable
        Place's name -> :class:`Place`.
    widths : ndarray [L]

    Raises
    ------
    ValueError
        A place without a layer, or places that are different sites.
    """
    if isinstance(given, str):
        given = [given]
    named = isinstance(given, Mapping) or (
        isinstance(given, Sequence) and len(given) and all(isinstance(one, str) for one in given)
    )
    if not named:
        return None
    if not given or not all(isinstance(one, str) for one in given):
        raise ValueError(
            f"neurons is {shown(given)}; expected an array [N, 2] of (layer, index), or a "
            "mapping of places to indices"
        )
    pairs, sites = [], set()
    for name in given:
        place = find(name)
        if place.layer is None:
            raise ValueError(
                f"{shown(name)} is a place in every layer; expected one that says which"
            )
        index = np.arange(widths[place.layer])
        if isinstance(given, Mapping) and given[name] is not None:
            index = np.asarray(given[name]).ravel()
        pairs.append(np.stack([np.full_like(index, place.layer), index], axis=1))
        sites.add(place.site)
    if len(sites) != 1:
        raise ValueError(
            f"the places given are the sites {sorted(sites)}; expected places of one site"
        )
    return np.concatenate(pairs), sites.pop()


def _hooked(name: str, hook: re.Match[str], gated: bool, layers: Sequence[FeedForward]) -> Place:
    sites = _HOOKS.get(hook["hook"], (None, None))
    site = sites[0] if gated else sites[1]
    if site is None:
        offered = [one for one, by in _HOOKS.items() if by[0 if gated else 1]]
        raise ValueError(
            f"place {shown(name)} is no place of neurons in this model's "
            f"{'gated' if gated else 'ungated'} MLP; expected blocks.L.mlp. with one of "
            f"{', '.join(offered)}"
        )
    if hook["layer"] is None:
        return Place(site)
    layer = int(hook["layer"])
    if layer >= len(layers):
        raise ValueError(f"place {shown(name)}: the model has layers 0 to {len(layers) - 1}")
    return Place(site, layer)


def _modules(
    model: nn.Module, layers: Sequence[FeedForward]
) -> Iterator[tuple[tuple[str, str], list[Place]]]:
    """(path, side) of every module that puts out or is given neurons, and what they are there."""
    paths = {module: path for path, module in model.named_modules()}
    found: dict[tuple[str, str], list[Place]] = {}
    for layer, part in enumerate(layers):
        caught = {}
        for site in SITES if part.width else ():
            if (site in ("up", "gate") and not part.gated) or (site == "pre" and part.gated):
                continue
            caught[site] = at = part.site(site)
            module = getattr(at, "module", None)
            if module in paths:
                side = "input" if getattr(at, "is_input", False) else "output"
                found.setdefault((paths[module], side), []).append(Place(site, layer))
        first, second = (paths.get(getattr(caught.get(s), "module", None)) for s in ("pre", "post"))
        for path in _activated(model, first, second):
            found.setdefault((path, "output"), []).append(Place("post", layer))
    yield from found.items()


def _activated(model: nn.Module, first: str | None, second: str | None) -> Iterable[str]:
    """Paths of modules that put out the activation of an ungated MLP: its own, or around both."""
    if first is None or second is None:
        return
    parent = first.rpartition(".")[0]
    for name, child in model.get_submodule(parent).named_children():
        if "act" in name and not list(child.parameters()):
            yield f"{parent}.{name}"
    if not second.startswith(f"{parent}."):
        yield parent


def _one(
    name: str, found: list[Place], model: nn.Module, known: Mapping[tuple[str, str], list[Place]]
) -> Place:
    """The one place among those that a name matches, without a layer where it is in several."""
    sites = sorted({place.site for place in found})
    layers = sorted({place.layer for place in found if place.layer is not None})
    if len(sites) == 1:
        return Place(sites[0], layers[0] if len(layers) == 1 else None)
    if sites:
        raise ValueError(
            f"place {shown(name)} matches several sites: {', '.join(sites)}; expected one of them "
            "as site="
        )
    every = [f"{path}.{side}" for path, side in known]
    near = difflib.get_close_matches(name, every, n=2, cutoff=0.0)
    there = any(path == name.rpartition(".")[0] for path, _ in model.named_modules())
    what = "is not where a layer's neurons are" if there else "matches no module of this model"
    raise ValueError(f"place {shown(name)} {what}; expected one such as {', '.join(near)}")
