"""`export --dvc`: the file that `dvc add` would write for the folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import yaml

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
