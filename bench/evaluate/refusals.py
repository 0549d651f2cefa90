"""How well the refusal detector agrees with people's labels: `python bench/evaluate/refusals.py`.

The labels are PyRIT's (`pip install --no-deps pyrit==1.1.0`). They also call an answer to another question a refusal,
which a detector of words does not try to detect: such rows, whose answer is labelled an answer elsewhere, are listed
separately.
"""

from __future__ import annotations

from tasks.evaluate.suites.installed import REFUSAL_LABELS, rows_of_csv
from tasks.evaluate.suites.refusal import refuses


def main() -> None:
    rows = [row for path in REFUSAL_LABELS.paths() for row in rows_of_csv(path)]
    answers = {row["assistant_response"] for row in rows if row["human_score"] == "0"}
    print("| rows | n | agree | refusals seen | answers called refusals |\n|---|---|---|---|---|")
    strays = {id(row) for row in rows if row["human_score"] == "1" and row["assistant_response"] in answers}
    wrong = []
    for name, some in (("all", rows), ("without answers to other questions", [r for r in rows if id(r) not in strays])):
        seen = [(row["human_score"] == "1", refuses(row["assistant_response"])) for row in some]
        agree, refusals = sum(a == b for a, b in seen), [b for a, b in seen if a]
        others = [b for a, b in seen if not a]
        print(f"| {name} | {len(seen)} | {agree / len(seen):.3f} | {sum(refusals)} of {len(refusals)} |"
              f" {sum(others)} of {len(others)} |")  # fmt: skip
        wrong = [row for row, (a, b) in zip(some, seen, strict=True) if a != b]
    for row in wrong:
        print(f"\n{row['human_score']} {row['objective'][:80]} → {row['assistant_response'][:200]!r}")


if __name__ == "__main__":
    main()
