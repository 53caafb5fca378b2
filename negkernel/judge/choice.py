"""Choose the method that answers a request: the best that agrees with the model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from negkernel.arguments import check_choice, shown
from negkernel.judge.library import foreign_part
from negkernel.judge.reference import ModelFaultError, Reference
from negkernel.judge.verdicts import Slopes, hear, hear_slopes, verdicts_on
from negkernel.methods.base import Method, out_of_memory
from negkernel.methods.full import Full
from negkernel.request.prompts import Request
from negkernel.sites import Neuron, Site

if TYPE_CHECKING:
    from negkernel.handle import Host

log = logging.getLogger(__name__)

METHODS = ("auto", "delta", "suffix", "full", "generic")
CHECKS = ("once", "each")
# "full" once more, for models whose rows disturb each other in a batch.
ALONE = "full, one row at a time"
# What can answer which kind of question, best first.
_SERVING = {
    ("rows", "causal"): ("delta", "generic", "suffix", "full", ALONE),
    ("rows", "masked"): ("delta", "generic", "full", ALONE),
    ("gradients", "causal"): ("delta", "generic", ALONE),
    ("gradients", "masked"): ("delta", "generic", ALONE),
    ("path gradients", "causal"): ("delta", "full"),
    ("path gradients", "masked"): ("full",),
}
# Raised by a method that a model does not fit. ValueError is what users are told of their input.
_MISFITS = (RuntimeError, TypeError, AttributeError, LookupError, AssertionError)
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """How a user wants a question answered.

    Attributes
    ----------
    method : str
        One of :data:`METHODS`.
    site : Site
    check : {"once", "each", False}
        Whether methods are held against the model.
    kind : {"rows", "gradients", "path gradients"}
    slopes : callable, optional
        ``slopes(method, request)``: gradients of log p by that method, [1, L, I] for a request of
        one prompt with one target. Of questions about gradients.
    """

    method: str
    site: Site
    check: str | bool = "once"
    kind: str = "rows"
    slopes: Slopes | None = None

    def name(self, label: str) -> str:
        """Return what the method called ``label`` is known by for this kind of question.

        Neurons of the feed-forward layers are taken to be right or wrong together, whatever their
        site; heads and each place of directions are judged apart.
        """
        name = label if self.kind == "rows" else f"{label} {self.kind}"
        return name if isinstance(self.site, Neuron) else f"{name} of site {self.site.name}"

    def candidates(self, task: str, request: Request) -> list[str]:
        """Methods that come into question, best first.

        Raises
        ------
        ValueError, NotImplementedError
            An unknown name; a method that has no answer to this kind of question.
        """
        check_choice("method", self.method, METHODS)
        if self.check is not False and not (isinstance(self.check, str) and self.check in CHECKS):
            raise ValueError(f"check is {shown(self.check)}; expected 'once', 'each' or False")
        if self.method == "suffix" and task == "masked":
            raise ValueError(
                "method 'suffix' keeps the prefix's keys and values, which a masked model's shift "
                "changes; expected 'auto', 'delta' or 'full'"
            )
        serving = _SERVING[self.kind, task]
        if self.kind == "path gradients" and request.longest > 1:
            serving = ("full",)
        if request.moved:
            if self.method == "suffix":
                raise NotImplementedError(
                    "method 'suffix' runs the last token alone and cannot shift neurons at "
                    "others; use 'delta' or 'full' (or 'auto')"
                )
            serving = tuple(label for label in serving if label != "suffix")
        found = [label for label in serving if self.method in ("auto", _name(label))]
        if not found:
            able = " and ".join(dict.fromkeys(repr(_name(label)) for label in serving))
            raise NotImplementedError(
                f"method {self.method!r} computes no {self.kind} of a {task} model; use {able}, "
                "or 'auto'"
            )
        return found


def answer(host: Host, request: Request, asked: Asked, compute: Callable[[Method], T]) -> T:
    """Return ``compute(method)`` for the best method that serves the model.

    A method that refuses the model, computes something else or breaks is left for the next one.

    Raises
    ------
    NotImplementedError
        None of the methods asked for serves the model; the message says why.
    ValueError
        The model's own output is not a number.
    """
    failed: BaseException | None = None
    refused = verdicts_on(host).refused
    for label, method in _serving(host, request, asked):
        try:
            return compute(method)
        except _MISFITS as error:
            if out_of_memory(error):
                raise
            refused[label] = said(error)
            failed = error
    raise _unserved(host, request, asked, refused) from failed


def choose(host: Host, request: Request, asked: Asked) -> Method:
    """Return the best method that serves the model; raises what :func:`answer` does."""
    return answer(host, request, asked, lambda method: method)


def build(host: Host, label: str) -> Method:
    """Make the method that is called ``label`` here.

    Raises
    ------
    NotImplementedError
        "delta" cannot be had by reading this model's weights.
    """
    if label == "delta" and not host.verdicts.readable:
        part = foreign_part(host.model)
        if part is not None:
            raise NotImplementedError(f"{part}, which it would not run")
        host.verdicts.readable = True
    return Full(host.model, host.feed_forwards, rows=1) if label == ALONE else host.method(label)


def said(error: BaseException) -> str:
    """What an error says in one line, with its kind unless it is a refusal."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if isinstance(error, NotImplementedError) else f"{type(error).__name__}: {text}"


def _serving(host: Host, request: Request, asked: Asked) -> Iterator[tuple[str, Method]]:
    """Methods that are not found wanting, best first, with what they are called here."""
    candidates = asked.candidates(host.task, request)
    refused = verdicts_on(host).refused
    reference = Reference(host.given, host.feed_forwards, asked.site)
    for i, label in enumerate(candidates):
        name = asked.name(label)
        if name in refused or label in refused:
            continue
        try:
            method = build(host, label)
            if label != ALONE or asked.kind == "rows":
                hear(
                    host,
                    replace(asked, kind="rows").name(label),
                    method,
                    reference,
                    request,
                    asked.check,
                )
            if asked.slopes is not None:
                hear_slopes(host, name, method, reference, request, asked.slopes, asked.check)
        except (ValueError, *_MISFITS) as error:
            if out_of_memory(error) or isinstance(error, ModelFaultError):
                raise
            refused[name] = said(error)
            continue
        if asked.method == "auto":
            why = "; ".join(_reason(refused, one, asked) for one in candidates[:i])
            log.info("method %s: %s", label, why or f"{host.config.model_type} is a known family")
        yield name, method


def _reason(refused: dict[str, str], label: str, asked: Asked) -> str:
    return refused[label] if label in refused else refused[asked.name(label)]


def _unserved(
    host: Host, request: Request, asked: Asked, refused: dict[str, str]
) -> NotImplementedError:
    candidates = asked.candidates(host.task, request)
    reasons = {label: _reason(refused, label, asked) for label in candidates}
    name = type(host.model).__name__
    if asked.method == "auto":
        said_of_each = "; ".join(f"{label}: {reason}" for label, reason in reasons.items())
        return NotImplementedError(f"no method serves this {name}. {said_of_each}")
    reason = next(iter(reasons.values()))
    names = dict.fromkeys(_name(label) for label in _SERVING[asked.kind, host.task])
    others = " or ".join(repr(name) for name in names if name != asked.method)
    advice = f". Use method={others} (or 'auto')" if others else ""
    return NotImplementedError(
        f"method={asked.method!r} does not serve this {name}: {reason}{advice}"
    )


def _name(label: str) -> str:
    """What users call the method."""
    return label.partition(",")[0]
