"""The ledger's tables: one Arrow schema each, a comment (and a unit, where there is one) on every column.

A change of a name or a type, or a new column, is a change of `SCHEMA_VERSION` with a migration. The tables of records
are declared by the methods (`warehouse.schema.lake_schema`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from alignery.untrusted import excerpt
from warehouse.errors import LakeUsageError
from warehouse.schema.columns import CREATED, FLAG, INT, LONG, REAL, RUN, TEXT, TEXTS, WHEN, declared, may, need

Row = dict[str, Any]
# Many rows at once come as Arrow, without a Python object for each value.
Rows: TypeAlias = "Sequence[Mapping[str, Any]] | pa.Table"
SCHEMA_VERSION = 5

SQL_TYPES = {TEXT: "VARCHAR", FLAG: "BOOLEAN", INT: "INTEGER", LONG: "BIGINT", REAL: "DOUBLE", TEXTS: "VARCHAR[]"}
SQL_TYPES[WHEN] = "TIMESTAMPTZ"


def _estimated(name: str, type: pa.DataType, comment: str, unit: str = "") -> Iterator[pa.Field]:
    """A figure of a plan, with the interval that it is expected in."""
    yield may(name, type, f"{comment}, estimated", unit)
    for side, word in (("low", "lower"), ("high", "upper")):
        yield may(f"{name}_{side}", type, f"{word} end of the interval of {name}", unit)


LEDGER: dict[str, pa.Schema] = {
    "attempts": declared(
        "Every call made: accepted, rejected, unparsed or failed",
        need("id", TEXT, "content hash of this one call"),
        need("work_key", TEXT, "hash of everything that makes the work"),
        need("step", TEXT, "method.step"),
        need("fingerprint", TEXT, "hash of what the step's work has in common: prompt, model, sampling, settings"),
        need("parents", TEXTS, "ids of the records it was asked about"),
        need("inputs", TEXT, "what the work key holds beside the fingerprint", "JSON"),
        need("prompt_id", TEXT, "the prompt's id"),
        need("prompt_hash", TEXT, "content hash of the prompt (prompts.hash)"),
        need("model", TEXT, "identity of the model that was asked"),
        need("sampling", TEXT, "how the reply was drawn", "JSON"),
        may("seed", LONG, "the request's seed"),
        need("try_number", INT, "0 for the first try, more for retries"),
        need("state", TEXT, "accepted, rejected, unparsed or failed"),
        may("reason", TEXT, "why it is not accepted; null when it is"),
        need("final", FLAG, "whether this is the final attempt at its work key, so that it is never asked again"),
        may("raw_text", TEXT, "the reply as it came"),
        may("finish_reason", TEXT, "why the engine stopped"),
        may("tokens_in", INT, "prompt tokens", "tokens"),
        may("tokens_out", INT, "reply tokens", "tokens"),
        may("latency_s", REAL, "time from sending to reply", "seconds"),
        RUN,
        need("created_at", WHEN, "when it was answered, or failed", "UTC"),
        may("request_key", TEXT, "hash of what was sent, whatever is then read from the reply; null before version 2"),
        may(
            "tokens_cached", INT, "prompt tokens that the engine had in its cache; null where it does not say", "tokens"
        ),
        may("thought", TEXT, "what a reasoning model wrote before the reply; no record has it"),
        may(
            "replayed_from",
            TEXT,
            "if no request was sent: the attempt whose reply was read again, or known_reply",
        ),
    ),
    "commits": declared(
        "One row a commit: the ledger by which each is made only once",
        need("id", TEXT, "digest of the sorted attempt ids"),
        RUN,
        need("step", TEXT, "method.step"),
        need("fingerprint", TEXT, "the step's fingerprint"),
        need("attempts", INT, "attempts committed", "rows"),
        need("records", INT, "records committed", "rows"),
        CREATED,
    ),
    "runs": declared(
        "Runs: one row for each change of state, the newest is the current state",
        need("id", TEXT, "the run"),
        need("state", TEXT, "started, finished, failed or short"),
        need("flow", TEXT, "the flow"),
        may("preset", TEXT, "the preset it was started with"),
        may("config", TEXT, "the resolved configuration", "JSON"),
        may("config_hash", TEXT, "content hash of the configuration"),
        may("code_version", TEXT, "version of alignery"),
        may("totals", TEXT, "requests, rows and results of the run", "JSON"),
        may("message", TEXT, "one sentence for a person"),
        CREATED,
    ),
    "prompts": declared(
        "Prompts: every prompt and principle that was ever sent, by content hash",
        need("hash", TEXT, "content hash"),
        need("id", TEXT, "prompt id, or principle:<id>"),
        need("source", TEXT, "the whole template"),
        CREATED,
    ),
    "models": declared(
        "Models that were trained here",
        need("id", TEXT, "identity of the model"),
        need("path", TEXT, "its folder"),
        may("base_id", TEXT, "the model it was trained from"),
        may("base_path", TEXT, "that model's folder"),
        may("recipe", TEXT, "the training recipe"),
        may("tag", TEXT, "the published tag it was trained on (tags.name)"),
        may("export_hash", TEXT, "content hash of that export"),
        may("config", TEXT, "training configuration", "JSON"),
        may("metrics", TEXT, "what training measured", "JSON"),
        may("seconds", REAL, "time of training", "seconds"),
        RUN,
        CREATED,
        may("view", TEXT, "the view whose training split it was trained on; null before version 2"),
    ),
    "evals": declared(
        "Figures of evaluations: one row a model, suite and metric",
        need("id", TEXT, "content hash"),
        need("model", TEXT, "identity of the model"),
        may("model_path", TEXT, "its folder"),
        need("suite", TEXT, "the suite"),
        need("metric", TEXT, "the metric's name"),
        need("value", REAL, "the figure, in the metric's own unit"),
        need("count", INT, "answers that it rests on", "rows"),
        RUN,
        CREATED,
    ),
    "decisions": declared(
        "Which model an alias is bound to, whether a tag trains one, and why: one row a decision",
        need("id", TEXT, "content hash: of a decision of the gate or a policy, what it was made from"),
        need("alias", TEXT, "the alias of the presets; retrain, where it was decided on a tag"),
        need("state", TEXT, "promoted, kept (not promoted) or rolled back; of a tag: retrain or held back"),
        may("model", TEXT, "the model decided on; null where a roll-back leads to the preset's own"),
        may("model_path", TEXT, "its folder"),
        may("against", TEXT, "the model in place at the time"),
        need("decided_by", TEXT, "gate, hand or policy"),
        need("reasons", TEXTS, "why, a sentence each, the whole first"),
        may("figures", TEXT, "what it rests on; of the gate, by axis: means, interval of the difference, w", "JSON"),
        may("policy", TEXT, "the policy of the gate, or of retraining", "JSON"),
        RUN,
        CREATED,
        may("tag", TEXT, "the tag decided on (tags.name); null where it was a model"),
    ),
    "tags": declared(
        "Named snapshots; maintenance never expires one that is named here",
        need("name", TEXT, "the tag"),
        need("snapshot_id", LONG, "the lake's snapshot"),
        need("content_hash", TEXT, "sha256 over the exported rows"),
        need("rows", TEXT, "rows of each view", "JSON"),
        may("message", TEXT, "why it was named"),
        may("export_path", TEXT, "where it was exported to; null where it was only tagged"),
        RUN,
        CREATED,
    ),
    "plans": declared(
        "Plans: what a refresh was estimated to take; one row a step, and one for all of them, whose step is 'total'",
        need("id", TEXT, "the plan; its rows share it"),
        need("config_hash", TEXT, "content hash of the configuration that it is for (runs.config_hash)"),
        may("preset", TEXT, "the preset it was made for"),
        need("step", TEXT, "method.step, or total"),
        may("model", TEXT, "identity of the model that will be asked; null in the total of several"),
        need("source", TEXT, "what it was measured on: probe, or lake where that held enough before"),
        need("rows", INT, "finished work that it was measured on", "rows"),
        need("saved", LONG, "finished work of this refresh that the lake has, so that it is not asked", "rows"),
        need("level", REAL, "probability of the intervals", "0 to 1"),
        *_estimated("calls", LONG, "requests to send", "requests"),
        *_estimated("tokens_in", LONG, "prompt tokens", "tokens"),
        *_estimated("tokens_out", LONG, "reply tokens", "tokens"),
        *_estimated("minutes", REAL, "time; a step's is its share of the engine's", "minutes"),
        *_estimated("money", REAL, "price; null without a price file", "currency"),
        may("currency", TEXT, "what money is counted in"),
        may("priced_on", TEXT, "the date that the price file names", "YYYY-MM-DD"),
        may("price_in", REAL, "price of prompt tokens", "currency per million"),
        may("price_out", REAL, "price of reply tokens", "currency per million"),
        may("price_cached", REAL, "price of prompt tokens that the engine had in its cache", "currency per million"),
        RUN,
        CREATED,
    ),
    "finished": declared(
        "Instructions that went through every stage of a configuration: nothing is left to be asked for them under it",
        need("instruction_id", TEXT, "the instruction"),
        need("walk_key", TEXT, "hash of all that decides what is asked: stages, words, models, settings, code"),
        need("requests", INT, "requests that it took", "requests"),
        RUN,
        CREATED,
    ),
    "rounds": declared(
        "Rounds of a source of instructions in which every request is finished and every candidate judged",
        need("source_key", TEXT, "hash of all that decides what the source asks for"),
        need("round", INT, "its number, from 0"),
        need("requests", INT, "requests that it took", "requests"),
        need("candidates", INT, "candidates that it counts as", "rows"),
        need("topics", TEXTS, "the topic of each request, where requests have one"),
        need("accepted", TEXTS, "ids of the accepted instructions, in their order"),
        RUN,
        CREATED,
    ),
    "versions": declared(
        "Schema versions that this lake has had",
        need("version", INT, "schema version"),
        CREATED,
    ),
}


def note(field: pa.Field | pa.Schema) -> str:
    """The comment of a column or table, its unit in brackets."""
    unit = field.metadata.get(b"unit")
    return field.metadata[b"comment"].decode() + (f" [{unit.decode()}]" if unit else "")


def sql_type(field: pa.Field) -> str:
    return SQL_TYPES[field.type]


def quoted(text: str) -> str:
    """A SQL string literal. Raises LakeUsageError if the text has lone surrogates: bytes that were not UTF-8."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise LakeUsageError(
            f"got '{excerpt(text, 100)}', expected UTF-8; correct the setting or the name that it comes from"
        )
    return "'" + text.replace("'", "''") + "'"
