"""Models that put tokens of their own around those of a prompt: right at its end, else refused."""

import numpy as np
import pytest
import torch

from bench.coverage import MaskTokenizer, verdict
from bench.tiny import build
from bench.tiny_fixed import FIXED
from negkernel import Engine

IDS, TARGET, SHIFTS = [11, 45, 5, 67, 90, 31], 17, [-2.0, 0.5, 3.0]
ADDED = 3


def extended(model_type, task, at_start):
    """A model whose forward adds three vectors to the prompt's and cuts their logits off again."""
    model = build(model_type, task, FIXED.get(model_type, {}))
    own = type(model)
    soft = torch.randn(1, ADDED, model.config.hidden_size, generator=torch.manual_seed(0))

    class Extended(own):
        def forward(self, input_ids=None, use_cache=None):
            tokens = self.get_input_embeddings()(input_ids)
            added = soft.expand(len(tokens), -1, -1)
            both = [added, tokens] if at_start else [tokens, added]
            out = own.forward(self, inputs_embeds=torch.cat(both, 1))
            out.logits = out.logits[:, ADDED:] if at_start else out.logits[:, :-ADDED]
            return out

    Extended.__name__ = own.__name__
    model.__class__ = Extended
    return model


def right(model, path, position):
    """Changes of log p by forwards with a hook on the down projection's input."""

    def logprob(amount):
        def hook(_, args):
            x = args[0].clone()
            x[0, position, 7] += amount * torch.sign(x[0, position, 7])
            return (x,)

        handle = model.get_submodule(path).register_forward_pre_hook(hook)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([IDS])).logits[0, position]
        handle.remove()
        return torch.log_softmax(logits.double(), -1)[TARGET].item()

    return np.array([logprob(amount) - logprob(0.0) for amount in SHIFTS])


CASES = [
    ("arcee", "causal", "model.layers.1.mlp.down_proj", 5),
    ("esm", "masked", "esm.encoder.layer.1.output.dense", 2),
]


@pytest.mark.parametrize(("model_type", "task", "path", "position"), CASES)
def test_tokens_at_the_end_are_passed_over(model_type, task, path, position):
    model = extended(model_type, task, at_start=False)
    engine = Engine(model, MaskTokenizer())
    found = engine.sweep([IDS], [TARGET], [(1, 7)], SHIFTS, site="post").logprob_shift[0, 0]
    expected = right(model, path, position)
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("model_type", "task", "path", "position"), CASES)
def test_tokens_at_the_start_are_refused(model_type, task, path, position):
    engine = Engine(extended(model_type, task, at_start=True), MaskTokenizer())
    with pytest.raises(NotImplementedError, match="tokens of its own before"):
        engine.sweep([IDS], [TARGET], [(1, 7)], SHIFTS, site="post")


@pytest.mark.parametrize("model_type", ["longformer", "big_bird"])
def test_models_that_pad_to_their_windows(model_type):
    assert verdict(model_type, "masked").outcome == "right"
