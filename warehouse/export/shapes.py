"""The shapes that rows are exported in."""

from __future__ import annotations

# Each shape is a query, shapes/<name>.sql: the trainer's own columns, named here, then `prompt_text`, whose hash says
# on which side a row falls, then all that its view knows beside, which is its provenance.
SHAPES: dict[str, tuple[str, ...]] = {
    "sft": ("messages",),
    "engrave": ("messages",),
    "preferences": ("prompt", "chosen", "rejected"),
    "qac": ("question", "answer", "correction", "template_id"),
    "qac_warmup": ("question", "answer", "correction"),
    "qac_revised": ("question", "answer", "correction", "template_id"),
    "corrected": ("prompt", "chosen", "rejected"),
    "verbose_cloning": ("messages",),
    "constitutional": ("messages",),
    "soft_preferences": ("prompt", "chosen", "rejected", "p"),
    "instructed": ("instruction", "input", "output"),
    "alpaca": ("instruction", "input", "output"),
    "sharegpt": ("conversations",),
}
