"""Exports of an adapter: loaded by plain PEFT, transformers and llama.cpp; whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, Invalid
from core.generation import Generation
from core.models import gguf_file
from core.models.engines import Request
from core.models.engines.llamacpp import LlamaCppEngine
from core.models.spec import WorkerSpec
from core.settings import PROJECT_ROOT
from core.training import exports, gguf_write
from core.training.export_job import export
from tests.models.test_transformers_engine import Collected
from tests.models.tiny import save_tiny_adapter, save_tiny_model

CLOSE_SHARE = 1e-5
PROMPTS = ("fox dog", "the quick brown", "lazy über 🦊 2024", "jumps over\n\n  the dog's")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_adapter(tmp_path_factory.mktemp("adapter") / "adapter", base)


def asked(base: Path, adapter: Path, home: Path, kind: str, **more: Any) -> dict[str, Any]:
    model = {"id": "model_1", "name": "Tiny tuned!", "source": "adapter", "path": str(base),
             "adapter_path": str(adapter)}  # fmt: skip
    base_row = {"source": "directory", "location": str(base), "gguf_path": None}
    base_row.update(more.pop("base_row", {}))
    return exports.payload(home, model, base_row, kind, **more)


def made(payload: dict[str, Any]) -> dict[str, Any]:
    export(payload, lambda share, text: None)
    return exports.found(Path(payload["target"]))


def scores(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model.eval()(torch.arange(3, 60)[None]).logits


def plain_peft(base: Path, adapter: Path) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, adapter)


def test_the_adapter_alone_is_loaded_by_plain_peft(base: Path, adapter: Path, home: Path) -> None:
    import torch

    done = made(asked(base, adapter, home, "peft", card="# Tuned\n"))
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= set(done["files"])
    assert Path(done["path"], "README.md").read_text() == "# Tuned\n"
    ours, theirs = plain_peft(base, Path(done["path"])), plain_peft(base, adapter)
    torch.testing.assert_close(scores(ours), scores(theirs), atol=0, rtol=0)


def test_the_config_names_the_hubs_model_where_the_base_is_from_there(
    base: Path, adapter: Path, home: Path
) -> None:
    row = {"source": "hub", "location": "owner/name"}
    done = made(asked(base, adapter, home, "peft", base_row=row))
    config = json.loads(Path(done["path"], "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "owner/name"


def test_the_merged_folder_is_loaded_by_plain_transformers(
    base: Path, adapter: Path, home: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    done = made(asked(base, adapter, home, "merged"))
    model = AutoModelForCausalLM.from_pretrained(done["path"])
    wanted = scores(plain_peft(base, adapter))
    difference = (scores(model) - wanted).abs().max()
    assert difference < CLOSE_SHARE * wanted.abs().max()
    assert 0 <= done["max_logit_difference"] < CLOSE_SHARE * wanted.abs().max()
    ours, theirs = (AutoTokenizer.from_pretrained(path) for path in (done["path"], base))
    for text in PROMPTS:
        assert ours.encode(text) == theirs.encode(text)
    assert ours.chat_template == theirs.chat_template
    assert set(done["files"]) >= {"config.json", "model.safetensors", "tokenizer.json"}


@pytest.fixture
def llama(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens GGUF files by llama.cpp."""
    opened = []

    def load(path: str) -> LlamaCppEngine:
        spec = WorkerSpec("m", "m", "llama.cpp", "gguf", gguf_path=path, context_length=256,
                          slots=1, threads=1)  # fmt: skip
        opened.append(LlamaCppEngine(spec, lambda text, share: None))
        return opened[-1]

    yield load
    for engine in opened:
        engine.close()


def answer(engine: Any, text: str, tokens: int = 12) -> str:
    """Greedy, over the rendered text: the chat route of llama.cpp trims what it answers."""
    asked = Request(({"role": "user", "content": text},), None, Generation())
    sink = Collected()
    prompt = engine.render(asked).text
    engine.submit(Request(None, prompt, Generation(max_tokens=tokens)), sink)
    sink.finished()
    return sink.text


