"""Every durable effect under every fault: `python bench/crash.py [--postgres] [--all] [--minutes N]`.

A scenario (make, refresh, tag, publish, maintain, recover, train) is run once to count its effects. Then, for each kind
of them (one point of each name and side in each phase; with `--all` every point), and for each fault: the fault is
injected there, the lake is opened again and inspected, the phase is run once more, and the doctor checks the lake.
`lost` are journalled answers that cannot be read, `duplicated` rows that are there twice, `partial commits` those that
are there in part, `asked again` answers requested again beyond the one in flight, `wrong` cases with any other
deviation, `doctor silent` those after which the doctor reports no problem.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS / "crash"), str(TESTS / "helpers")]
NAMES = ("phase", "points × faults", "cases", "lost", "duplicated", "partial commits", "asked again", "wrong")
NAMES += ("doctor silent",)


@contextmanager
def server(wanted: bool) -> Iterator[str | None]:
    """The URL of a Postgres of its own, if one is wanted."""
    if not wanted:
        yield None
        return
    from servers import postgres

    folder = Path(tempfile.mkdtemp(prefix="alignery-"))
    try:
        with postgres(folder) as found:
            yield f"postgresql://alignery@127.0.0.1:{found.port}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    import judge
    import points
    from worker import Worker

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true", help="the catalog is on Postgres, not SQLite")
    parser.add_argument("--all", action="store_true", help="every point, not one of each kind")
    parser.add_argument("--minutes", type=float, default=60.0, help="then stop; cases are in a random order")
    given = parser.parse_args()
    end = time.monotonic() + given.minutes * 60
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * (len(NAMES) - 1))
    unsound = []
    with tempfile.TemporaryDirectory() as folder, server(given.postgres) as url:
        worker, base = Worker(), Path(folder) / "base"
        found = points.lay(worker, base, url)
        chosen = list(points.cases(found)) if given.all else points.distinct(found)
        for point, _ in chosen:
            sums[point.phase][0] += 1
        random.Random(0).shuffle(chosen)
        for point, fault in chosen:
            if time.monotonic() > end:
                break
            verdict = points.strike(worker, base, point, fault, Path(folder) / "case", examined=judge.QUICK)
            one = [0, 1, verdict.lost, verdict.duplicated, verdict.partial, verdict.asked_again, bool(verdict.wrong)]
            one.append(not verdict.problems)
            sums[point.phase] = [a + b for a, b in zip(sums[point.phase], one, strict=True)]
            if not verdict.sound:
                unsound.append((point, fault, verdict))
                print(*unsound[-1], file=sys.stderr, flush=True)
        worker.close()
    sums["all"] = [sum(column) for column in zip(*sums.values(), strict=True)]
    print("| " + " | ".join(NAMES) + " |\n|" + "---|" * len(NAMES))
    for phase, row in sums.items():
        print("| " + " | ".join(map(str, [phase, *row])) + " |")
    sys.exit(bool(unsound))


if __name__ == "__main__":
    main()
