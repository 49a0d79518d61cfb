"""How a quantization's name becomes arguments for `from_pretrained`.

Knows: bitsandbytes and dtypes. Does not know: which of them a model offers (`quantization`).
"""

from __future__ import annotations

from typing import Any

import torch

from core.errors import Invalid


def load_arguments(quantization: str, device: str) -> dict[str, Any]:
    """dtype, device_map and quantization_config for a quantization on a device.

    On a CPU everything that is computed is fp32: bf16 products are tens of times slower there
    without bf16 units. `bf16` itself is taken at its word.
    """
    gpu = device != "cpu"
    half = torch.bfloat16 if gpu else torch.float32
    arguments: dict[str, Any] = {"device_map": {"": device}}
    if quantization == "fp32":
        return {**arguments, "dtype": torch.float32}
    if quantization == "bf16":
        return {**arguments, "dtype": torch.bfloat16}
    if quantization == "int8":
        return {**arguments, "dtype": half, "quantization_config": _int8()}
    if quantization in ("nf4", "nf4-dq"):
        config = _nf4(half, double=quantization == "nf4-dq")
        return {**arguments, "dtype": half, "quantization_config": config}
    raise Invalid(
        f"The transformers engine has no quantization {quantization!r}.", field="quantization"
    )


def _int8() -> Any:
    from transformers import BitsAndBytesConfig

    # threshold 0: outlier columns are not split off, which doubles the speed (see DECISIONS)
    return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)


def _nf4(compute: torch.dtype, *, double: bool) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_use_double_quant=double,
    )
