"""The pages of a principle that was asked for revisions alone, with no critique before them."""

from __future__ import annotations

import shutil
from pathlib import Path

from lake_rows import commit, instruction, response, revision
from starlette.testclient import TestClient

from alignery.config.preset import load
from alignery.view.access_control import AccessControl
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from warehouse import Lake


def test_a_principle_with_direct_revisions_shows_what_it_asked_and_what_it_changed(tmp_path: Path, empty: Path) -> None:
    home = shutil.copytree(empty, tmp_path / "home")
    with Lake.open(home) as lake:
        words = {"hash": "h", "id": "principle:kind:revision", "source": "If it is rude, make it kind."}
        lake.ledger.write("prompts", [words], run_id="run-1", message="words")
        commit(
            lake,
            instructions=[instruction("i0")],
            responses=[response("b0", "i0", "rude words")],
            revisions=[revision("v0", "i0", "b0", "kind words", critique_id=None)],
        )
    lakes = Lakes(home, load("nano"))
    client = TestClient(AccessControl(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765")
    listed, page = client.get("/words").text, client.get("/words/principle:kind").text
    row = client.get("/row/revisions/v0")
    lakes.close()
    assert "If it is rude, make it kind." in listed
    assert "/rows/revisions?principle_id=kind" in listed
    assert "/rows/critiques" not in listed
    assert "Revision request" in page
    assert "No critique." in page
    assert "<blockquote" not in page
    assert row.status_code == 200
    assert "If it is rude, make it kind." in row.text
