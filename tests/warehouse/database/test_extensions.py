"""The extensions of DuckDB are loaded beside other work, before the lake is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from warehouse import Lake, LakeLocation, LakeUsageError
from warehouse.database import connection


def test_preloaded_extensions_are_not_verified_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_verified", set())
    place = LakeLocation(tmp_path)
    thread = connection.preload(place)
    thread.join()
    assert {file.stem.partition(".")[0] for file in connection._verified} == {"ducklake", "sqlite_scanner"}
    with Lake.open(place) as lake:
        (setting,) = lake.rows("SELECT value FROM duckdb_settings() WHERE name = 'allow_unsigned_extensions'")
    assert setting["value"] == "true"


def test_a_missing_extension_is_reported_where_the_lake_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_extensions", lambda place: ["of_tomorrow"])
    place = LakeLocation(tmp_path)
    connection.preload(place).join()
    with pytest.raises(LakeUsageError, match="the DuckDB extension of_tomorrow is not installed"), Lake.open(place):
        pass


def test_an_extension_that_is_none_is_reported_where_the_lake_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").write_bytes(b"not an extension")
    monkeypatch.setattr(connection, "extension", lambda name: tmp_path / "none")
    place = LakeLocation(tmp_path)
    connection.preload(place).join()
    with pytest.raises(LakeUsageError, match="the lake cannot be opened"), Lake.open(place):
        pass
