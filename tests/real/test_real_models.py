"""The real models are what their packages say: they know what their trained selves know."""

import numpy as np
import pytest
import torch

ANTIBODY = (
    "EVQLVQSGPEVKKPGTSVKVSCKASGFTFMSSAVQWVRQARGQRLEWIGWIVIGSGNTNYAQKFQERVTITRDMSTSTAYMELSSLRSED"
    "TAVYYCAAPYCSSISCNDGFDIWGQGTMVTVS"
)


def test_smollm2_knows_the_capital_of_france(smollm2):
    found = smollm2.sweep(["The capital of France is"], ["Paris"], [[0, 0]], [1.0])
    assert np.exp(found.base_logprob[0]) == pytest.approx(0.7725, abs=1e-4)
    assert (smollm2.n_layers, smollm2.n_neurons, smollm2.site) == (30, 1536, "up")
    assert smollm2.model.dtype == torch.float32
    assert getattr(smollm2.model.config, "quantization_config", None) is None


def test_antiberty_fills_every_fifth_residue(antiberty):
    tokenizer, right = antiberty.tokenizer, []
    for i in range(5, len(ANTIBODY), 5):
        residues = [*ANTIBODY[:i], "[MASK]", *ANTIBODY[i + 1 :]]
        ids = tokenizer(" ".join(residues), return_tensors="pt").input_ids
        with torch.no_grad():
            logits = antiberty.model(ids).logits[0, i + 1]
        logits[tokenizer.all_special_ids] = -torch.inf
        right.append(tokenizer.decode(logits.argmax()) == ANTIBODY[i])
    assert len(right) >= 22
    assert all(right)
    assert antiberty.task == "masked"
