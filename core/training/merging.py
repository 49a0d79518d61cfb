"""An adapter merged into its base: a folder of safetensors that plain transformers loads.

Knows: transformers and PEFT, inside a job's process. Does not know: the registry, GGUF.
The base is loaded as its files have it, never quantized: merging into quantized weights would
keep their rounding (QLoRA, Dettmers et al., 2023, merges the same way).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from core.errors import Invalid

PROBE_TOKENS = 16
"""Tokens whose scores are compared before and after."""
TOKENIZER_FILES = (
    "tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json",
    "chat_template*", "*.model", "LICENSE*",
)  # fmt: skip


def merge_into(base: Path, adapter: Path, folder: Path) -> float:
    """Fill `folder` with the merged weights and the base's tokenizer.

    Returns the largest difference of any score (logit) between the base with the adapter beside
    it, as PEFT computes it, and the merged model. Raises Invalid where the weights are no numbers.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype="auto", local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    adapted = PeftModel.from_pretrained(model, str(adapter), is_trainable=False).eval()
    with torch.inference_mode():
        before = _scores(adapted)
    try:
        merged = adapted.merge_and_unload(safe_merge=True).eval()
    except ValueError as error:
        raise Invalid(
            f"The adapter cannot be merged: {error}",
            hint="Its weights hold values that are no numbers: train it again.",
        ) from error
    with torch.inference_mode():
        difference = float((_scores(merged) - before).abs().max())
    merged.save_pretrained(folder, safe_serialization=True)
    for pattern in TOKENIZER_FILES:
        for path in base.glob(pattern):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    return difference


def _scores(model: Any) -> Any:
    import torch

    size = int(model.config.get_text_config().vocab_size)
    step = max(1, size // PROBE_TOKENS)
    ids = torch.arange(0, size, step)[:PROBE_TOKENS][None]
    return model(input_ids=ids).logits.float()