def by_transformers(folder: str, text: str, tokens: int = 12) -> str:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt",
        return_dict=True,
    )  # fmt: skip
    with torch.inference_mode():
        out = model.generate(**ids, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("gguf_type", ["q4_0", "../../elsewhere", ""])
def test_another_gguf_type_is_refused_before_it_names_a_file(
    base: Path, adapter: Path, home: Path, gguf_type: str
) -> None:
    with pytest.raises(Invalid, match="no GGUF type"):
        asked(base, adapter, home, "gguf", gguf_type=gguf_type)


@pytest.mark.parametrize("gguf_type", ["f32", "f16", "q8_0"])
def test_llama_cpp_answers_from_the_gguf_as_transformers_from_the_merged_folder(
    base: Path, adapter: Path, home: Path, llama: Any, gguf_type: str
) -> None:
    done = made(asked(base, adapter, home, "gguf", gguf_type=gguf_type))
    assert done["path"].endswith(f"/Tiny-tuned-{gguf_type.upper()}.gguf")
    header = gguf_file.read(Path(done["path"]))
    assert header.file_type.lower() == gguf_type
    assert header.metadata["general.name"] == "Tiny tuned!"
    merged = made(asked(base, adapter, home, "merged"))
    engine = llama(done["path"])
    for text in PROMPTS:
        rendered = engine.render(Request(({"role": "user", "content": text},), None, Generation()))
        from transformers import AutoTokenizer

        ids = AutoTokenizer.from_pretrained(base).encode(rendered.text, add_special_tokens=False)
        assert rendered.token_count == len(ids)
    tokens = 2 if gguf_type == "q8_0" else 12  # 8 bits round, and random weights tell it soon
    same = [answer(engine, t, tokens) == by_transformers(merged["path"], t, tokens)
            for t in PROMPTS]  # fmt: skip
    assert sum(same) >= (3 if gguf_type == "q8_0" else 4)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama3"])
def test_other_architectures_are_written_right_too(
    tmp_path: Path, home: Path, llama: Any, kind: str
) -> None:
    base = other_model(tmp_path / "other", kind)
    adapter = save_tiny_adapter(tmp_path / "adapter", base)
    done = made(asked(base, adapter, home, "gguf", gguf_type="f32"))
    merged = made(asked(base, adapter, home, "merged"))
    engine = llama(done["path"])
    for text in PROMPTS:
        wanted, got = by_transformers(merged["path"], text), answer(engine, text)
        # random bytes: llama.cpp holds an unfinished character at the end back
        assert wanted.startswith(got), text
        assert len(got) >= len(wanted) - 4


def other_model(folder: Path, kind: str) -> Path:
    """A tiny random model of another family, with the tiny tokenizer."""
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    save_tiny_model(folder)
    config = json.loads((folder / "config.json").read_text())
    torch.manual_seed(3)
    kinds = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM),
             "llama3": (LlamaConfig, LlamaForCausalLM)}  # fmt: skip
    config_of, model_of = kinds[kind]
    scaled = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 64}  # fmt: skip
    made = config_of(
        vocab_size=config["vocab_size"], hidden_size=128, intermediate_size=256,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.4,
        max_position_embeddings=512, eos_token_id=1, pad_token_id=0, bos_token_id=None,
        **({"head_dim": 64} if kind == "qwen3" else {}),
        **({"rope_parameters": scaled} if kind == "llama3" else {}),
        tie_word_embeddings=kind == "qwen2",
    )  # fmt: skip
    model = model_of(made)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight += torch.randn_like(weight) * 0.3
    model.save_pretrained(folder)
    return folder


def changed_tokenizer(base: Path, tmp_path: Path, **changes: Any) -> Path:
    copy = shutil.copytree(base, tmp_path / "changed")
    path = copy / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return copy


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "changes text first"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "cut text into bytes"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated",
                 "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                 "use_regex": False}]}},
            "in a way that is not known",
        ),
    ],
)  # fmt: skip
def test_a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused(
    base: Path, adapter: Path, home: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    payload = asked(changed_tokenizer(base, tmp_path, **changes), adapter, home, "gguf")
    with pytest.raises(Invalid, match=says):
        export(payload, lambda share, text: None)
    assert nothing_left(payload)


def test_an_architecture_that_cannot_be_written_is_refused(
    base: Path, adapter: Path, home: Path, tmp_path: Path
) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    folder = shutil.copytree(base, tmp_path / "sliding")
    config = json.loads((folder / "config.json").read_text())
    sizes = {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size",
             "num_hidden_layers", "num_attention_heads", "num_key_value_heads")}  # fmt: skip
    MistralForCausalLM(MistralConfig(**sizes, sliding_window=16)).save_pretrained(folder)
    with pytest.raises(Invalid, match="sliding attention"):
        export(asked(folder, adapter, home, "gguf"), lambda share, text: None)


def test_a_base_with_a_gguf_of_its_own_lends_its_metadata_and_is_checked(
    base: Path, adapter: Path, home: Path, tmp_path: Path, llama: Any
) -> None:
    own = tmp_path / "own.gguf"
    gguf_write.write(base, own, name="The base", kind="f32")
    payload = asked(base, adapter, home, "gguf", base_row={"gguf_path": str(own)})
    done = made(payload)
    assert gguf_file.read(Path(done["path"])).metadata["general.name"] == "Tiny tuned!"
    merged = made(asked(base, adapter, home, "merged"))
    engine = llama(done["path"])
    assert [answer(engine, t) for t in PROMPTS] == [
        by_transformers(merged["path"], t) for t in PROMPTS
    ]
    gguf_write.write(save_tiny_model(tmp_path / "b", seed=9), own, name="Another", kind="f32")
    other = asked(base, adapter, home, "gguf", base_row={"gguf_path": str(own)}, gguf_type="q8_0")
    with pytest.raises(Invalid, match="laid out otherwise"):
        export(other, lambda share, text: None)
    assert nothing_left(other)


