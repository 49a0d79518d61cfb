"""GGUF to safetensors: once, so that transformers and bitsandbytes can load the model.

Knows: how. Does not know: the registry. `python -m core.models.convert GGUF OUT` does it in a
process of its own, one line `share message` a step: the weights pass through memory at fp32.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Invalid

VERSION = 1
"""Raise it when the output changes: caches key on it."""

Progress = Callable[[float, str], None]
"""(share done from 0 to 1, what is being done)"""


def gguf_to_safetensors(gguf: Path, out: Path, on_progress: Progress) -> None:
    """Write `out`, a folder that appears whole or not at all; raises Invalid when it cannot."""
    with appearing(out) as folder:
        convert_into(gguf, folder, on_progress)
        on_progress(0.95, "checking")
        from core.models import checkpoint

        checkpoint.read(folder)
    on_progress(1.0, "converted")


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A folder to fill, renamed to `target` at the end; a crash leaves no half `target`.

    When another process was faster, its folder stays and this one is dropped.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir()
    try:
        yield partial
        _sync(partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove what killed conversions left; call it only while none can be running."""
    for path in parent.glob(".*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def convert_into(gguf: Path, folder: Path, on_progress: Progress) -> None:
    """Fill a folder with config, tokenizer and fp32 weights; Invalid when it cannot be done."""
    on_progress(0.05, "reading the GGUF file")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        # GGUF weights are dequantised whole here; save_pretrained then refuses the model,
        # because its config still says GGUF, so a fresh one takes its weights over.
        loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
    except (ValueError, NotImplementedError, KeyError) as error:
        raise Invalid(
            f"transformers cannot convert {gguf.name}: {error}",
            title="This GGUF cannot be converted",
            hint="It can still be run by llama.cpp.",
        ) from error
    on_progress(0.6, "rebuilding the model")
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # No process has any use for random weights first: build on meta, then take over the tensors.
    with torch.device("meta"):
        fresh = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict(), strict=True, assign=True)
    fresh.tie_weights()
    fresh.generation_config.eos_token_id = config.eos_token_id
    fresh.generation_config.pad_token_id = (
        config.pad_token_id if config.pad_token_id is not None else config.eos_token_id
    )
    del loaded
    on_progress(0.7, "writing the tokenizer")
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    on_progress(0.85, "writing the weights")
    fresh.save_pretrained(folder, safe_serialization=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _main(gguf: str, out: str) -> int:
    def tell(share: float, message: str) -> None:
        print(f"{share:.2f} {message}", flush=True)  # noqa: T201

    try:
        gguf_to_safetensors(Path(gguf), Path(out), tell)
    except Invalid as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2]))
