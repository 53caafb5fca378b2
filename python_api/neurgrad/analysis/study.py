"""Hold what the artefacts of prompts share: a model, prompts, settings, measured tables.

A table has a row for each prompt and neuron (or shift, or estimator). It is measured when first
asked for, kept as Parquet, and everything that is published is a summary of tables: it can be
summarised anew without the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurgrad.analysis.intervals import DRAWS, LEVEL
from neurgrad.analysis.page import origin
from neurgrad.analysis.remarks import remarks

if TYPE_CHECKING:
    from negkernel import Engine
    from negkernel.results.files import Writer
    from negkernel.results.ledger import Ledger
    from neurgrad.facts import Known

ESTIMATORS = ("CG", "IG", "LPI", "NeurGrad")
GRID = 100  # shifts within the radius, zero left out: the paper's


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study is asked, beside the model and the prompts.

    Attributes
    ----------
    neurons : int
        Random neurons of each prompt.
    radius : float
        Shifts lie within ``[-radius, radius]``.
    site : str
        Which tensor a neuron is.
    estimators : list of str
        Of :data:`ESTIMATORS`; those that the model does not allow are left out.
    seed : int
        Of the random neurons.
    map_prompts, range_prompts : int
        Prompts of which every neuron is measured, and 1,000 neurons at long range.
    many_prompts : int, optional
        Prompts of which many neurons are enhanced together; by default all.
    target_prefix : str
        Between prompt and target.
    mask_index : int, optional
        Of a masked model.
    """

    neurons: int = 100
    radius: float = 2.0
    site: str = "paper"
    estimators: tuple[str, ...] = ESTIMATORS
    seed: int = 0
    map_prompts: int = 10
    range_prompts: int = 10
    many_prompts: int | None = None
    target_prefix: str = "auto"
    mask_index: int | None = None

    def __post_init__(self) -> None:
        if unknown := [name for name in self.estimators if name not in ESTIMATORS]:
            raise ValueError(
                f"{unknown[0]!r} is not an estimator; expected some of {', '.join(ESTIMATORS)}"
            )

    @property
    def shifts(self) -> np.ndarray:
        """The paper's grid within the radius."""
        return np.delete(np.linspace(-self.radius, self.radius, GRID + 1), GRID // 2)

    @property
    def how(self) -> dict[str, Any]:
        """What every question to the engine is asked with."""
        return {"site": self.site, **self.encoding}

    @property
    def encoding(self) -> dict[str, Any]:
        """How prompts and targets become tokens."""
        return {"target_prefix": self.target_prefix, "mask_index": self.mask_index}


@dataclass
class PromptStudy:
    """One model and its known prompts.

    Attributes
    ----------
    engine : negkernel.Engine
    known : Known
    settings : Settings
    ledger : Ledger, optional
        Keeps the tables.
    maps : path, optional
        Keeps portions of the map of every neuron.
    """

    engine: Engine
    known: Known
    settings: Settings = field(default_factory=Settings)
    ledger: Ledger | None = None
    maps: Path | None = None
    _measured: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def on(self) -> tuple[Engine, list[str], list[str]]:
        """Arguments that every question starts with."""
        return self.engine, self.known.prompts, self.known.targets

    title = "Neuron empirical gradients"

    def facts(self) -> dict[str, Any]:
        """Return what the page says of the study."""
        asked = ", ".join(f"{name} {value}" for name, value in asdict(self.settings).items())
        return {
            **origin(self.engine),
            "Prompts": str(self.known),
            "Settings": f"{asked}; shifts away from zero (magnitude axis)",
            "Intervals": f"{LEVEL:.0%}, by drawing prompts again ({DRAWS:,} draws)",
            "Tables": "tables/*.parquet: a row for each prompt and neuron",
        }

    def remarks(self, frames: Mapping[str, pd.DataFrame]) -> list[str]:
        """Return what the page says of the results."""
        return remarks(frames)

    def stated(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add at which site, along which axis and within which shifts a frame was measured."""
        site, radius = self.settings.site, self.settings.radius
        site = self.engine.site if site == "paper" else site
        said: dict[str, str | float] = {"site": site, "axis": "magnitude"}
        if not {"shift", "range"} & set(frame):  # which say by themselves how far
            said |= {"shift_low": -radius, "shift_high": radius}
        return frame.assign(**{name: value for name, value in said.items() if name not in frame})

    def first(self, n: int | None) -> PromptStudy:
        """The same with the first prompts only, and nothing measured."""
        few = type(self.known)(rows=self.known.rows[:n], asked=self.known.asked)
        return PromptStudy(self.engine, few, self.settings, None, self.maps)

    def table(self, name: str) -> pd.DataFrame:
        """What was measured: a table of :data:`neurgrad.analysis.tables.TABLES`."""
        from neurgrad.analysis.tables import TABLES

        if name not in self._measured:
            self._measured[name] = self._kept(name, TABLES)
        return self._measured[name]

    def _kept(
        self, name: str, tables: Mapping[str, Callable[[PromptStudy], pd.DataFrame]]
    ) -> pd.DataFrame:
        if self.ledger is None:
            return self.stated(tables[name](self))

        def measure(part: str) -> dict[str, Writer]:
            return {".parquet": partial(self.stated(tables[part](self)).to_parquet, index=False)}

        for _ in self.ledger.share([name], measure):
            pass
        return pd.read_parquet(self.ledger.path(name, ".parquet"))