def nothing_left(payload: dict[str, Any]) -> bool:
    target = Path(payload["target"])
    return not target.exists() and not list(target.parent.glob(".*.partial"))


class Stop(Exception):
    """Somebody cancelled."""


class Telling:
    """Remembers what an export tells, and stops it at the given word."""

    def __init__(self, at: int | None = None) -> None:
        self.texts: list[str] = []
        self._at = at

    def __call__(self, share: float, text: str) -> None:
        self.texts.append(text)
        if self._at is not None and len(self.texts) > self._at:
            raise Stop


def test_giving_up_in_the_middle_leaves_nothing(base: Path, adapter: Path, home: Path) -> None:
    for kind in exports.KINDS:
        payload = asked(base, adapter, home, kind)
        whole = Telling()
        export({**payload, "target": str(home / "whole" / kind)}, whole)
        for at in {0, len(whole.texts) // 2, len(whole.texts) - 1}:
            with pytest.raises(Stop):
                export(payload, Telling(at))
            assert nothing_left(payload), (kind, at)


@pytest.mark.slow
@pytest.mark.parametrize("after", ["merging", "writing token_embd.weight"])
def test_a_kill_in_the_middle_leaves_nothing_that_is_listed_and_is_swept(
    base: Path, adapter: Path, home: Path, after: str
) -> None:
    payload = asked(base, adapter, home, "gguf")
    code = (
        "import json, os, sys, time\n"
        "from core.training.export_job import export\n"
        "def tell(share, text):\n"
        f"    if text == {after!r}: print('there', flush=True); time.sleep(60)\n"
        "export(json.loads(sys.argv[1]), tell)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(payload)], cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    target = Path(payload["target"])
    assert not target.exists()
    assert list(target.parent.glob(".*.partial"))
    assert exports.listed(home, "model_1") == []


def test_exports_are_listed_by_kind(base: Path, adapter: Path, home: Path) -> None:
    for kind in ("peft", "merged"):
        made(asked(base, adapter, home, kind))
    rows = exports.listed(home, "model_1")
    assert [row["kind"] for row in rows] == ["merged", "peft"]
    assert all(row["bytes"] > 1000 and row["created_at"] for row in rows)
    with pytest.raises(Invalid, match="no export 'onnx'"):
        asked(base, adapter, home, "onnx")
    with pytest.raises(Conflict, match="is no adapter"):
        exports.payload(home, {"source": "gguf", "name": "X"}, {}, "peft")


@pytest.mark.slow
@pytest.mark.starter
def test_the_starters_gguf_answers_as_its_merged_folder_does(
    starter_home: Path, tmp_path: Path, llama: Any
) -> None:
    from core.models.starter import STARTERS, inspection

    found = inspection(starter_home, STARTERS[0].slug)
    base = Path(str(found.path))
    adapter = save_tiny_adapter(tmp_path / "adapter", base, targets=["q_proj", "v_proj"], std=0.01)
    own = {"gguf_path": found.gguf_path}
    merged = made(asked(base, adapter, tmp_path, "merged"))
    copied = made(asked(base, adapter, tmp_path, "gguf", base_row=own))
    gguf_write.write(Path(merged["path"]), tmp_path / "built.gguf", name="built")
    header = gguf_file.read(Path(copied["path"])).metadata
    assert header["tokenizer.ggml.pre"] == "smollm"
    of_base = gguf_file.read(Path(str(found.gguf_path))).metadata
    assert header["tokenizer.chat_template"] == of_base["tokenizer.chat_template"]
    fresh = gguf_file.read(tmp_path / "built.gguf").metadata
    kept = ("tokenizer.ggml.tokens.length", "tokenizer.ggml.merges.length",
            "tokenizer.ggml.add_bos_token", "tokenizer.ggml.eos_token_id",
            "llama.rope.freq_base", "llama.rope.dimension_count")  # fmt: skip
    assert {k: fresh[k] for k in kept} == {k: header[k] for k in kept}
    text = "Name three colours."
    wanted = by_transformers(merged["path"], text, 16)
    assert wanted
    assert answer(llama(copied["path"]), text, 16) == wanted
    assert merged["max_logit_difference"] < 1e-3
    print(f"starter: max logit difference {merged['max_logit_difference']:.1e}, answer {wanted!r}")
