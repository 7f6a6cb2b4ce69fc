"""Importing and removing model folders: whole and checked, or nothing changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from netgpt.core.errors import ModelInvalid, ModelNotFound, NetgptError, StorageFailed, UsageError
from netgpt.models.checkpoint import load_model
from netgpt.models.install import import_model, installing, remove_model
from netgpt.models.store import find_model, list_models, search_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_imported_folder_is_found_and_loads(tmp_path: Path, model_folder: Path) -> None:
    card, left_out = import_model(tmp_path / "home", model_folder, name="mine")
    assert (card.id, left_out) == ("mine", [])
    folder = find_model("mine", search_path(tmp_path / "home"))
    assert load_model(folder).config == load_model(model_folder).config
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} <= {0o600, 0o644}


def test_what_is_no_model_file_stays_behind_and_is_named(tmp_path: Path, model_folder: Path) -> None:
    for name in ("pytorch_model.bin", "modeling_tiny.py", ".hidden.json", "training_args.pickle"):
        (model_folder / name).write_bytes(b"x")
    (model_folder / "deep.json").mkdir()
    _, left_out = import_model(tmp_path / "home", model_folder)
    assert left_out == [".hidden.json", "deep.json", "modeling_tiny.py", "pytorch_model.bin", "training_args.pickle"]
    assert names(tmp_path / "home" / "models" / "tiny") == ["config.json", "model.safetensors", "tokenizer.json"]


def test_links_to_files_are_followed_as_caches_have_them(tmp_path: Path, model_folder: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in model_folder.iterdir():
        (snapshot / path.name).symlink_to(path)
    import_model(tmp_path / "home", snapshot, name="linked")
    assert not any(path.is_symlink() for path in (tmp_path / "home" / "models" / "linked").iterdir())


def test_a_card_takes_the_name_that_the_model_is_given(tmp_path: Path, model_folder: Path) -> None:
    first, _ = import_model(tmp_path / "a", model_folder)
    (model_folder / "card.json").write_text(json.dumps(vars(first)))
    import_model(tmp_path / "b", model_folder, name="other")
    assert [card.id for card in list_models([tmp_path / "b" / "models"])] == ["other"]


def spoil_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


NORM = "model.norm.weight"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "norm.*not finite": spoil_weights(lambda tensors: tensors[NORM].fill_(float("nan"))),
    "norm.*shape": spoil_weights(lambda tensors: tensors.update({NORM: torch.zeros(3)})),
    "norm.*dtype": spoil_weights(lambda tensors: tensors.update({NORM: torch.zeros(32, dtype=torch.int8)})),
    "norm.*missing": spoil_weights(lambda tensors: tensors.pop(NORM)),
    "truncated": truncate,
    "model.safetensors.*missing": pickled,
    "tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "config": lambda folder: (folder / "config.json").unlink(),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_a_damaged_folder_is_refused_and_nothing_is_left(tmp_path: Path, model_folder: Path, said: str) -> None:
    DAMAGES[said](model_folder)
    with pytest.raises(ModelInvalid, match=said):
        import_model(tmp_path / "home", model_folder)
    assert names(tmp_path / "home" / "models") == [".lock"]


def test_a_refused_replacement_leaves_the_old_model(tmp_path: Path, model_folder: Path) -> None:
    home = tmp_path / "home"
    import_model(home, model_folder)
    before = {path.name: path.read_bytes() for path in (home / "models" / "tiny").iterdir()}
    truncate(model_folder)
    with pytest.raises(ModelInvalid):
        import_model(home, model_folder, replace=True)
    assert {path.name: path.read_bytes() for path in (home / "models" / "tiny").iterdir()} == before


def test_a_taken_name_is_refused_unless_replacing(tmp_path: Path, model_folder: Path) -> None:
    home = tmp_path / "home"
    import_model(home, model_folder)
    with pytest.raises(UsageError, match="'tiny'") as caught:
        import_model(home, model_folder)
    assert "--replace" in caught.value.hint
    import_model(home, model_folder, replace=True)
    assert names(home / "models") == [".lock", "tiny"]


@pytest.mark.parametrize("name", ["../tiny", "a/b", ".hidden", "a b", "x" * 101, "-x"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, model_folder: Path, name: str) -> None:
    with pytest.raises(UsageError):
        import_model(tmp_path / "home", model_folder, name=name)


def test_a_crash_between_the_steps_of_a_replacement_is_mended(tmp_path: Path, model_folder: Path) -> None:
    home = tmp_path / "home"
    import_model(home, model_folder)
    (home / "models" / "tiny").rename(home / "models" / ".tiny.old")
    with pytest.raises(UsageError, match="already"):
        import_model(home, model_folder)
    assert names(home / "models") == [".lock", "tiny"]


def test_two_commands_do_not_change_models_at_once(tmp_path: Path, model_folder: Path) -> None:
    with installing(tmp_path / "home"), pytest.raises(StorageFailed, match="another command"):
        import_model(tmp_path / "home", model_folder)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(StorageFailed, match="No space left"):
        import_model(tmp_path / "home", model_folder)
    assert names(tmp_path / "home" / "models") == [".lock"]


def test_a_removed_model_is_gone_and_an_unknown_one_teaches_names(tmp_path: Path, model_folder: Path) -> None:
    home = tmp_path / "home"
    import_model(home, model_folder)
    with pytest.raises(ModelNotFound, match="'tinny'") as caught:
        remove_model(home, "tinny")
    assert "'tiny'" in caught.value.hint
    remove_model(home, "tiny")
    assert names(home / "models") == [".lock"]


def test_a_link_is_not_removed(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "linked").symlink_to(model_folder)
    with pytest.raises(NetgptError, match="link"):
        remove_model(tmp_path / "home", "linked")
    assert (model_folder / "config.json").exists()
