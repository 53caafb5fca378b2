"""Skill-neuron probes, classifiers that read a label off single neurons, for scikit-learn.

========================  =====================================================  ================
estimator                 reads                                                  X
========================  =====================================================  ================
:class:`PolarProbe`       the sign of each label's gradient                      [Q, K, N], packed
:class:`MagnProbe`        which label's gradient is the largest or smallest      [Q, K, N], packed
:class:`TreeProbe`        the arg-max labels, through a random forest            [Q, N]
:class:`ActProbe`         activations above their mean                           [Q, N]
:class:`LMProbProbe`      the model's own label probabilities                    [Q, K]
:class:`RandomProbe`      nothing: the chance level                              [Q, ...]
========================  =====================================================  ================

Q prompts, K labels, N neurons of all layers in one flat axis (that of ``engine.neurons``).
"Packed" is :class:`neurgrad.features.PackedScores` or a store that yields blocks of it. Every probe
also takes :class:`negkernel.Gradients` of K labels a prompt, and reads off them what it needs.
"""

from negkernel.extras import need

need("sklearn", "probes", "a probe")

from neurgrad.probes.activation import ActProbe
from neurgrad.probes.baselines import LMProbProbe, RandomProbe
from neurgrad.probes.magn import MagnProbe
from neurgrad.probes.polar import PolarProbe
from neurgrad.probes.tree import TreeProbe, tree_features

__all__ = [
    "ActProbe",
    "LMProbProbe",
    "MagnProbe",
    "PolarProbe",
    "RandomProbe",
    "TreeProbe",
    "tree_features",
]
