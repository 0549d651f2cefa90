"""`alignery push`: to a hub on this machine, privately unless asked otherwise, and never without being asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, running
from lake_rows import fill

from alignery import effects
from alignery.errors import AligneryError, UsageError
from alignery.hub.card import model_card
from alignery.hub.push import Pushed, PushFailed, Source, export_source, find_source, push
from warehouse import Lake
from warehouse.export.publish import publish

TOKEN = "hf_aSecretOfTheTests123"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with running(Hub(TOKEN)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture(scope="module")
def home(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the tag v1, its export, and a model that was trained on it."""
    home = shutil.copytree(empty, tmp_path_factory.mktemp("hub") / "home")
    folder = home / "models" / "sft-1"
    (folder / "adapter").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "/home/someone/base"}')
    (folder / "report.json").write_text(json.dumps({"recipe": "sft", "base_model": "/home/someone/base", "rows": 9}))
    with Lake.open(home) as lake:
        fill(lake)
        publish(lake, "v1", home / "exports", models={}, run_id="run", message="first")
        row = {"id": "m:1", "path": str(folder), "recipe": "sft", "tag": "v1", "view": "sft", "seconds": 3.0}
        row |= {"base_id": "base", "base_path": "/home/someone/base", "config": "{}", "metrics": "{}"}
        lake.ledger.write("models", [row], run_id="run", message="m")
    return home


def source(home: Path, name: str = "v1") -> Source:
    with Lake.open(home, read_only=True) as lake:
        return find_source(lake, name, {"base": "Apache-2.0"})


def test_an_export_is_there_whole_private_and_pushed_once(hub: Hub, home: Path) -> None:
    done = push(source(home), "you/answers")
    repository = hub.repositories["datasets/you/answers"]
    here = {
        str(p.relative_to(home / "exports/v1")): p.read_bytes() for p in (home / "exports/v1").rglob("*") if p.is_file()
    }
    assert repository.files == here
    assert repository.private
    assert done == Pushed(f"{hub.url}/datasets/you/answers", "dataset", repository.sha, True, len(here))
    again = push(source(home), "you/answers")
    assert (again.commit, len(repository.messages)) == (done.commit, 1), "nothing differed, so nothing was committed"


def test_shards_of_an_earlier_push_are_taken_away_and_other_files_are_left(hub: Hub, home: Path) -> None:
    push(source(home), "you/answers")
    files = hub.repositories["datasets/you/answers"].files
    files["data/sft/train-00007-of-00009.parquet"] = b"stale"
    files["notes.md"] = b"a person's"
    push(source(home), "you/answers")
    assert "data/sft/train-00007-of-00009.parquet" not in files
    assert files["notes.md"] == b"a person's"


def test_a_model_goes_with_a_card_and_without_what_names_folders_of_this_machine(hub: Hub, home: Path) -> None:
    done = push(source(home, "sft-1"), "you/model", public=True)
    repository = hub.repositories["models/you/model"]
    assert set(repository.files) == {"config.json", "model.safetensors", "README.md"}
    card = repository.files["README.md"].decode()
    assert "license: apache-2.0" in card
    assert "recipe `sft` on the published tag `v1`, from `base`" in card
    assert not any(b"someone" in text for text in repository.files.values())
    assert (done.private, repository.private, done.kind) == (False, False, "model")


def test_a_public_repository_that_is_there_is_not_filled_unasked(hub: Hub, home: Path) -> None:
    push(source(home), "you/open", public=True)
    asked = len(hub.asked)
    with pytest.raises(UsageError, match="exists and is public; pass --public"):
        push(source(home), "you/open")
    assert [line for line in hub.asked[asked:] if not line.startswith("GET")] == []


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        ({"HF_TOKEN": ""}, UsageError, "got no HF_TOKEN"),
        ({"HF_TOKEN": "hf_anotherSecretAltogether"}, PushFailed, "did not take the push: .*401"),
        ({"offline": True}, UsageError, "HF_HUB_OFFLINE is set, which forbids any request to a hub; unset it to push"),
        ({"repo": "you/na me"}, UsageError, "expected you/name"),
        ({"repo": "answers"}, UsageError, "expected you/name; put the user"),
        ({"fails": "commit"}, PushFailed, "did not take the push: .*500"),
    ],
)
def test_what_stands_in_the_way_is_one_sentence_without_the_token(
    hub: Hub,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: dict[str, object],
    error: type[AligneryError],
    message: str,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", spoil.get("offline", False))
    token = str(spoil.get("HF_TOKEN", TOKEN))
    monkeypatch.setenv("HF_TOKEN", token)
    hub.fails = spoil.get("fails")  # type: ignore[assignment]
    with pytest.raises(error, match=message) as raised:
        push(source(home), str(spoil.get("repo", "you/answers")))
    assert "\n" not in str(raised.value)
    assert not token or token not in str(raised.value)
    assert error is PushFailed or hub.asked == [], "nothing was sent"


def test_one_that_was_stopped_before_its_commit_is_pushed_again(hub: Hub, home: Path) -> None:
    def stop(name: str, side: str) -> None:
        if (name, side) == ("hub push", "before"):
            raise KeyboardInterrupt

    with effects.observed(stop), pytest.raises(KeyboardInterrupt):
        push(source(home), "you/answers")
    assert hub.repositories == {}
    push(source(home), "you/answers")
    assert "README.md" in hub.repositories["datasets/you/answers"].files


def test_what_is_no_tag_and_no_model_is_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model begins with 'v7'; expected one of sft-1"):
        source(home, "v7")
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    assert export_source(tmp_path) is None, "a folder of something else"


@pytest.mark.flow
def test_the_command_pushes_to_the_hub_that_the_environment_names(home: Path, tmp_path: Path) -> None:
    with running(Hub(TOKEN)) as hub:
        given = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
        environ = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"} | given
        start = [sys.executable, "-c", "from alignery.cli.main import main; main()", "push"]

        def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
            command = [*start, *arguments, "--home", str(home)]
            return subprocess.run(command, cwd=ROOT, env=environ | more, capture_output=True, text=True, check=False)

        done = run("v1", "you/answers")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"{hub.url}/datasets/you/answers"
        output = json.loads(run(str(home / "exports/v1"), "you/answers", "--json").stdout)
        assert (output["kind"], output["private"], output["files"]) == (
            "dataset",
            True,
            len(hub.repositories["datasets/you/answers"].files),
        )
        refused = run("v1", "you/answers", HF_HUB_OFFLINE="1")
        assert refused.returncode == 2
        assert len(refused.stderr.strip().splitlines()) == 1
        assert TOKEN not in done.stdout + done.stderr + refused.stderr


def test_a_damaged_report_is_one_sentence(tmp_path: Path) -> None:
    for text in ("{", "7", "[1]"):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(UsageError, match=r"report\.json: got no JSON object"):
            model_card(tmp_path, {"recipe": "sft", "tag": "v1"}, None)
