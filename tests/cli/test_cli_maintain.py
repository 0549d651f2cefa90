"""The verbs that keep the lake: a dry run and a diagnosis at once, the real thing as a flow."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from command import alignery, sentence

from warehouse import Lake


def test_a_dry_run_and_the_doctor_tell(empty: Path, tmp_path: Path) -> None:
    assert json.loads(alignery("maintain", "--json", home=empty).stdout)["applied"] is False
    assert "Nothing to do." in alignery("maintain", home=empty).stdout
    done = alignery("doctor", "--json", home=tmp_path / "none")
    assert done.returncode == 1
    assert "problem" in {finding["state"] for finding in json.loads(done.stdout)}


def test_a_time_that_is_too_short_or_none_is_one_sentence(empty: Path) -> None:
    assert "expected at least 1h" in sentence(alignery("maintain", "--apply", "--age", "5m", home=empty))
    assert "expected a number and a unit" in sentence(alignery("maintain", "--keep", "soon", home=empty))


@pytest.mark.flow
def test_the_flow_leaves_a_run_and_an_artifact_and_nothing_where_nothing_is_to_do(empty: Path, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client

    from flows.maintain import maintain

    home = shutil.copytree(empty, tmp_path / "home")

    async def once() -> list[str | None]:
        assert (await maintain("nano", home, apply=True)).idle
        with Lake.open(home) as lake:
            for number in range(12):
                row = {"hash": f"h{number}", "id": "p", "source": "s"}
                lake.ledger.write("prompts", [row], run_id="r", message="a test")
        await maintain("nano", home, apply=True)
        async with get_client() as client:
            return [artifact.key for artifact in await client.read_latest_artifacts()]

    assert "maintenance" in asyncio.run(once())
    with Lake.open(home, read_only=True) as lake:
        runs = lake.rows("SELECT flow, state FROM runs ORDER BY rowid")
        assert [(row["flow"], row["state"]) for row in runs] == [("maintain", "started"), ("maintain", "finished")]
        assert len(lake.rows("FROM ducklake_list_files('lake', 'prompts')")) == 1
