"""An adapter's folder: what is in it, whether it is whole, and whether it fits its base.

Knows: PEFT's LoRA files, by their headers (https://huggingface.co/docs/peft). Does not know: the
registry, how an adapter is loaded. Nothing here loads a weight or unpickles anything.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Invalid
from core.models import checkpoint, convert, safetensors_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FOLDER = "adapter"
"""Its place below the model's folder in the home."""
_PART = re.compile(r"^(?P<module>.+)\.lora_(?P<side>A|B)(\.[^.]+)?\.weight$")
_PREFIX = "base_model.model."
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """What the headers of an adapter's folder say."""

    rank: int
    alpha: float
    modules: tuple[str, ...]
    """The layers it changes, by the last part of their names: q_proj, v_proj ..."""
    layer_count: int
    """Weight matrices that it changes."""
    parameter_count: int
    weight_bytes: int
    plain: bool
    """LoRA pairs alone. Else (DoRA, whole layers, embeddings) it can only be merged."""
    trained_on: str | None
    """What it says it was trained on, a path or hub id: for people, not trusted."""

    @property
    def details(self) -> dict[str, Any]:
        """What the registry keeps of it."""
        return {
            "adapter_rank": self.rank,
            "adapter_alpha": self.alpha,
            "adapter_modules": list(self.modules),
            "adapter_parameter_count": self.parameter_count,
            "adapter_bytes": self.weight_bytes,
            "adapter_plain": self.plain,
        }


def read(folder: Path, base: Path) -> Adapter:
    """Inspect an adapter for the base in the folder `base`; Invalid says what does not fit."""
    config = _config(folder)
    weights = folder / WEIGHTS
    refuse_pickles(folder)
    if not weights.is_file():
        raise Invalid(
            f"{folder.name} has no {WEIGHTS}: it is not a whole adapter.", field="location",
            hint="Copy the whole folder that PEFT's save_pretrained wrote.",
        )  # fmt: skip
    tensors = safetensors_file.tensors(weights)
    pairs, others = _parts(tensors)
    _check_pairs(pairs, _rank(config), config)
    _check_fit(pairs, others, _base_shapes(base), base)
    return Adapter(
        rank=_rank(config),
        alpha=float(config.get("lora_alpha") or _rank(config)),
        modules=tuple(sorted({module.rpartition(".")[2] for module in pairs})),
        layer_count=len(pairs),
        parameter_count=sum(tensor.element_count for tensor in tensors),
        weight_bytes=sum(tensor.size_bytes for tensor in tensors),
        plain=not others and not config.get("use_dora"),
        trained_on=str(config["base_model_name_or_path"])
        if config.get("base_model_name_or_path")
        else None,
    )


def copy(folder: Path, target: Path) -> None:
    """Copy an adapter's folder, synced and renamed at the end: whole or not there."""
    with convert.appearing(target) as partial:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
                raise Invalid(f"{path.name} is a link out of the folder.", field="location")
            place = partial / path.relative_to(folder)
            if path.is_dir():
                place.mkdir(exist_ok=True)
            elif path.is_file():
                shutil.copyfile(path, place)


def refuse_pickles(folder: Path) -> None:
    """Raise Invalid that names the first pickle in the folder, however deep."""
    found = sorted(p.name for p in folder.rglob("*") if p.suffix in checkpoint.PICKLES)
    if found:
        raise Invalid(
            f"{found[0]} is a pickle: loading it would run whatever code it holds.",
            title="Pickled weights are refused",
            field="location",
            hint=f"Give a folder without it that has {WEIGHTS}; PEFT writes that by default.",
        )


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise Invalid(
            f"{folder} is not a folder on this machine.", field="location",
            hint=f"Give the folder that holds {CONFIG} and {WEIGHTS}.",
        )  # fmt: skip
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Invalid(
            f"{folder.name} has no {CONFIG}: it is not an adapter.", field="location",
            hint="A whole model is added as a folder of safetensors.",
        ) from None  # fmt: skip
    except (ValueError, OSError):
        raise Invalid(f"{CONFIG} is not JSON.", field="location") from None
    if not isinstance(config, dict):
        raise Invalid(f"{CONFIG} is not a JSON object.", field="location")
    kind = config.get("peft_type")
    if kind != "LORA":
        raise Invalid(
            f"This is a {kind or 'nameless'} adapter; LoRA adapters can be loaded.",
            field="location",
        )
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise Invalid(
            f"The adapter is for {config['task_type']}, not for a chat model.", field="location"
        )
    if config.get("alora_invocation_tokens"):
        raise Invalid(
            "The adapter works only after certain tokens (aLoRA): it cannot be loaded here.",
            field="location",
        )
    return config


