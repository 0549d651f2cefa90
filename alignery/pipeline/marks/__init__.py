"""People's marks: add one, list what to review next, measure how far people and judges agree.

with Lake.open(home) as lake:
    add(lake, Mark(target_id=id, by="ada", verdict="right"))
    for item in queue(lake, "pairs", "uncertainty", 200, by="ada"): ...
    agreement(lake)
"""

from alignery.pipeline.marks.agreement import agreement
from alignery.pipeline.marks.marks import add, add_all, of, queue
from tasks.review.mark import Mark, MarkError

__all__ = ["Mark", "MarkError", "add", "add_all", "agreement", "of", "queue"]
