"""Measure the tables of a study: a function each, from the model to a row a prompt and neuron."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from neurgrad.analysis import enhancement, estimators, linearity, many_neurons, precision
from neurgrad.analysis.answered import random_neurons
from neurgrad.analysis.study import PromptStudy


def random(study: PromptStudy) -> pd.DataFrame:
    """NEG and linearity of random neurons of every prompt."""
    settings = study.settings
    n_prompts = len(study.known.prompts)
    return _measured(
        study, random_neurons(study.engine, n_prompts, settings.neurons, settings.seed)
    )


def strongest(study: PromptStudy) -> pd.DataFrame:
    """NEG and linearity of each prompt's neurons of largest ``|NeurGrad|``."""
    engine, prompts, targets = study.on
    n = min(study.settings.neurons, len(engine.neurons))
    return _measured(study, engine.gradients(prompts, targets, **study.settings.how).top(n)[0])


def every(study: PromptStudy) -> pd.DataFrame:
    """NEG and linearity of all neurons, for the first prompts."""
    few, settings = study.first(study.settings.map_prompts), study.settings
    engine, prompts, targets = few.on
    found = engine.neg_map(
        prompts, targets, radius=settings.radius, folder=study.maps, **settings.how
    )
    return found.to_frame()


TABLES: dict[str, Callable[[PromptStudy], pd.DataFrame]] = {
    "random": random,
    "estimates": estimators.estimates,
    "tops": estimators.tops,
    "seconds": estimators.seconds,
    "strongest": strongest,
    "ranges": linearity.ranges,
    "enhanced": enhancement.enhanced,
    "together": many_neurons.together,
    "steered": precision.steered,
    "every": every,
}


def _measured(study: PromptStudy, neurons: np.ndarray) -> pd.DataFrame:
    sweep = study.engine.sweep(
        *study.on[1:], neurons, study.settings.shifts, resolution="spectral", **study.settings.how
    )
    return sweep.to_frame()
