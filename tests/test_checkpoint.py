"""Checkpoints go to disk and back, and no file that a person can drop in does more than be refused in one sentence."""

import copy
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny import TINY, roughen, tiny, tiny_tokenizer

from vidapp import checkpoint as checkpoint_module
from vidapp.checkpoint import Checkpoint, load_checkpoint, load_tokenizer, read_header, save_checkpoint
from vidapp.config import Config
from vidapp.randomness import torch_generator
from vidapp.transformer import VideoTransformer

Parts = tuple[dict[str, Any], bytes]
METRICS = {"loss": 2.5, "validation_loss_half": 3.25}


def new_transformer(config: Config = TINY) -> VideoTransformer:
    model = VideoTransformer.new(config, torch_generator(0))
    roughen(model, torch_generator(1))
    return model


def save(path: Path, config: Config = TINY, **changes: Any) -> Path:
    weights = new_transformer(config).state_dict()
    save_checkpoint(path, config, tiny_tokenizer(config), **{"transformer_weights": weights, "step": 7, "metrics": METRICS, **changes})
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("checkpoints") / "good.safetensors")


@pytest.fixture(scope="module")
def parts(good: Path) -> Parts:
    """(header, bytes of the weights) of the good file."""
    content = good.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write(path: Path, header: Any, body: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def with_about(header: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The header with its own part of the metadata changed."""
    changed = copy.deepcopy(header)
    about = json.loads(changed["__metadata__"]["vidapp"])
    change(about)
    changed["__metadata__"]["vidapp"] = json.dumps(about)
    return changed


def refusal(path: Path) -> str | None:
    """What loading is refused with, None where it is not; any other error than ValueError is passed on."""
    try:
        load_checkpoint(path)
    except ValueError as error:
        return str(error)
    return None


def refused(path: Path, *words: str) -> None:
    """Loading is refused in one readable sentence that names the file."""
    message = refusal(path)
    assert message is not None
    assert len(message) < 500
    for word in (path.name, *words):
        assert word in message


# ------------------------------------------------------------------ there and back


STEM = {"model__stem_frames": 3, "model__pixel_embedding": True}


@pytest.mark.parametrize(
    "changes", [{}, {"tokenizer__quantizer": "vq"}, {"model__positions": "relative"}, {"model__attention": "full"}, STEM]
)
def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = tiny(**changes)
    loaded = load_checkpoint(save(tmp_path / "one.safetensors", config))
    assert (loaded.config, loaded.step, loaded.metrics, loaded.precision) == (config, 7, METRICS, "float32")
    assert loaded.path == tmp_path / "one.safetensors"
    for name, tensor in new_transformer(config).state_dict().items():
        assert torch.equal(loaded.transformer.state_dict()[name], tensor.half().float()), name
    tokenizer = tiny_tokenizer(config)
    for name, tensor in tokenizer.state_dict().items():
        assert torch.equal(loaded.tokenizer.state_dict()[name], tensor), name
    assert torch.equal(loaded.transformer.features_VK[:, : config.tokenizer.code_dim], tokenizer.codebook())
    if config.model.pixel_embedding:
        assert torch.equal(loaded.transformer.features_VK[:, config.tokenizer.code_features :], tokenizer.patches())

    frames_u8 = np.random.default_rng(0).integers(0, 256, (2, 3, 1, 32, 32), np.uint8)
    tokens = loaded.encode(frames_u8)
    assert torch.equal(tokens, tokenizer.encode(torch.from_numpy(frames_u8).float() / 255))
    drawn = loaded.decode(tokens)
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, tokenizer.decode(tokens).detach().clamp(0, 1).numpy())


def test_a_loaded_checkpoint_is_for_sampling_only(good: Path) -> None:
    loaded = load_checkpoint(good)
    for model in (loaded.tokenizer, loaded.transformer):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert loaded.device == torch.device("cpu")


def test_the_header_tells_everything_without_loading_a_weight(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "safe_open", None)
    header = read_header(good)
    assert (header.config, header.step, header.metrics, header.format_version) == (TINY, 7, METRICS, 1)
    assert (header.precision, header.phase) == ("float32", "transformer")
    assert {dtype for name, (dtype, _) in header.tensors.items() if name.startswith("transformer.")} == {"F16"}
    assert {dtype for name, (dtype, _) in header.tensors.items() if name.startswith("tokenizer.")} == {"F32"}


def test_the_tokenizer_can_be_loaded_alone(good: Path, tmp_path: Path) -> None:
    tokenizer, config = load_tokenizer(good)
    assert config == TINY
    assert all(torch.equal(tensor, tiny_tokenizer().state_dict()[name]) for name, tensor in tokenizer.state_dict().items())
    assert read_header(save(tmp_path / "first.safetensors", phase="tokenizer")).phase == "tokenizer"


@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_loading_and_using_one_does_not_draw_from_torchs_own_generator(tmp_path: Path, quantizer: str) -> None:
    path = save(tmp_path / "one.safetensors", tiny(tokenizer__quantizer=quantizer))
    before = torch.get_rng_state()
    loaded = load_checkpoint(path)
    loaded.decode(loaded.encode(np.zeros((1, 2, 1, 32, 32), np.uint8)))
    assert torch.equal(before, torch.get_rng_state())


def test_a_moved_checkpoint_holds_nothing_of_the_file(good: Path, tmp_path: Path) -> None:
    """The weights are copies: a training may replace the file while somebody samples from it."""
    path = tmp_path / "replaced.safetensors"
    path.write_bytes(good.read_bytes())
    loaded: Checkpoint = load_checkpoint(path)
    before = loaded.transformer.token_embedding.weight.clone()
    path.write_bytes(bytes(len(good.read_bytes())))
    assert torch.equal(loaded.transformer.token_embedding.weight, before)


# ------------------------------------------------------------------ what is not saved


@pytest.mark.parametrize(
    ("value", "words"),
    [(1e5, "head_bias reaches 1e+05, too large for a checkpoint in float16"), (float("nan"), "not finite"), (float("inf"), "not finite")],
)
def test_weights_that_diverged_are_not_saved_over_good_ones(tmp_path: Path, value: float, words: str) -> None:
    path = save(tmp_path / "one.safetensors")
    before = path.read_bytes()
    weights = new_transformer().state_dict()
    weights["head_bias"][3] = value
    with pytest.raises(ValueError, match="lower the learning rate") as caught:
        save(path, transformer_weights=weights)
    assert words in str(caught.value)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["one.safetensors"]


def test_a_tokenizer_that_diverged_is_not_saved(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    next(tokenizer.parameters()).data[0] = float("nan")
    with pytest.raises(ValueError, match="weight tokenizer.encoder.0.weight is not finite"):
        save_checkpoint(tmp_path / "one.safetensors", TINY, tokenizer, new_transformer().state_dict(), step=3, metrics={})
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ what is no checkpoint


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path / "missing.safetensors", "No such file")
    (tmp_path / "folder.safetensors").mkdir()
    refused(tmp_path / "folder.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        bytes(8),
        bytes(5000),
        b"GIF89a" + bytes(100),
        pickle.dumps({"weights": [1, 2, 3]}),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}" * 100,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 2) + b"\xff\xfe",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 5000) + b"9" * 5000,
    ],
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(content)
    refused(path)


def test_a_header_of_absurd_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**31))
        file.truncate(2**32)  # sparse: it takes no room
    refused(path, "no safetensors file")


def test_another_programs_safetensors_file_is_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})
    refused(path, "no vidapp checkpoint")
    save_file({"weight": torch.zeros(3)}, path)
    refused(path, "no vidapp checkpoint")


# ------------------------------------------------------------------ what was damaged


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_file_is_refused(good: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = good.read_bytes()
    path = tmp_path / "short.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    refused(path)


def test_bytes_too_many_are_refused(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    path.write_bytes(good.read_bytes() + b"\0")
    refused(path, "do not fill the file")


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_gives_a_checkpoint_or_a_sentence(good: Path, parts: Parts, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    head = len(content) - len(parts[1])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, head - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(bytes(content))
    assert path.name in (refusal(path) or path.name)


@pytest.mark.parametrize(("name", "kind"), [("transformer.head_bias", "<e"), ("tokenizer.encoder.0.bias", "<f")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(parts: Parts, tmp_path: Path, name: str, kind: str, value: float) -> None:
    header, body = parts
    start = header[name]["data_offsets"][0]
    number = struct.pack(kind, value)
    refused(
        write(tmp_path / "nan.safetensors", header, body[:start] + number + body[start + len(number) :]), f"weight {name} is not finite"
    )


# ------------------------------------------------------------------ what was made on purpose


def test_a_codebook_that_would_fill_itself_from_the_first_clip_is_refused(tmp_path: Path) -> None:
    config = tiny(tokenizer__quantizer="vq")
    tokenizer = tiny_tokenizer(config)
    for name, buffer in tokenizer.named_buffers():
        if name.endswith(".initted"):
            buffer.fill_(False)
    path = tmp_path / "unfilled.safetensors"
    save_checkpoint(path, config, tokenizer, VideoTransformer.new(config, torch_generator(0)).state_dict(), step=0, metrics={})
    refused(path, "its codebook says that it was never filled")


@pytest.mark.parametrize(("name", "value", "said"), [
    ("step", -5, "its step is '-5'"),
    ("step", 10**400, "its step is '1000"),
    ("step", True, "its step is 'True'"),
    ("phase", "bogus", "its phase is 'bogus'"),
    ("precision", "bf16", "encoded in 'bf16', and here they are encoded in float32"),
])  # fmt: skip
def test_a_step_phase_or_precision_that_none_can_have_is_refused(parts: Parts, tmp_path: Path, name: str, value: Any, said: str) -> None:
    header, body = parts
    refused(write(tmp_path / "odd.safetensors", with_about(header, lambda about: about.update({name: value})), body), said)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in inner for found in leaves(part, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


HOSTILE = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1e308, float("inf"), float("-inf"), float("nan"), "", "1", "../../x", [], {}, [[]]]
    ),
    st.sampled_from([[0, 0], [-1, -1], [2**70, 2**70], ["a", "b"], [0.0, 4.0], [1] * 100, {"a": 1}, "F64", "F128", "x" * 5000]),
)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_the_header_gives_a_checkpoint_or_a_sentence(parts: Parts, tmp_path: Path, data: st.DataObject) -> None:
    header, body = parts
    about = json.loads(header["__metadata__"]["vidapp"])
    if data.draw(st.booleans()):
        changed = put(about, data.draw(st.sampled_from(leaves(about))), data.draw(HOSTILE))
        header = put(header, ("__metadata__", "vidapp"), json.dumps(changed))
    else:
        header = put(header, data.draw(st.sampled_from(leaves(header)[1:])), data.draw(HOSTILE))
    message = refusal(write(tmp_path / "hostile.safetensors", header, body))
    assert message is None or ("hostile.safetensors" in message and len(message) < 500)


def test_a_weight_too_many_or_too_few_is_refused_by_name(parts: Parts, tmp_path: Path) -> None:
    header, body = parts
    path = tmp_path / "odd.safetensors"
    for name in ("transformer.backdoor", "tokenizer.backdoor", "backdoor"):
        extra = {"dtype": "F32", "shape": [1], "data_offsets": [len(body), len(body) + 4]}
        refused(write(path, {**header, name: extra}, body + bytes(4)), name)
    last = max((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"])
    start = header[last]["data_offsets"][0]
    refused(write(path, {key: entry for key, entry in header.items() if key != last}, body[:start]), last)


def test_shapes_and_dtypes_must_be_the_configs(parts: Parts, tmp_path: Path) -> None:
    header, body = parts
    path = tmp_path / "odd.safetensors"
    name = "transformer.place_embedding"
    refused(write(path, put(header, (name, "shape"), [8, 32]), body), name, "shape (8, 32) instead of (16, 16)")
    refused(write(path, put(header, (name, "dtype"), "BF16"), body), name, "dtype BF16 instead of F16 or F32")
    refused(write(path, put(header, ("tokenizer.encoder.0.bias", "dtype"), "I32"), body), "dtype I32 instead of F32")


def test_weights_that_overlap_or_leave_gaps_are_refused(parts: Parts, tmp_path: Path) -> None:
    header, body = parts
    path = tmp_path / "odd.safetensors"
    start, stop = header["transformer.head_bias"]["data_offsets"]
    for offsets in (
        [start + 2, stop + 2],
        [start, stop - 2],
        [0, stop - start],
        [stop, start],
        [2**62, 2**62 + stop - start],
        [0.5, 1],
        [0],
    ):
        refused(write(path, put(header, ("transformer.head_bias", "data_offsets"), offsets), body), "do not fill the file")


def test_what_safetensors_itself_refuses_is_a_sentence_too(parts: Parts, tmp_path: Path) -> None:
    header, body = parts
    path = tmp_path / "strict.safetensors"
    refused(
        write(path, put(header, ("__metadata__",), {**header["__metadata__"], "other": 5}), body), "is damaged"
    )  # metadata must be texts
    start, stop = header["transformer.head_bias"]["data_offsets"]
    refused(write(path, put(header, ("transformer.head_bias", "data_offsets"), [float(start), float(stop)]), body), "is damaged")


@pytest.mark.parametrize("changes", [{"model.width": 4096, "model.layers": 64}, {"data.size": 512}, {"tokenizer.channels": 512}])
def test_a_config_larger_than_its_weights_is_refused_before_memory_is_taken(
    parts: Parts, tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def must_not_be_called(*_: Any, **__: Any) -> None:
        raise AssertionError("memory was taken")

    monkeypatch.setattr(checkpoint_module, "new_tokenizer", must_not_be_called)
    monkeypatch.setattr(checkpoint_module, "safe_open", must_not_be_called)
    monkeypatch.setattr(VideoTransformer, "new", must_not_be_called)
    header = with_about(parts[0], lambda about: about.update(config=TINY.replace(changes).to_dict()))
    refused(write(tmp_path / "large.safetensors", header, parts[1]), "does not fit its own config")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about.update(format_version=3), "format 3 and this version reads up to 2: update vidapp"),
        (lambda about: about.pop("config"), "config"),
        (lambda about: about["config"]["model"].update(wings=2), "unknown setting of model 'wings'"),
        (lambda about: about["config"].update(engine={}), "unknown section 'engine'"),
        (lambda about: about["config"]["model"].update(width=-16), "model.width is -16"),
        (lambda about: about["config"]["model"].update(width=10**400), "model.width"),
        (lambda about: about["config"]["tokenizer"].update(levels=[2, 2]), "tokenizer.levels"),
        (lambda about: about["config"]["tokenizer"].update(levels=[64] * 100_000), "tokenizer.levels"),
        (lambda about: about["config"]["data"].update(size=512) or about["config"]["tokenizer"].update(downsampling=2), "tokens a frame"),
        (lambda about: about.update(step=float("inf")), "cannot be used"),
        (lambda about: about.update(metrics="abc"), "cannot be used"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_its_setting(
    parts: Parts, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    refused(write(tmp_path / "odd.safetensors", with_about(parts[0], change), parts[1]), words)
