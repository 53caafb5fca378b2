"""Find the Hugging Face model inside the objects that libraries wrap around one."""

from __future__ import annotations

from typing import Any


def adapt(model: Any) -> Any:
    """Return the model whose own forward a wrapper runs.

    That of ``torch.compile``, of torch's data parallelism and of PEFT's layers (LoRA and its kin,
    LN tuning), which are then modules of the model.

    Raises
    ------
    NotImplementedError
        A wrapper that computes something of its own, such as PEFT's virtual tokens.
    """
    while True:
        kind = type(model)
        if kind.__module__.startswith("torch._dynamo") and hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif kind.__module__.startswith("torch.nn.parallel") and hasattr(model, "module"):
            model = model.module
        elif kind.__module__.startswith("peft.") and hasattr(model, "get_base_model"):
            config = getattr(model, "active_peft_config", None)
            if config is None or config.is_prompt_learning or config.peft_type == "XLORA":
                how = "several adapters" if config is None else config.peft_type.value
                raise NotImplementedError(
                    f"{kind.__name__} with {how} computes more than the model inside it, such as "
                    "virtual tokens before a prompt; pass its get_base_model() to ask about that "
                    "model alone"
                )
            model = model.get_base_model()
        else:
            return model
