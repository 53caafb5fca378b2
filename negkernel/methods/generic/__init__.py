"""Carry differences through a model's own modules: finite differences as a tensor type.

Automatic differentiation has a rule for each operation and needs to know no model. Finite
differences have such rules too, exact ones: ``f(x + d) - f(x)`` of a product, a norm, a softmax or
an activation in a form that never subtracts two nearly equal numbers. :class:`Carried` is a pair of
a base value and the differences of many rows; torch calls its rules in place of its operations, so
that any model of transformers runs on it as it is.

A rule is a function of :mod:`.arithmetic`, :mod:`.pointwise`, :mod:`.normalise`, :mod:`.attention`,
:mod:`.structure` or :mod:`.choices`, registered under the names that torch has for the operation.
"""

from __future__ import annotations

from negkernel.methods.generic import arithmetic as arithmetic
from negkernel.methods.generic import attention as attention
from negkernel.methods.generic import choices as choices
from negkernel.methods.generic import normalise as normalise
from negkernel.methods.generic import pointwise as pointwise
from negkernel.methods.generic import structure as structure
from negkernel.methods.generic.carrier import Carried as Carried
from negkernel.methods.generic.method import Generic as Generic
from negkernel.methods.generic.running import Run as Run
from negkernel.methods.generic.running import running as running
