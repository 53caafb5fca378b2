"""Compute the tables and figures of any study and put them on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from negkernel.results.files import Writer, replace_file, write_text
from neurgrad.analysis.page import Section, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel.results.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One table or figure.

    Attributes
    ----------
    title : str
    compute : callable
        Study -> tidy frame.
    draw : callable
        Frame -> figure.
    also : list of str
        Other names of the paper for the same numbers.
    needs : list of str
        Tables that it is a summary of.
    keys, values : list of str
        Where clean and published splits stand beside each other: columns that name a row of the
        page, and those that it shows for each.
    light : bool
        Whether it can be had without keeping features.
    cited : mapping of str to DataFrame
        What the paper reports.
    """

    title: str
    compute: Callable[[Any], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]
    also: Sequence[str] = ()
    needs: Sequence[str] = ()
    keys: Sequence[str] = ()
    values: Sequence[str] = ()
    light: bool = False
    cited: Mapping[str, pd.DataFrame] = field(default_factory=dict)


class Study(Protocol):
    """What artefacts are computed from."""

    title: str

    def facts(self) -> Mapping[str, Any]:
        """Return what the page says of the study."""
        ...

    def remarks(self, frames: Mapping[str, pd.DataFrame]) -> Sequence[str]:
        """Return what the page says of the results."""
        ...

    def stated(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add to a frame at which site it was measured, and what else all its rows share."""
        ...


def chosen(
    names: Sequence[str], artefacts: Mapping[str, Artefact], *, apart: Sequence[str] = ()
) -> list[str]:
    """Resolve names, other names and "all" to keys of `artefacts`, each once, in their order.

    Parameters
    ----------
    apart : list of str
        What "all" leaves out.

    Raises
    ------
    ValueError
        A name that is none of these.
    """
    own = {other: name for name, artefact in artefacts.items() for other in artefact.also}
    own |= {name: name for name in artefacts}
    wanted = set()
    for name in names:
        if name != "all" and name not in own:
            close = get_close_matches(name, own, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            known = ", ".join(sorted(own))
            raise ValueError(f"{name!r} is not an artefact: {hint}expected all or one of {known}")
        wanted |= set(artefacts) - set(apart) if name == "all" else {own[name]}
    return [name for name in artefacts if name in wanted]


def produce(
    study: Study,
    artefacts: Mapping[str, Artefact],
    folder: Path,
    *,
    ledger: Ledger | None = None,
    advance: Callable[[str], object] = lambda name: None,
) -> Path:
    """Write ``NAME.csv`` and ``NAME.png`` of every artefact, and ``index.html``.

    Parameters
    ----------
    ledger : Ledger, optional
        Of `folder`: what is finished is not computed again.
    advance : callable
        Told the name of each artefact when it is there.

    Returns
    -------
    Path
        The page.
    """

    def compute(name: str) -> dict[str, Writer]:
        frame = study.stated(artefacts[name].compute(study))
        figure = artefacts[name].draw(frame)
        figure.suptitle(f"{artefacts[name].title}{_n(frame)}", fontsize="medium")
        return {
            ".csv": partial(frame.to_csv, index=False),
            ".png": partial(figure.savefig, dpi=150),
        }

    folder.mkdir(parents=True, exist_ok=True)
    if ledger is not None:
        for name in ledger.share(list(artefacts), compute):
            advance(name)
    else:
        for name in artefacts:
            for suffix, write in compute(name).items():
                replace_file(folder / f"{name}{suffix}", write)
            advance(name)
    frames = {name: pd.read_csv(folder / f"{name}.csv") for name in artefacts}
    sections = [
        Section(name, _title(name, one), _shown(frames[name], one), one.cited)
        for name, one in artefacts.items()
    ]
    page = folder / "index.html"
    text = render(study.title, study.facts(), study.remarks(frames), sections)
    replace_file(page, write_text(text))
    return page


def side_by_side(frame: pd.DataFrame, artefact: Artefact) -> pd.DataFrame:
    """Return the artefact's values with a column for each scheme of splits, in the frame's order.

    Where the schemes do not have the same rows (sizes, nodes of a tree) a cell stays empty.
    """
    keys, values = list(artefact.keys), list(artefact.values)
    wide = frame.pivot(index=keys, columns="splits", values=values)
    wide = wide.reindex(pd.MultiIndex.from_frame(frame[keys].drop_duplicates()))
    wide.columns = wide.columns.map(", ".join)
    return wide.reset_index()


def _shown(frame: pd.DataFrame, artefact: Artefact) -> pd.DataFrame:
    return side_by_side(frame, artefact) if artefact.keys else frame


def _title(name: str, artefact: Artefact) -> str:
    """Name an artefact with every table and figure of the paper that it is."""
    return f"{', '.join([name, *artefact.also])}: {artefact.title}"


def _n(frame: pd.DataFrame) -> str:
    """Say how many prompts, and neurons of each, a frame is of."""
    of = {"prompts": "prompts", "n_test": "test prompts"}
    numbers = frame.select_dtypes("number")
    said = [f"{numbers[name].max():,} {what}" for name, what in of.items() if name in numbers]
    if "prompts" in numbers and "neurons" in frame and frame["neurons"].nunique() == 1:
        said.append(f"{frame['neurons'].iloc[0]:,} neurons each")
    return f" (n = {', '.join(said)})" if said else ""
