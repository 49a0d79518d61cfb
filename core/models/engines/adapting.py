"""A LoRA adapter over a loaded model: merged into full weights, or beside quantized ones.

Knows: PEFT. Does not know: batching, the registry. LoRA: Hu et al., 2021; beside 4-bit weights:
QLoRA, Dettmers et al., 2023.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from core.errors import Invalid


class AdaptedLinear(torch.nn.Module):  # type: ignore[misc]
    """A layer with a LoRA pair beside it: `layer(rows) + up(down(rows)) * scale`."""

    def __init__(self, layer: Any, down: Any, up: Any, scale: float) -> None:
        super().__init__()
        self.layer, self.down, self.up, self.scale = layer, down, up, scale

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """What PEFT's layer gives without dropout."""
        out: torch.Tensor = self.layer(rows)
        return out + self.up(self.down(rows)).mul_(self.scale).to(out.dtype)


def twin(module: Any) -> Any:
    """A module that can get other children without the first one's noticing.

    What has no children is shared: bitsandbytes lays a layer's weights out anew at its first use.
    """
    if not module._modules:
        return module
    made = copy.copy(module)
    made._modules = {
        name: None if child is None else twin(child) for name, child in module._modules.items()
    }
    return made


@torch.inference_mode()  # type: ignore[untyped-decorator]
def lay_over(model: Any, adapter_path: str, *, merge: bool) -> Any:
    """The model with the adapter: of its own class still, so that all that works goes on to.

    Merged, it is as large and as fast as the base. Raises Invalid for what cannot be beside.
    """
    from peft import PeftModel

    if merge:
        adapted = PeftModel.from_pretrained(model, adapter_path, is_trainable=False)
        return adapted.merge_and_unload(safe_merge=True)
    inner = _injected(model, adapter_path)
    for parent in list(inner.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "lora_A"):
                setattr(parent, name, _beside(child, model.dtype))
    return inner


def _injected(model: Any, adapter_path: str) -> Any:
    """The model with PEFT's layers and the adapter's weights in them.

    PEFT's own loading asks the model for its state, and bitsandbytes 0.50 then undoes the layout
    that its 4-bit layers got at their first use on a CPU, all but their scales: a base that has
    answered already would answer otherwise ever after.
    """
    from peft import PeftConfig, PeftModel
    from safetensors.torch import load_file

    config = PeftConfig.from_pretrained(adapter_path)
    config.inference_mode = True
    config.init_lora_weights = False
    adapted = PeftModel(model, config)
    wanted = load_file(Path(adapter_path) / "adapter_model.safetensors")
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            told = name.replace(f".{adapted.active_adapter}.", ".")
            if told not in wanted:
                raise Invalid(f"The adapter lacks {told}.", field="adapter_path")
            parameter.data.copy_(wanted[told])
    return adapted.get_base_model()


def _beside(layer: Any, dtype: torch.dtype) -> AdaptedLinear:
    (name,) = layer.active_adapters
    if layer.lora_variant or name not in layer.lora_A:
        raise Invalid(
            "The adapter is more than LoRA pairs: it can be merged into fp32 or bf16 only.",
            field="quantization",
        )
    down, up = layer.lora_A[name].to(dtype), layer.lora_B[name].to(dtype)
    return AdaptedLinear(layer.get_base_layer(), down, up, float(layer.scaling[name]))
