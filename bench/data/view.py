"""How fast the pages of `alignery view` are: `python bench/data/view.py HOME [--rounds 20]`, or `--rows 1000000`.

Each page is requested through the HTTP application in this process. At the first request nothing is cached of the
snapshot; p95 is over all requests, each of another row, topic, word or page if the page has such. CPU is that of all
threads, because the machine may be busy with other work. Next to it is the time of the plain SQL that fetches the same
rows, through the lake's own connection.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.testclient import TestClient

from alignery.config.preset import load
from alignery.view.access_control import AccessControl
from alignery.view.app import Site, application
from alignery.view.lakes import Lakes
from bench.data.view_lake import make
from warehouse import Lake

# Page → its address, and the plain SQL for what it shows. In braces are values that differ by request.
PAGES = {
    "overview, a run": ("/", "SELECT * FROM funnel WHERE run_id = '{run}'"),
    "overview, all": ("/?run=all", "SELECT * FROM funnel"),
    "report of a run": ("/report/{run}", "SELECT * FROM usage WHERE run_id = '{run}'"),
    "tables": ("/rows", "SHOW TABLES"),
    "rows": ("/rows/attempts", "SELECT * FROM attempts ORDER BY created_at DESC LIMIT 50"),
    "next page": ("/rows/attempts?_after={after}", "SELECT * FROM attempts WHERE created_at <= '{at}'"
                  " ORDER BY created_at DESC LIMIT 50"),
    "rows of a view": ("/rows/sft", "SELECT * FROM sft ORDER BY created_at DESC LIMIT 50"),
    "rejects": ("/rows/rejects?run_id={run}", "SELECT * FROM rejects WHERE run_id = '{run}' LIMIT 50"),
    "filter": ("/rows/instructions?topic={topic}", "SELECT * FROM instructions WHERE topic = '{topic}'"
               " ORDER BY created_at DESC LIMIT 50"),
    "search": ("/rows/responses?_search={word}", "SELECT * FROM responses WHERE contains(lower(text), '{word}')"
               " ORDER BY created_at DESC LIMIT 50"),
    "sort": ("/rows/attempts?_sort=-tokens_out", "SELECT * FROM attempts ORDER BY tokens_out DESC LIMIT 50"),
    "row by id": ("/go?id={short}", "SELECT id FROM instructions WHERE starts_with(id, '{short}')"),
    "story": ("/row/instructions/{id}", "SELECT * FROM revisions WHERE instruction_id = '{id}'"),
    "uses": ("/row/instructions/{id}/uses", "SELECT id FROM sft WHERE instruction_id = '{id}'"),
    "pairs": ("/pairs/preferences", "SELECT * FROM preferences ORDER BY created_at DESC LIMIT 20"),
    "principles": ("/words", "SELECT * FROM principles"),
    "a principle": ("/words/principle:{principle}", "SELECT * FROM revisions WHERE principle_id = '{principle}' AND"
                    " changed ORDER BY created_at DESC LIMIT 12"),
    "models": ("/models", "SELECT * FROM models"),
    "a model": ("/models/{model}", "SELECT * FROM models WHERE id = '{model}'"),
    "two models' answers": ("/models?a={model}&b={other}", "SELECT * FROM eval_answers LIMIT 20"),
    "snapshots": ("/snapshots", "SELECT * FROM ducklake_snapshots('lake')"),
    "live": ("/live", "SELECT * FROM runs ORDER BY created_at DESC LIMIT 8"),
    "marks": ("/marks?by=ada&kind=pairs&order=random", "SELECT id FROM revisions USING SAMPLE 1"),
}  # fmt: skip


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", nargs="?", type=Path, help="a lake; left out, one is made with --rows instructions")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=list(PAGES), help="names of pages")
    given = parser.parse_args()
    if given.home and given.home.exists():
        return measure(given.home, given.rounds, given.only)
    with tempfile.TemporaryDirectory() as folder:
        home = given.home or Path(folder)
        make(home, given.rows)
        measure(home, given.rounds, given.only)
    return None


def measure(home: Path, rounds: int, names: list[str]) -> None:
    lakes = Lakes(home, load("nano"))
    client = TestClient(AccessControl(application(Site(lakes, read_s=600)), 8765), base_url="http://localhost:8765")
    given = values(lakes.now, client, rounds)
    (count,) = lakes.now.rows("SELECT (SELECT count(*) FROM instructions) AS i, (SELECT count(*) FROM attempts) AS a")
    print(f"{count['i']:,} instructions, {count['a']:,} attempts, {rounds} rounds\n")
    heads = ["Page", "first, ms", "median", "p95", "CPU, p95", "plain SQL, median", "CPU", "ratio", "of CPU"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in names:
        path, query = PAGES[name]
        try:
            urls, queries = ([text.format(**one) for one in given] for text in (path, query))
        except KeyError:
            continue  # the lake has none of them
        pages = [_ms(lambda url=url: _got(client, url)) for url in urls]
        plain = [_ms(lambda query=query: lakes.now.rows(query)) for query in queries]
        (wall, cpu), (sql, sql_cpu) = (
            [statistics.median(some) for some in zip(*of, strict=True)] for of in (pages, plain)
        )
        late, busy = (sorted(some)[max(0, round(0.95 * len(pages)) - 1)] for some in zip(*pages, strict=True))
        figures = [f"{one:.0f}" for one in (pages[0][0], wall, late, busy, sql, sql_cpu)]
        print(f"| {name} | {' | '.join(figures)} | {wall / sql:.1f} | {cpu / sql_cpu:.1f} |", flush=True)


def values(lake: Lake, client: TestClient, rounds: int) -> list[dict[str, Any]]:
    """The values for the braces, a dict for each round."""
    queries = {
        "id": f"SELECT id AS v FROM instructions WHERE state = 'accepted' USING SAMPLE {rounds}",
        "topic": f"SELECT DISTINCT topic AS v FROM instructions LIMIT {rounds}",
        "run": "SELECT DISTINCT run_id AS v FROM attempts",
        "principle": "SELECT DISTINCT principle_id AS v FROM revisions",
        "model": "SELECT DISTINCT id AS v FROM models",
    }
    found = {name: [row["v"] for row in lake.rows(query)] for name, query in queries.items()}
    found["other"] = found["model"][1:] + found["model"][:1]
    found["short"] = [id[:10] for id in found["id"]]
    found["word"] = [f"word{n}" for n in range(rounds)]
    found |= dict(zip(("after", "at"), _pages(client, rounds), strict=True))
    return [{name: some[n % len(some)] for name, some in found.items() if some} for n in range(rounds)]


def _pages(client: TestClient, rounds: int) -> tuple[list[str], list[str]]:
    """Where pages of attempts begin, and the times of their first rows."""
    after, at, url = [], [], "/rows/attempts?format=json"
    for _ in range(rounds):
        page = client.get(url).raise_for_status().json()
        if not page["next"]:
            break
        after.append(quote(page["next"]))
        at.append(page["rows"][-1]["created_at"])
        url = f"/rows/attempts?format=json&_after={after[-1]}"
    return after, at


def _got(client: TestClient, url: str) -> None:
    answer = client.get(url, follow_redirects=False)
    assert answer.status_code in (200, 303), f"{url}: {answer.text[:300]}"


def _ms(do: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and of CPU."""
    began, used = time.perf_counter(), time.process_time()
    do()
    return 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - used)


if __name__ == "__main__":
    main()
