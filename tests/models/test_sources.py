"""Sources are inspected before they are registered: every refusal says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.models.sources import Asked, base_url, inspect
from tests.models.making import LLAMA, folder_of, gguf_of, safetensors_bytes

SHA = "0" * 64
COMMIT = "12fd25f77366fa6b3b4b768ec3050bf629380bac"


def directory(path: Path, **more: str) -> Asked:
    return Asked("directory", str(path), **more)


def test_a_folder_of_safetensors_tells_what_the_forecast_needs(tmp_path: Path) -> None:
    found = inspect(directory(folder_of(tmp_path / "model")))
    assert found.path == found.location == str((tmp_path / "model").resolve())
    assert (found.architecture, found.license, found.context_length) == (
        "LlamaForCausalLM", "mit", 64,
    )  # fmt: skip
    assert (found.parameter_count, found.weight_bytes) == (128 + 64 + 8, 800)
    assert found.details == {
        "layer_count": 2,
        "kv_head_count": 2,
        "head_size": 2,
        "hidden_size": 8,
        "vocabulary_size": 16,
        "linear_parameter_count": 64,
        "checkpoint_bytes": 800,
        "dtypes": ["F32"],
    }
    assert found.sha256 is not None


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is not a folder") as caught:
        inspect(directory(tmp_path / "nowhere"))
    assert caught.value.field == "location"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickled_weights_are_refused(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path / "model", without=["weights"])
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(Invalid, match="would run whatever code") as caught:
        inspect(directory(folder))
    assert caught.value.title == "Pickled weights are refused"
    with pytest.raises(Invalid, match="would run whatever code"):
        inspect(directory(folder / name))


def test_safetensors_beside_a_pickle_are_used(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert inspect(directory(folder)).parameter_count == 200


def test_a_gguf_given_as_a_folder_is_pointed_to_its_source(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", without=["weights"])
    gguf_of(folder / "small.gguf")
    with pytest.raises(Invalid, match=r"small\.gguf but no safetensors"):
        inspect(directory(folder))


def test_unknown_architectures_and_remote_code_are_refused(tmp_path: Path) -> None:
    strange = {**LLAMA, "architectures": ["FancyForCausalLM"]}
    with pytest.raises(Invalid, match="FancyForCausalLM is not a chat architecture"):
        inspect(directory(folder_of(tmp_path / "a", strange)))
    coded = {**strange, "auto_map": {"AutoModelForCausalLM": "modeling_fancy.Fancy"}}
    with pytest.raises(Invalid) as caught:
        inspect(directory(folder_of(tmp_path / "b", coded)))
    assert caught.value.title == "Remote code is refused"
    with pytest.raises(Invalid, match="names no architecture"):
        inspect(directory(folder_of(tmp_path / "c", {"model_type": "llama"})))


def test_an_encoder_is_no_chat_model_but_an_embedding_model(tmp_path: Path) -> None:
    bert = {**LLAMA, "architectures": ["BertModel"], "model_type": "bert"}
    with pytest.raises(Invalid, match="BertModel is not a chat architecture"):
        inspect(directory(folder_of(tmp_path / "a", bert)))
    folder = folder_of(tmp_path / "b", bert, without=["template"])
    assert inspect(directory(folder, kind="embedding")).architecture == "BertModel"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("config", "no config.json"),
        ("tokenizer", "no tokenizer"),
        ("template", "no chat template"),
        ("weights", "no .safetensors file"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, part: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        inspect(directory(folder_of(tmp_path / "model", without=[part])))


def test_weights_that_are_quantized_already_are_refused(tmp_path: Path) -> None:
    config = {**LLAMA, "quantization_config": {"quant_method": "bitsandbytes"}}
    with pytest.raises(Invalid, match=r"already quantized \(bitsandbytes\)"):
        inspect(directory(folder_of(tmp_path / "model", config)))


def test_shards_must_all_be_there_and_whole(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", without=["weights"])
    names = {"model.layers.0.a.weight": "one.safetensors", "lm_head.weight": "two.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    first = safetensors_bytes({"model.layers.0.a.weight": (4, 4)})
    (folder / "one.safetensors").write_bytes(first)
    with pytest.raises(Invalid, match=r"1 of 2 weight files are missing, such as two"):
        inspect(directory(folder))
    (folder / "two.safetensors").write_bytes(safetensors_bytes({"another.weight": (2, 2)}))
    with pytest.raises(Invalid, match=r"in no weight file, such as lm_head\.weight"):
        inspect(directory(folder))
    (folder / "two.safetensors").write_bytes(safetensors_bytes({"lm_head.weight": (2, 2)}))
    assert inspect(directory(folder)).parameter_count == 20
    (folder / "one.safetensors").write_bytes(first[:-1])
    with pytest.raises(Invalid, match=r"one\.safetensors is truncated"):
        inspect(directory(folder))


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", without=["weights"])
    (tmp_path / "outside.safetensors").write_bytes(safetensors_bytes())
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Invalid, match="missing"):
        inspect(directory(folder))


def test_a_wrong_hash_is_refused_and_a_right_one_kept(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    right = inspect(directory(folder)).sha256
    assert inspect(directory(folder, sha256=str(right).upper())).sha256 == right
    with pytest.raises(Invalid, match=f"is {right}, not {SHA}") as caught:
        inspect(directory(folder, sha256=SHA))
    assert caught.value.title == "Wrong hash"
    with pytest.raises(Invalid, match="64 hexadecimal"):
        inspect(directory(folder, sha256="abc"))


def test_a_gguf_file_tells_its_facts(tmp_path: Path) -> None:
    found = inspect(Asked("gguf", str(gguf_of(tmp_path / "small.gguf"))))
    assert (found.path, found.license, found.context_length) == (None, "mit", 64)
    assert found.gguf_path == str((tmp_path / "small.gguf").resolve())
    assert found.details["gguf_type"] == "Q8_0"
    assert (found.details["kv_head_count"], found.details["head_size"]) == (2, 8)


def test_gguf_refusals(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is not a file"):
        inspect(Asked("gguf", str(tmp_path / "no.gguf")))
    with pytest.raises(Invalid, match="no chat template"):
        inspect(Asked("gguf", str(gguf_of(tmp_path / "base.gguf", template=False))))
    (tmp_path / "model.bin").write_bytes(b"\x80")
    with pytest.raises(Invalid, match="is a pickle"):
        inspect(Asked("gguf", str(tmp_path / "model.bin")))


def test_a_hub_model_needs_a_pinned_commit() -> None:
    found = inspect(Asked("hub", "owner/name", revision=COMMIT))
    assert (found.location, found.revision, found.path) == ("owner/name", COMMIT, None)
    for revision in ("main", None, "v1.0", COMMIT[:12]):
        with pytest.raises(Invalid, match="pinned revision"):
            inspect(Asked("hub", "owner/name", revision=revision))
    for name in ("name", "../../etc/passwd", "a/b/c", "owner/..", "https://x/y"):
        with pytest.raises(Invalid, match="is not a hub id"):
            inspect(Asked("hub", name, revision=COMMIT))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("https://example.com/openai/v1/chat/completions", "https://example.com/openai/v1"),
    ],
)
def test_an_address_is_kept_in_one_spelling(given: str, kept: str) -> None:
    assert inspect(Asked("endpoint", given, revision="m")).location == kept
    assert base_url(kept) == kept


@pytest.mark.parametrize(
    "wrong", ["ftp://x", "localhost:8000", "http://", "http://h:port/", "http://u:p@h/v1", "h?a=1"]
)
def test_addresses_that_are_none(wrong: str) -> None:
    with pytest.raises(Invalid):
        inspect(Asked("endpoint", wrong, revision="m"))


def test_an_endpoint_needs_its_model_s_name() -> None:
    with pytest.raises(Invalid, match="model's name"):
        inspect(Asked("endpoint", "http://127.0.0.1:1/v1"))


@given(text=st.text(max_size=40))
def test_any_text_as_an_address_is_one_or_invalid(text: str) -> None:
    try:
        kept = base_url(text)
    except Invalid:
        return
    assert base_url(kept) == kept


def test_unknown_sources_and_empty_places() -> None:
    with pytest.raises(Invalid, match="no model source 'ftp'"):
        inspect(Asked("ftp", "x"))
    with pytest.raises(Invalid, match="Say where"):
        inspect(Asked("directory", "  "))
