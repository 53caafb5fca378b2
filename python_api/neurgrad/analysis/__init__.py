"""The paper's analyses on any model: each returns a tidy frame, and draws it.

=====================  ============================================================  ==============
module                 question                                                      paper
=====================  ============================================================  ==============
``linearity``          how linear is a neuron over a range of shifts                 Fig. 2, Tab. 1
``estimators``         how well do CG, IG, LPI and NeurGrad tell NEG                 Tab. 2
``enhancement``        what do the top-K neurons of each estimator do                Figs. 3, 13
``contribution``       how much of the total |NEG| do the top neurons hold           Fig. 4
``many_neurons``       do gradients add up over 2^0..2^12 neurons                    Figs. 5, 14
``generality``         are linear neurons everywhere, in layers and prompts          Tab. 5
``distributions``      how are activations and NEG distributed                       Figs. 10-12
``directions``         how do an autoencoder's features compare with neurons         none
=====================  ============================================================  ==============

A :class:`~neurgrad.analysis.study.PromptStudy` measures tables (:mod:`neurgrad.analysis.tables`),
a row a prompt and neuron, and keeps them as Parquet; each module has functions that summarise a
table, with intervals over prompts, and ``draw`` their frames. :mod:`neurgrad.analysis.reproduce`
runs them all and writes tables, figures and a page.
"""

from neurgrad.analysis.answered import answered
from neurgrad.analysis.reproduce import ARTEFACTS, reproduce
from neurgrad.analysis.study import PromptStudy, Settings

__all__ = ["ARTEFACTS", "PromptStudy", "Settings", "answered", "reproduce"]
