"""Can the gradients of neurons tell skills apart? The paper's section 6 for any model and task.

============ ======================================================================
gather       features of a task's splits, collected where they are missing
accuracy     every probe and baseline (Tables 3, 4, 8, 9)
efficiency   accuracy against neurons and against training prompts (Fig. 6)
robustness   neurons of one context used in another (Fig. 7)
substitution windows of 64 lower-ranked neurons (Fig. 8)
forests      trees and depth (Fig. 9), one tree drawn (Fig. 15)
signs        opposite signs of two labels, few-shot against zero-shot magnitude
light        accuracies without keeping features
study        what these share: a model, tasks and their features
artefacts    the tables and figures by name
cautions     what makes an accuracy mean less than it seems to
============ ======================================================================
"""

from neurgrad.analysis.skills.artefacts import ARTEFACTS
from neurgrad.analysis.skills.gather import Part, TaskFeatures, gather
from neurgrad.analysis.skills.study import TaskStudy

__all__ = ["ARTEFACTS", "Part", "TaskFeatures", "TaskStudy", "gather"]
