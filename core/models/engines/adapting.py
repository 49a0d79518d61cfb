"""A LoRA adapter over a loaded model: merged into full weights, or beside quantized ones.

Knows: PEFT. Does not know: batching, the registry. LoRA: Hu et al., 2021; beside 4-bit weights:
QLoRA, Dettmers et al., 2023.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from core.errors import Invalid
from core.models.spec import WorkerSpec


class AdaptedLinear(torch.nn.Module):  # type: ignore[misc]
    """A layer with a LoRA pair beside it: `layer(rows) + up(down(rows)) * scale`."""

    def __init__(self, layer: Any, down: Any, up: Any, scale: float) -> None:
        super().__init__()
        self.layer, self.down, self.up, self.scale = layer, down, up, scale

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """What PEFT's layer gives without dropout."""
        out: torch.Tensor = self.layer(rows)
        return out + self.up(self.down(rows)).mul_(self.scale).to(out.dtype)


_offered: tuple[tuple[str | None, str, str], Any] | None = None


def offer(spec: WorkerSpec, model: Any) -> None:
    """Let adapters that are loaded in this process later share this base's quantized layers."""
    global _offered
    _offered = (_base_of(spec), model)


def shared_base(spec: WorkerSpec) -> Any | None:
    """The offered base of an adapter's spec, in modules of its own over the same weights."""
    if _offered is None or _offered[0] != _base_of(spec):
        return None
    return _twin(_offered[1])


def _base_of(spec: WorkerSpec) -> tuple[str | None, str, str]:
    return spec.path, spec.quantization, spec.device


def _twin(module: Any) -> Any:
    """A module that can get other children without the first one's noticing.

    What has no children is shared: bitsandbytes lays a layer's weights out anew at its first use.
    """
    if not module._modules:
        return module
    made = copy.copy(module)
    made._modules = {
        name: None if child is None else _twin(child) for name, child in module._modules.items()
    }
    return made


@torch.inference_mode()  # type: ignore[untyped-decorator]
def lay_over(model: Any, adapter_path: str, *, merge: bool) -> Any:
    """The model with the adapter: of its own class still, so that all that works goes on to.

    Merged, it is as large and as fast as the base. Raises Invalid for what cannot be beside.
    """
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(model, adapter_path, is_trainable=False)
    if merge:
        return adapted.merge_and_unload(safe_merge=True)
    inner = adapted.get_base_model()
    for parent in list(inner.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "lora_A"):
                setattr(parent, name, _beside(child, model.dtype))
    return inner


def _beside(layer: Any, dtype: torch.dtype) -> AdaptedLinear:
    (name,) = layer.active_adapters
    if layer.lora_variant or name not in layer.lora_A:
        raise Invalid(
            "The adapter is more than LoRA pairs: it can be merged into fp32 or bf16 only.",
            field="quantization",
        )
    down, up = layer.lora_A[name].to(dtype), layer.lora_B[name].to(dtype)
    return AdaptedLinear(layer.get_base_layer(), down, up, float(layer.scaling[name]))
