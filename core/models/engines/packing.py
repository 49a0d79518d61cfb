"""Linear layers with their weights laid out once for the CPU's matrix kernels.

Knows: oneDNN's packed layout, through the operators that torch's own compiler uses. Does not
know: models. The plain layer packs its weight anew in every product; on two cores the packed one
was 1.5 to 2.8 times as fast for 1 to 64 rows (see DECISIONS). fp32 in, fp32 out.
"""

from __future__ import annotations

from typing import Any

import torch

CLOSE = 1e-3


class PackedLinear(torch.nn.Module):  # type: ignore[misc]
    """A Linear for inference on the CPU; its weight can no longer be read or trained."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._packed: Any = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """`linear(rows)`, whatever the number of dimensions."""
        flat = rows.reshape(-1, self.in_features)
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            flat, self._packed, self._bias, "none", [], ""
        )
        return out.view(*rows.shape[:-1], self.out_features)


@torch.inference_mode()  # type: ignore[untyped-decorator]
def pack(model: torch.nn.Module) -> int:
    """Replace every plain fp32 Linear on the CPU by a packed one; how many were.

    None where this torch or this processor cannot: the first layer is tried and compared first.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and suits(child.weight)
    ]
    if not found or not _works(found[0][2]):
        return 0
    for parent, name, child in found:
        setattr(parent, name, PackedLinear(child))
    return len(found)


def suits(weight: torch.Tensor) -> bool:
    """True for what oneDNN's fp32 products take."""
    return bool(weight.device.type == "cpu" and weight.dtype == torch.float32)


def _works(linear: torch.nn.Linear) -> bool:
    if not has_kernels():
        return False
    rows = torch.randn(3, linear.in_features)
    try:
        packed = PackedLinear(linear)(rows)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    same: bool = torch.allclose(packed, linear(rows), atol=CLOSE, rtol=CLOSE)
    return same


def has_kernels() -> bool:
    """True where this torch and this processor have oneDNN."""
    found: Any = torch.backends.mkldnn
    return bool(found.is_available())
