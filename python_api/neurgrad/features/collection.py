"""Collect the gradient features of a task's prompts: streamed, checked and resumable."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neurgrad.features.askable import check_labels, check_length
from neurgrad.features.batches import batch_size, stream
from neurgrad.features.identity import identity
from neurgrad.features.packed import code_dtype
from neurgrad.features.shards import save_shard
from neurgrad.features.store import FeatureStore, read_manifest, shard_name, write_manifest
from neurgrad.mceval8k import Prompt, Prompts, load, prompts
from neurgrad.runs.files import replace_file, sha256

if TYPE_CHECKING:
    from negkernel import Engine

log = logging.getLogger(__name__)

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

    A batch is written first and entered into the manifest after, each in one step: the process may
    be killed at any moment, and the same call then computes what is missing.

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
    folder.mkdir(parents=True, exist_ok=True)
    asked = identity(engine, prompts, site=site, activations=activations)
    code_dtype(asked["n_labels"])
    done = _take_up(folder, asked)
    write_manifest(folder, asked, done)
    step = batch_size(asked["n_labels"], sum(asked["widths"]))
    gold = np.array([prompt.gold for prompt in prompts])
    for start in range(0, len(prompts), step):
        rows = slice(start, min(start + step, len(prompts)))
        name = shard_name(rows)
        if name not in done:
            batch = next(
                stream(
                    engine, prompts[: rows.stop], site=site, first=start, activations=activations
                )
            )
            write = partial(save_shard, features=batch, gold=gold[rows])
            replace_file(folder / name, write)
            done[name] = sha256(folder / name)
            write_manifest(folder, asked, done)
        if report is not None:
            report(rows.stop - rows.start)
    return FeatureStore(folder)


def _take_up(folder: Path, asked: dict[str, Any]) -> dict[str, str]:
    """Checksums of the batches that an earlier run kept whole."""
    for half in folder.glob(".*.partial.*"):  # of a process that was killed while writing
        half.unlink(missing_ok=True)
    if not (folder / "manifest.json").exists():
        return {}
    manifest = read_manifest(folder)
    for name, value in manifest["identity"].items():
        if asked.get(name) != value:
            raise ValueError(
                f"{folder} holds features with {name} {value!r}, not {asked.get(name)!r}; choose "
                "another folder, or delete it to collect again"
            )
    done = {}
    for name, digest in manifest["shards"].items():
        path = folder / name
        if path.is_file() and sha256(path) == digest:
            done[name] = digest
        else:
            log.warning("%s is missing or was altered; it is computed again", path)
    return done
