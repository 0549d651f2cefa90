"""Every durable effect under every fault: `python bench/crash.py [--distinct]`.

A scenario (make, refresh, tag, publish, maintain, recover, train) is run once to count its effects. Then, for each of
them, before and after, and for each fault: the phase is struck there, the lake opened again, looked at, and the phase
run once more. `--distinct` takes one point of each kind. `lost` are journalled answers that cannot be read, `doubled`
rows that are there twice, `half seen` commits that are there in part, `asked again` answers that were asked for again
beyond the one in flight, `wrong` cases in which anything else was not as it should be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "crash"))


def main() -> None:
    import points

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distinct", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        found = points.lay(base)
        chosen = points.distinct(found) if given.distinct else list(points.cases(found))
        sums: dict[str, list[int]] = defaultdict(lambda: [0] * 6)
        unsound = []
        for point, fault in chosen:
            verdict = points.strike(base, point, fault, Path(folder) / "case")
            one = [1, verdict.lost, verdict.doubled, verdict.half_seen, verdict.asked_again, bool(verdict.wrong)]
            sums[fault] = [a + b for a, b in zip(sums[fault], one, strict=True)]
            if not verdict.sound:
                unsound.append((point, fault, verdict))
    names = ("fault", "cases", "lost", "doubled", "half seen", "asked again", "wrong")
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for fault, row in sums.items():
        print("| " + " | ".join(map(str, [fault, *row])) + " |")
    for case in unsound:
        print(*case, file=sys.stderr)
    sys.exit(bool(unsound))


if __name__ == "__main__":
    main()
