"""`export --dvc`: the file that `dvc add` would write for the folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from warehouse.errors import LakeUsageError
from warehouse.export.dvc import write_dvc


def test_the_file_names_the_folder_by_the_hash_that_dvc_gives_it(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    for name, text in {"README.md": "card", "data/train.parquet": "rows", "data.txt": "é"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    place = write_dvc(folder)
    assert place == tmp_path / "v1.dvc"
    listed = [
        {"md5": hashlib.md5(text.encode()).hexdigest(), "relpath": name}
        for name, text in (("README.md", "card"), ("data.txt", "é"), ("data/train.parquet", "rows"))
    ]
    whole = hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest()
    assert yaml.safe_load(place.read_text()) == {
        "outs": [{"md5": f"{whole}.dir", "size": 10, "nfiles": 3, "hash": "md5", "path": "v1"}]
    }
    before = place.read_bytes()
    assert write_dvc(folder).read_bytes() == before
    (folder / "data.txt").write_text("changed")
    assert write_dvc(folder).read_bytes() != before


def test_what_a_person_wrote_into_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    place = write_dvc(tmp_path / "v1")
    facts = yaml.safe_load(place.read_text())
    facts["meta"] = {"owner": "data"}
    facts["outs"][0] |= {"remote": "store", "desc": "first", "cloud": {"store": {"etag": "of the content then"}}}
    place.write_text(yaml.safe_dump(facts))
    (tmp_path / "v1" / "data.txt").write_text("row")
    after = yaml.safe_load(write_dvc(tmp_path / "v1").read_text())
    assert after["meta"] == {"owner": "data"}
    (output,) = after["outs"]
    assert (output["remote"], output["desc"], output["nfiles"]) == ("store", "first", 1)
    assert "cloud" not in output


@pytest.mark.parametrize(
    "text",
    [
        "",
        "outs: []",
        "outs: [{}, {}]",
        "outs: [3]",
        "[1",
        "\x00",
        "deps: []",
        "deps: []\nouts: [{}]",
        "outs: [{}]\nouts: [{}]",
    ],
)
def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "v1").mkdir()
    place = tmp_path / "v1.dvc"
    place.write_text(text)
    with pytest.raises(LakeUsageError, match="move it away"):
        write_dvc(tmp_path / "v1")
    assert place.read_text() == text