def _rank(config: dict[str, Any]) -> int:
    rank = config.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise Invalid(
            f"The adapter's rank is {rank!r}: it must be a whole number of at least 1.",
            field="location",
        )
    return rank


def _parts(
    tensors: list[safetensors_file.Tensor],
) -> tuple[dict[str, Shapes], Shapes]:
    """LoRA pairs, {module: {"A": shape, "B": shape}}, and the shapes of everything else."""
    pairs: dict[str, Shapes] = {}
    others: Shapes = {}
    for tensor in tensors:
        name = tensor.name.removeprefix(_PREFIX)
        found = _PART.match(name)
        if found is None:
            others[name] = tensor.shape
        else:
            pairs.setdefault(found["module"], {})[found["side"]] = tensor.shape
    return pairs, others


def _check_pairs(pairs: dict[str, Shapes], rank: int, config: dict[str, Any]) -> None:
    if not pairs:
        raise Invalid(f"{WEIGHTS} holds no LoRA weights.", field="location")
    for module, sides in sorted(pairs.items()):
        missing = {"A", "B"} - set(sides)
        if missing:
            raise Invalid(
                f"{module} has no lora_{missing.pop()}: the adapter is not whole.",
                field="location", hint="Copy the whole folder again.",
            )  # fmt: skip
        a, b = sides["A"], sides["B"]
        fits = len(a) == len(b) == 2 and a[0] == b[1]
        if not fits or (a[0] != rank and not config.get("rank_pattern")):
            raise Invalid(
                f"{module}: lora_A is {_words(a)} and lora_B {_words(b)}; {CONFIG} says rank "
                f"{rank}.",
                field="location",
            )
    asked = config.get("target_modules")
    if isinstance(asked, list):
        there = {name.rpartition(".")[2] for name in pairs} | set(pairs)
        lacking = sorted(str(name) for name in asked if not _named(str(name), there))
        if lacking:
            raise Invalid(
                f"{CONFIG} names the layers {', '.join(lacking)}, {WEIGHTS} has none of them: the "
                "adapter is not whole.",
                field="location",
            )


def _named(name: str, there: set[str]) -> bool:
    return name in there or any(module.endswith(f".{name}") for module in there)


def _base_shapes(base: Path) -> Shapes:
    files = checkpoint.weight_files(base)
    return {
        tensor.name: tensor.shape for path in files for tensor in safetensors_file.tensors(path)
    }


def _check_fit(pairs: dict[str, Shapes], others: Shapes, shapes: Shapes, base: Path) -> None:
    for module, sides in sorted(pairs.items()):
        shape = _shape_of(module, shapes)
        if shape is None:
            raise Invalid(
                f"The adapter changes {module}, which the base does not have.",
                title="The adapter does not fit this base",
                field="base",
                hint="It was trained on another model: name that one as the base.",
            )
        wide, high = sides["A"][1], sides["B"][0]
        if shape not in ((high, wide), (wide, high)):  # GPT-2 keeps its weights the other way
            raise Invalid(
                f"{module} of the base is {_words(shape)}, the adapter is for "
                f"{_words((high, wide))}.",
                title="The adapter does not fit this base",
                field="base",
                hint="It was trained on a model of another size: name that one as the base.",
            )
    for name, adapted in sorted(others.items()):
        if "lora_" in name:  # magnitudes of DoRA, biases, embeddings: PEFT checks them
            continue
        shape = shapes.get(name) or _shape_of(name.removesuffix(".weight"), shapes)
        if shape != adapted:
            has = f"{_words(shape)} in the base" if shape else "not in the base"
            raise Invalid(
                f"The adapter replaces {name}, {_words(adapted)}, which is {has}.",
                title="The adapter does not fit this base", field="base",
            )  # fmt: skip


def _shape_of(module: str, shapes: Shapes) -> tuple[int, ...] | None:
    """The weight's shape by the module's name, or without its first part, as GPT-2's files have
    it; an output layer may be the embedding.
    """
    names = [module, module.partition(".")[2]]
    if module.endswith(("lm_head", "embed_out")):
        names += ["model.embed_tokens", "transformer.wte", "wte"]
    found = (shapes.get(f"{name}.weight") for name in names)
    return next((shape for shape in found if shape is not None), None)


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
