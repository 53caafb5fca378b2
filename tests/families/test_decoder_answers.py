"""Answers of several tokens, for every family: delta and suffix against whole forwards."""

from __future__ import annotations

import numpy as np
import pytest
from decoder_cases import CASES, build
from test_decoder_positions import EVERY
from test_decoders import BUDGET, LONG, sites_of

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

# Prompts of other lengths and with shared beginnings; answers of one to three tokens, one of them
# the beginning of another.
PROMPTS = [LONG[:6], [*LONG[:6], 9], [3], LONG[:19]]
TARGETS = [[[7, 11, 5], [7]], [[60, 2, 33], [1, 80, 4]], [[5, 5, 5], [8, 3]], [[9], [40, 41, 42]]]
NEURONS = np.array([[2, 7], [0, 1], [3, 43]])
SHIFTS = np.array([-30.0, 0.1, 2.0])
SEVERAL = {"target_tokens": "all"}


def close(found, truth, *fields, what=""):
    for field in fields:
        expected = getattr(truth, field)
        largest = np.nanmax(np.abs(expected))
        ours = getattr(found, field)
        assert (np.isnan(ours) == np.isnan(expected)).all()
        both = (np.nan_to_num(x) for x in (ours, expected))
        assert_close(*both, budget=BUDGET, relative_to=largest, what=f"{field} {what}")


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_sweep_and_interventions(model_type, name):
    engine = Engine(build(model_type, CASES[model_type][name]))
    site = sites_of(engine)[list(CASES).index(model_type) % len(sites_of(engine))]
    several = [Intervention([[0, 3], [2, 5], [3, 1]], [1.0, -2.0, 3.0], axis="value", site=site)]
    with exact_float64(engine.model):
        # Of every family one of the two: the positions are what attention is tested with elsewhere.
        for position in ("all",) if list(CASES).index(model_type) % 2 else (None,):
            options = {"position": position, **SEVERAL}
            truth, ours = (
                engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, site=site, method=method, **options)
                for method in ("full", "delta")
            )
            fields = "logprob_shift", "base_logprob", "token_logprob_shift", "base_token_logprob"
            close(ours, truth, *fields, "activation", what=f"at {position}")
            summed = np.nansum(ours.token_logprob_shift, -1)
            assert_close(summed, ours.logprob_shift, budget=1e-14)
            truth, ours = (
                engine.intervene(PROMPTS, TARGETS, several, method=method, **options)
                for method in ("full", "delta")
            )
            close(ours, truth, *fields, what=f"at {position}")


@pytest.mark.parametrize(("model_type", "name"), EVERY)
def test_gradients(model_type, name):
    engine = Engine(build(model_type, CASES[model_type][name]))
    site = sites_of(engine)[list(CASES).index(model_type) % len(sites_of(engine))]
    with exact_float64(engine.model):
        for log, position in ((True, 0), (False, None), (False, "all")):
            if (
                position != (None, "all")[list(CASES).index(model_type) % 2]
                and model_type != "llama"
            ):
                continue
            truth, ours = (
                engine.gradients(
                    PROMPTS,
                    TARGETS,
                    site=site,
                    method=method,
                    log=log,
                    position=position,
                    **SEVERAL,
                )
                for method in ("full", "delta")
            )
            close(ours, truth, "cg", "prob", "activation", what=f"at {position}")


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gemma2", "mistral", "gpt_neo", "phi3"])
def test_suffix(model_type):
    """Packed in one sequence, with windows shorter than an answer, or with a copied cache."""
    if model_type not in CASES:
        pytest.skip(f"there is no case of {model_type}")
    for name in list(CASES[model_type])[:3]:
        engine = Engine(build(model_type, CASES[model_type][name]))
        with exact_float64(engine.model):
            truth, ours = (
                engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method=method, **SEVERAL)
                for method in ("full", "suffix")
            )
        assert ours.method == "suffix"
        close(ours, truth, "logprob_shift", "base_logprob", what=name)
