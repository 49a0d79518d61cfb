"""The base model, its tokenizer and the adapter that is trained.

Knows: devices, dtypes, quantization, LoRA. Does not know: rows, the training loop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from .params import Params


def world() -> tuple[int, int, int]:
    """(processes, this one's rank, its rank on this machine) as torchrun told it."""
    read = os.environ.get
    return int(read("WORLD_SIZE", "1")), int(read("RANK", "0")), int(read("LOCAL_RANK", "0"))


def device() -> str:
    """ "cuda" where there is one, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype(on: str) -> torch.dtype:
    """bf16 on GPUs that compute it; fp32 on a CPU, where bf16 is 60 to 90 times slower."""
    return torch.bfloat16 if on == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a folder, padding on the right with a token that is not the answer's end."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_base(folder: str | Path, params: Params) -> Any:
    """The frozen base model: as it is, int8 or NF4 with double quantization (QLoRA).

    arXiv:2305.14314 for NF4, arXiv:2208.07339 for int8.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    on, number = device(), dtype(device())
    asked: dict[str, Any] = {}
    if params.quantization != "none":
        from transformers import BitsAndBytesConfig

        if params.quantization == "nf4":
            asked["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=number,
            )
        else:
            asked["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
        asked["device_map"] = {"": f"cuda:{world()[2]}" if on == "cuda" else "cpu"}
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        dtype=number,
        attn_implementation="sdpa",  # takes the masks that keep packed rows apart
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        **asked,
    )
    model.config.use_cache = False
    if on == "cpu":
        _keep_unpacked(model)
    return model


def _keep_unpacked(model: Any) -> None:
    """Keep 4-bit layers as they are at an evaluation on a CPU with AVX512-BF16.

    bitsandbytes 0.50 packs them there for inference, for good: after the first evaluation no layer
    below one gets a gradient any more.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def add_adapter(model: Any, params: Params, start_from: str | None) -> Any:
    """The model with a fresh LoRA adapter, or with the one of a folder to train on.

    "auto" is every linear layer of the decoder, the head left out. arXiv:2106.09685.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    torch.manual_seed(params.seed)  # the adapter's first weights are drawn
    if start_from:
        adapted = PeftModel.from_pretrained(
            model, start_from, is_trainable=True, local_files_only=True
        )
    else:
        names = linear_names(model)
        if params.target_modules.strip().lower() not in ("", "auto"):
            names = [name.strip() for name in params.target_modules.split(",") if name.strip()]
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=params.rank,
                lora_alpha=params.alpha,
                lora_dropout=params.dropout,
                target_modules=names,
                task_type="CAUSAL_LM",
            ),
        )
    return adapted


def linear_names(model: Any) -> list[str]:
    """The names that the linear layers of the decoder have in every block, without the head.

    PEFT's "all-linear" finds the same layers and lists each with its whole path; short names are
    what other engines read more easily.
    """
    head = model.get_output_embeddings()
    found = {
        name.rpartition(".")[2]
        for name, layer in model.named_modules()
        if (isinstance(layer, torch.nn.Linear) or type(layer).__name__ == "Conv1D")
        and layer is not head
    }
    if not found:
        raise ValueError("The model has no linear layers that an adapter could be put on.")
    return sorted(found)


def counts(model: Any) -> tuple[int, int]:
    """(parameters that are trained, all of them), 4-bit weights counted as what they stand for."""
    trained, every = model.get_nb_trainable_parameters()
    return int(trained), int(every)
