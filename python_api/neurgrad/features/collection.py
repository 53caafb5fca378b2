"""Collect the gradient features of a task's prompts: streamed, checked and resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from negkernel.model.environment import computing_as, environment
from negkernel.results.files import Writer
from negkernel.results.ledger import at_work
from negkernel.results.manifest import Manifest
from neurgrad.features.askable import check_labels, check_length
from neurgrad.features.batches import batch_size, stream
from neurgrad.features.identity import identity
from neurgrad.features.packed import code_dtype
from neurgrad.features.shards import save_shard
from neurgrad.features.store import KIND, FeatureStore, shard_name
from neurgrad.mceval8k import Prompt, Prompts, load, prompts

if TYPE_CHECKING:
    from negkernel import Engine

SplitName = Literal["train", "valid", "test"]


def collect(
    engine: Engine,
    task: str | Prompts,
    split: SplitName,
    folder: str | Path,
    *,
    limit: int | None = None,
    activations: bool = False,
    site: str = "paper",
    splits: Literal["clean", "published"] = "clean",
    root: str | Path | None = None,
    report: Callable[[int], object] | None = None,
    **writing: Any,
) -> FeatureStore:
    """Collect the features of one split of a task.

    Parameters
    ----------
    task : str or Prompts
        A task's name, whose prompts are then loaded and written with ``splits``, ``root`` and the
        options of :func:`neurgrad.mceval8k.prompts` (``shots``, ``context``, ...); or prompts.
    split : {"train", "valid", "test"}
    folder : path
        Where to keep them; what an interrupted collection left there is taken up again.
    limit : int, optional
        Only the first so many prompts, of a split in drawn order.
    activations : bool
        Whether to keep the activations too, 4 bytes each.
    site : str
        Which tensor a neuron is, as in :meth:`negkernel.Engine.gradients`.
    report : callable, optional
        Called with the number of prompts of each batch once it is kept.

    Returns
    -------
    FeatureStore

    Raises
    ------
    ValueError
        As :func:`collect_prompts`, or an unknown task.
    """
    if isinstance(task, str):
        task = task_prompts(task, splits, root, **writing)
    chosen = getattr(task, split)[:limit]
    return collect_prompts(
        engine, chosen, folder, activations=activations, site=site, report=report
    )


def task_prompts(
    task: str,
    splits: Literal["clean", "published"] = "clean",
    root: str | Path | None = None,
    **writing: Any,
) -> Prompts:
    """Load a task and write its prompts, in an order whose first ones are a sample of all.

    Parameters
    ----------
    task, splits, root, **writing
        As in :func:`collect`.
    """
    asked = prompts(load(task, splits, root), **writing)
    if splits == "clean":
        return asked
    # The published files are sorted by label.
    train, valid, test = (_shuffled(part) for part in (asked.train, asked.valid, asked.test))
    return replace(asked, train=train, valid=valid, test=test)


def _shuffled(prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
    return tuple(prompts[i] for i in np.random.default_rng(0).permutation(len(prompts)))


def collect_prompts(
    engine: Engine,
    prompts: Sequence[Prompt],
    folder: str | Path,
    *,
    activations: bool = False,
    site: str = "paper",
    report: Callable[[int], object] | None = None,
) -> FeatureStore:
    """Collect the features of a list of prompts into a folder.

    The process may be killed at any moment, and the same call then computes what is missing;
    several processes that are given the same prompts and folder share the work.

    Raises
    ------
    ValueError
        No prompts, labels that the tokenizer splits, a prompt that is too long for the model, or a
        folder that holds the features of another model, other prompts or another site.
    """
    if not prompts:
        raise ValueError("no prompts to collect features of; expected at least one")
    check_labels(engine, prompts)
    check_length(engine, prompts)
    folder = Path(folder)
    asked = identity(engine, prompts, site=site, activations=activations)
    code_dtype(asked["n_labels"])
    step = batch_size(asked["n_labels"], sum(asked["widths"]))
    batches = {
        shard_name(rows): rows
        for start in range(0, len(prompts), step)
        for rows in [slice(start, min(start + step, len(prompts)))]
    }
    gold = np.array([prompt.gold for prompt in prompts])

    def compute(name: str) -> dict[str, Writer]:
        rows = batches[name]
        some = stream(
            engine, prompts[: rows.stop], site=site, first=rows.start, activations=activations
        )
        return {".safetensors": partial(save_shard, features=next(some), gold=gold[rows])}

    wanted = Manifest.of(KIND, asked, environment(engine), list(batches))
    with (
        at_work(folder, wanted) as ledger,
        computing_as(engine, ledger.manifest.environment),
    ):
        for name in ledger.share(batches, compute):
            if report is not None:
                report(batches[name].stop - batches[name].start)
    return FeatureStore(folder)
