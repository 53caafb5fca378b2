"""Run scripts written for the paper's public code: the same class, on the engine.

``from NeurGrad.neurgrad import NeurGrad`` becomes ``from neurgrad.compat import NeurGrad``, and
``from NeurGrad import initialize_model_and_tokenizer, get_model_type`` likewise. Arguments, shapes
and values are those of that code, with these exceptions:

==============================  ================================================================
there                           here
==============================  ================================================================
gradients of a batch are the    each prompt's own, with a warning
sum over the batch's labels
integrated gradients call a     layer by layer from 0, the average of ``steps`` points, times the
function that does not exist    activation; with a warning
interventions on several        work
prompts, ``change_ratio``, no
negative neurons: fail
Qwen and BERT labels: fail      encoded alone, one token
too few neurons to sample:      ValueError
wrong ones are drawn
every forward keeps a graph,    none does
a model left patched after an
error
sizes of some models are wrong  those of their configurations
==============================  ================================================================
"""

from neurgrad.compat.loading import get_model_type, initialize_model_and_tokenizer
from neurgrad.compat.neurgrad import NeurGrad
from neurgrad.compat.sizes import INTERMIDIATE_SIZE, MODEL_LAYERS

__all__ = [
    "INTERMIDIATE_SIZE",
    "MODEL_LAYERS",
    "NeurGrad",
    "get_model_type",
    "initialize_model_and_tokenizer",
]
