"""Finding model folders and reading their cards."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.core.errors import ModelInvalid, ModelNotFound
from netgpt.models.store import find_model, list_models, read_card, search_path, write_card

from .tiny import TINY


def make_folder(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(TINY.to_hf()))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x" * 10)
    return folder


def test_a_card_is_derived_from_any_hugging_face_folder(tmp_path: Path) -> None:
    card = read_card(make_folder(tmp_path, "small"))
    assert (card.id, card.tier, card.layers, card.vocabulary, card.context_tokens, card.bytes) == ("small", "device", 2, 96, 64, 10)
    assert card.parameters == TINY.parameters
    assert len(card.tokenizer) == 64


def test_a_written_card_is_read_back(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "small")
    card = replace(read_card(folder), id="netgpt-small", tier="edge", context_tokens=32, description="for tests")
    write_card(folder, card)
    assert read_card(folder) == card


@pytest.mark.parametrize(
    ("change", "named"), [({"layers": 3}, "layers"), ({"tokenizer": "0"}, "tokenizer"), ({"context_tokens": 65}, "context"), ({"id": 5}, "id is 5")]
)
def test_a_card_that_contradicts_the_files_is_refused(tmp_path: Path, change: dict[str, object], named: str) -> None:
    folder = make_folder(tmp_path, "small")
    write_card(folder, replace(read_card(folder), **change))  # type: ignore[arg-type]
    with pytest.raises(ModelInvalid, match=named):
        read_card(folder)


def test_a_card_with_an_unknown_or_missing_key_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "small")
    (folder / "card.json").write_text('{"lajers": 2}')
    with pytest.raises(ModelInvalid, match="lajers") as caught:
        read_card(folder)
    assert "did you mean 'layers'" in caught.value.hint
    (folder / "card.json").write_text('{"layers": 2}')
    with pytest.raises(ModelInvalid, match="id is missing"):
        read_card(folder)


def test_models_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    first, second = make_folder(tmp_path / "a", "small"), make_folder(tmp_path / "b", "small")
    other = make_folder(tmp_path / "b", "other")
    search = [tmp_path / "a", tmp_path / "absent", tmp_path / "b"]
    assert find_model("small", search) == first
    assert find_model("other", search) == other
    assert find_model(str(second), search) == second


def test_an_unknown_model_teaches_the_known_names(tmp_path: Path) -> None:
    make_folder(tmp_path, "netgpt-edge")
    with pytest.raises(ModelNotFound, match="netgpt-egde") as caught:
        find_model("netgpt-egde", [tmp_path])
    assert caught.value.hint == "did you mean 'netgpt-edge'? known: netgpt-edge"
    with pytest.raises(ModelNotFound, match="config"):
        find_model(str(tmp_path), [])
    with pytest.raises(ModelNotFound, match="nowhere"):
        find_model("any", [])


def test_listing_leaves_damaged_folders_out(tmp_path: Path) -> None:
    make_folder(tmp_path, "b")
    make_folder(tmp_path, "a")
    (make_folder(tmp_path, "c") / "config.json").write_text("{")
    assert [card.id for card in list_models([tmp_path])] == ["a", "b"]


def test_the_search_order_is_setting_home_checkout(tmp_path: Path) -> None:
    found = search_path(tmp_path, "/x:/y")
    assert found[:3] == [Path("/x"), Path("/y"), tmp_path / "models"]
    assert [path.name for path in found[3:]] == ["weights"]
    assert search_path(None) == found[3:]


def test_the_store_loads_no_torch() -> None:
    code = "import sys, netgpt.models.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
