"""Let a model run with shifted neurons, in the hands of its user."""

from __future__ import annotations

from contextlib import AbstractContextManager

from negkernel.answers import edited
from negkernel.face.model import ModelFace
from negkernel.model.exclusive import guarded
from negkernel.request.neurons import Intervention


class EditFace(ModelFace):
    """What of :class:`negkernel.Engine` changes the model's own calls."""

    @guarded
    def edited(
        self, intervention: Intervention, position: str = "generated"
    ) -> AbstractContextManager[None]:
        """Shift neurons in every call of the model within a ``with`` block.

        ``with engine.edited(shift): engine.model.generate(**inputs)`` generates with the shift, in
        batches, with padding, with a cache or without one. Afterwards the model is as it was.

        Parameters
        ----------
        intervention : Intervention
            Applied at each position on its own, to the activation as it stands there.
        position : {"generated", "prompt", "all"}
            Which tokens. "generated": those behind which a new one is generated, from the prompt's
            last on; the first new token then has the probabilities of :meth:`intervene`. "prompt":
            those of the prompt. "all": both. In a call outside ``generate`` the tokens are a
            prompt, or generated ones where a cache comes with them. Padding is left alone.

        Returns
        -------
        context manager
            Within it the model is in evaluation mode, and other questions are refused.

        Raises
        ------
        NotImplementedError
            The model cannot generate.
        ValueError, IndexError
            No such neurons or position, or the model is being edited already.
        """
        return edited.edited(self._host, intervention, position)
