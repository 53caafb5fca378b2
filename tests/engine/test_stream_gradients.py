"""Layers handed out one at a time hold what `Engine.gradients` puts together."""

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine


@pytest.mark.parametrize("method", ["delta", "full"])
def test_every_prompt_and_layer_comes_once(method, prompts, targets):
    # Hardly any memory: the prompts come in several groups.
    engine = Engine(build("qwen2"), memory_budget=1 << 19)
    whole = engine.gradients(prompts, targets, site="up", method=method)
    seen = np.zeros((len(prompts), engine.n_layers), int)
    groups = set()
    for part in engine.stream_gradients(prompts, targets, site="up", method=method):
        seen[part.prompts, part.layer] += 1
        groups.add(part.prompts.start)
        assert isinstance(part.cg, torch.Tensor)
        np.testing.assert_array_equal(part.cg, whole.cg[part.prompts, :, part.layer])
        np.testing.assert_array_equal(part.activation, whole.activation[part.prompts, part.layer])
        np.testing.assert_array_equal(part.prob, whole.prob[part.prompts])
    assert (seen == 1).all()
    assert len(groups) > 1


def test_bad_input_is_refused_at_the_call(prompts, targets):
    engine = Engine(build("llama"))
    with pytest.raises(ValueError, match="site"):
        engine.stream_gradients(prompts, targets, site="middle")
    with pytest.raises(ValueError, match="method"):
        engine.stream_gradients(prompts, targets, method="quick")
