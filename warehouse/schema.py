"""The tables of the lake: one Arrow schema each, a comment (and a unit, where there is one) on every column.

The DDL, the check of every row that comes in, and what `alignery tables` prints are all derived from here.
A change of a name or a type is a change of `SCHEMA_VERSION`; a test pins both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

Row = dict[str, Any]
# Many rows at once come as Arrow, without a Python object for each value.
Rows: TypeAlias = "Sequence[Mapping[str, Any]] | pa.Table"
SCHEMA_VERSION = 3

TEXT, FLAG, INT, LONG, REAL = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float64()
TEXTS, WHEN = pa.list_(TEXT), pa.timestamp("us", tz="UTC")
_SQL = {TEXT: "VARCHAR", FLAG: "BOOLEAN", INT: "INTEGER", LONG: "BIGINT", REAL: "DOUBLE", TEXTS: "VARCHAR[]"}
_SQL[WHEN] = "TIMESTAMPTZ"


class LakeError(ValueError):
    """Something about the lake that the caller can mend; the message is one sentence that says how."""


class LakeFault(RuntimeError):
    """The lake failed under way: a full disk, a server that is gone, a file that was lost. What had been acknowledged
    is there; the message is one sentence that says what happened and what to do."""


def _need(name: str, type: pa.DataType, comment: str, unit: str = "") -> pa.Field:
    return pa.field(name, type, nullable=False, metadata={"comment": comment} | ({"unit": unit} if unit else {}))


def _may(name: str, type: pa.DataType, comment: str, unit: str = "") -> pa.Field:
    return _need(name, type, comment, unit).with_nullable(True)


def _table(comment: str, *columns: pa.Field) -> pa.Schema:
    return pa.schema(columns, metadata={"comment": comment})


def _record(comment: str, *columns: pa.Field) -> pa.Schema:
    """What every record has: who it is, what it is made from, and the attempt that wrote it."""
    return _table(
        comment,
        _need("id", TEXT, "content hash of the work key and the place in its reply"),
        _need("parents", TEXTS, "ids of the records it is made from; empty for a root"),
        _may("attempt_id", TEXT, "the attempt that wrote it; null where no model was asked, as for a seed"),
        _need("work_key", TEXT, "hash of everything that made it: step, prompt, model, sampling, inputs"),
        *columns,
        _RUN,
        _CREATED,
    )


_RUN = _need("run_id", TEXT, "the run that committed it")
_CREATED = _need("created_at", WHEN, "when it was made", "UTC")
_INSTRUCTION = _need("instruction_id", TEXT, "the instruction it belongs to (instructions.id)")
_RESPONSE = _need("response_id", TEXT, "the first answer it belongs to (responses.id)")
_ROUND = _need("round", INT, "round of critique and revision, from 1")
_PRINCIPLE = (
    _need("principle_id", TEXT, "the constitutional principle"),
    _need("principle_hash", TEXT, "content hash of the principle's words in this step (prompts.hash)"),
)


def _foreseen(name: str, type: pa.DataType, comment: str, unit: str = "") -> Iterator[pa.Field]:
    """A figure of a plan, with the interval that it is expected in."""
    yield _may(name, type, f"{comment}, foreseen", unit)
    for side, word in (("low", "lower"), ("high", "upper")):
        yield _may(f"{name}_{side}", type, f"{word} end of the interval of {name}", unit)


RECORDS: dict[str, pa.Schema] = {
    "instructions": _record(
        "Instructions: the seeds, and every candidate that a model wrote with the gate's verdict",
        _may("request_id", TEXT, "the request that asked for it, shared by the candidates of one reply"),
        _need("topic", TEXT, "topic it was asked under"),
        _need("text", TEXT, "the instruction"),
        _need("origin", TEXT, "seed or self_instruct"),
        _need("state", TEXT, "accepted or rejected"),
        _may("reason", TEXT, "why it was rejected; null when accepted"),
        _may("similarity", REAL, "highest ROUGE-L F against the pool", "0 to 1"),
        _may("mean_similarity", REAL, "mean ROUGE-L F against the pool", "0 to 1"),
        _may("nearest", TEXT, "text of the most similar one in the pool"),
    ),
    "responses": _record(
        "Answers: base answers, and principled ones with the thought that led to them",
        _INSTRUCTION,
        _need("kind", TEXT, "base or principled"),
        _need("text", TEXT, "the answer, thought pruned"),
        _may("thought", TEXT, "the internal thought; never trained on"),
        _may("rules", TEXTS, "names of the rules that the thought cites"),
    ),
    "critiques": _record(
        "Critiques of an answer under a principle",
        _INSTRUCTION,
        _RESPONSE,
        _need("target_id", TEXT, "what is criticised: the first answer or a revision"),
        _ROUND,
        *_PRINCIPLE,
        _need("text", TEXT, "the critique"),
    ),
    "revisions": _record(
        "Revisions of an answer after a critique",
        _INSTRUCTION,
        _RESPONSE,
        _need("target_id", TEXT, "what is revised: the first answer or the revision before"),
        _need("critique_id", TEXT, "the critique it follows"),
        _ROUND,
        *_PRINCIPLE,
        _need("text", TEXT, "the revised answer"),
        _need("changed", FLAG, "whether it differs from what it revises"),
    ),
    "corrections": _record(
        "Corrections of an answer by an Aligner",
        _INSTRUCTION,
        _RESPONSE,
        _need("template_id", TEXT, "the correction template"),
        _need("text", TEXT, "the corrected answer"),
        _need("is_copy", FLAG, "whether it repeats the answer"),
    ),
    "comparisons": _record(
        "Comparisons of two answers under a principle, asked in both orders",
        _INSTRUCTION,
        _need("a_id", TEXT, "the first of the two"),
        _need("b_id", TEXT, "the second of the two"),
        *_PRINCIPLE,
        _need("p_a", REAL, "probability that a is better, mean of both orders", "0 to 1"),
        _may("p_a_first", REAL, "the same with a shown first", "0 to 1"),
        _may("p_a_second", REAL, "the same with a shown second", "0 to 1"),
    ),
    "ratings": _record(
        "Ratings of an answer by a judge",
        _INSTRUCTION,
        _RESPONSE,
        _need("score_1_5", REAL, "expected score", "1 to 5"),
    ),
    "eval_answers": _record(
        "Answers to held-out prompts, for evaluation; never exported",
        _need("prompt_id", TEXT, "the held-out prompt"),
        _need("suite", TEXT, "the suite it belongs to"),
        _need("prompt", TEXT, "what was asked"),
        _need("text", TEXT, "the answer"),
    ),
}

LEDGER: dict[str, pa.Schema] = {
    "attempts": _table(
        "Every call made: accepted, rejected, unparsed or failed",
        _need("id", TEXT, "content hash of this one call"),
        _need("work_key", TEXT, "hash of everything that makes the work"),
        _need("step", TEXT, "method.step"),
        _need("fingerprint", TEXT, "hash of what the step's work has in common: prompt, model, sampling, settings"),
        _need("parents", TEXTS, "ids of the records it was asked about"),
        _need("inputs", TEXT, "what the work key holds beside the fingerprint", "JSON"),
        _need("prompt_id", TEXT, "the prompt's id"),
        _need("prompt_hash", TEXT, "content hash of the prompt (prompts.hash)"),
        _need("model", TEXT, "identity of the model that was asked"),
        _need("sampling", TEXT, "how the reply was drawn", "JSON"),
        _may("seed", LONG, "the request's seed"),
        _need("try_number", INT, "0 for the first try, more for retries"),
        _need("state", TEXT, "accepted, rejected, unparsed or failed"),
        _may("reason", TEXT, "why it is not accepted; null when it is"),
        _need("final", FLAG, "whether this settles the work key, so that it is never asked again"),
        _may("raw_text", TEXT, "the reply as it came"),
        _may("finish_reason", TEXT, "why the engine stopped"),
        _may("tokens_in", INT, "prompt tokens", "tokens"),
        _may("tokens_out", INT, "reply tokens", "tokens"),
        _may("latency_s", REAL, "time from sending to reply", "seconds"),
        _RUN,
        _need("created_at", WHEN, "when it was answered, or failed", "UTC"),
        _may("request_key", TEXT, "hash of what was sent, whatever is then read from the reply; null before version 2"),
        _may(
            "tokens_cached", INT, "prompt tokens that the engine had in its cache; null where it does not say", "tokens"
        ),
        _may("replayed_from", TEXT, "the attempt whose reply was read again; null where the model was asked"),
    ),
    "commits": _table(
        "One row a commit: the ledger that makes each land once",
        _need("id", TEXT, "digest of the sorted attempt ids"),
        _RUN,
        _need("step", TEXT, "method.step"),
        _need("fingerprint", TEXT, "the step's fingerprint"),
        _need("attempts", INT, "attempts committed", "rows"),
        _need("records", INT, "records committed", "rows"),
        _CREATED,
    ),
    "runs": _table(
        "Runs: one row for each change of state, the newest says how it stands",
        _need("id", TEXT, "the run"),
        _need("state", TEXT, "started, finished, failed or short"),
        _need("flow", TEXT, "the flow"),
        _may("preset", TEXT, "the preset it was started with"),
        _may("config", TEXT, "the resolved configuration", "JSON"),
        _may("config_hash", TEXT, "content hash of the configuration"),
        _may("code_version", TEXT, "version of alignery"),
        _may("totals", TEXT, "what came of it", "JSON"),
        _may("message", TEXT, "one sentence for a person"),
        _CREATED,
    ),
    "prompts": _table(
        "The words: every prompt and principle that was ever sent, by content hash",
        _need("hash", TEXT, "content hash"),
        _need("id", TEXT, "prompt id, or principle:<id>"),
        _need("source", TEXT, "the whole template"),
        _CREATED,
    ),
    "models": _table(
        "Models that were trained here",
        _need("id", TEXT, "identity of the model"),
        _need("path", TEXT, "its folder"),
        _may("base_id", TEXT, "the model it was trained from"),
        _may("base_path", TEXT, "that model's folder"),
        _may("recipe", TEXT, "the training recipe"),
        _may("tag", TEXT, "the published tag it was trained on (tags.name)"),
        _may("export_hash", TEXT, "content hash of that export"),
        _may("config", TEXT, "training configuration", "JSON"),
        _may("metrics", TEXT, "what training measured", "JSON"),
        _may("seconds", REAL, "time of training", "seconds"),
        _RUN,
        _CREATED,
        _may("view", TEXT, "the view whose training split it was trained on; null before version 2"),
    ),
    "evals": _table(
        "Figures of evaluations: one row a model, suite and metric",
        _need("id", TEXT, "content hash"),
        _need("model", TEXT, "identity of the model"),
        _may("model_path", TEXT, "its folder"),
        _need("suite", TEXT, "the suite"),
        _need("metric", TEXT, "the metric's name"),
        _need("value", REAL, "the figure, in the metric's own unit"),
        _need("count", INT, "answers that it rests on", "rows"),
        _RUN,
        _CREATED,
    ),
    "decisions": _table(
        "Which model stands behind an alias, whether a tag trains one, and why: one row a decision",
        _need("id", TEXT, "content hash: of a decision of the gate or a policy, what it was made from"),
        _need("alias", TEXT, "the alias of the presets; retrain, where it was decided on a tag"),
        _need("state", TEXT, "promoted, kept (not promoted) or rolled back; of a tag: retrain or held back"),
        _may("model", TEXT, "the model decided on; null where a roll-back leads to the preset's own"),
        _may("model_path", TEXT, "its folder"),
        _may("against", TEXT, "the model that stood there"),
        _need("by", TEXT, "gate, hand or policy"),
        _need("reasons", TEXTS, "why, a sentence each, the whole first"),
        _may("figures", TEXT, "what it rests on; of the gate, by axis: means, interval of the difference, w", "JSON"),
        _may("policy", TEXT, "the policy of the gate, or of retraining", "JSON"),
        _RUN,
        _CREATED,
        _may("tag", TEXT, "the tag decided on (tags.name); null where it was a model"),
    ),
    "tags": _table(
        "Named snapshots; maintenance never expires one that is named here",
        _need("name", TEXT, "the tag"),
        _need("snapshot_id", LONG, "the lake's snapshot"),
        _need("content_hash", TEXT, "sha256 over the exported rows"),
        _need("rows", TEXT, "rows of each view", "JSON"),
        _may("message", TEXT, "why it was named"),
        _may("export_path", TEXT, "where it was exported to; null where it was only tagged"),
        _RUN,
        _CREATED,
    ),
    "plans": _table(
        "Plans: what a refresh was foreseen to take; one row a step, and one for all of them, whose step is 'total'",
        _need("id", TEXT, "the plan; its rows share it"),
        _need("config_hash", TEXT, "content hash of the configuration that it is for (runs.config_hash)"),
        _may("preset", TEXT, "the preset it was made for"),
        _need("step", TEXT, "method.step, or total"),
        _may("model", TEXT, "identity of the model that will be asked; null in the total of several"),
        _need("source", TEXT, "what it was measured on: probe, or lake where that held enough before"),
        _need("rows", INT, "finished work that it was measured on", "rows"),
        _need("saved", LONG, "finished work of this refresh that the lake has, so that it is not asked", "rows"),
        _need("level", REAL, "probability of the intervals", "0 to 1"),
        *_foreseen("calls", LONG, "requests to send", "requests"),
        *_foreseen("tokens_in", LONG, "prompt tokens", "tokens"),
        *_foreseen("tokens_out", LONG, "reply tokens", "tokens"),
        *_foreseen("minutes", REAL, "time; a step's is its share of the engine's", "minutes"),
        *_foreseen("money", REAL, "price; null without a price file", "currency"),
        _may("currency", TEXT, "what money is counted in"),
        _may("priced_on", TEXT, "the date that the price file names", "YYYY-MM-DD"),
        _may("price_in", REAL, "price of prompt tokens", "currency per million"),
        _may("price_out", REAL, "price of reply tokens", "currency per million"),
        _may("price_cached", REAL, "price of prompt tokens that the engine had in its cache", "currency per million"),
        _RUN,
        _CREATED,
    ),
    "versions": _table(
        "Schema versions that this lake has had",
        _need("version", INT, "schema version"),
        _CREATED,
    ),
}

TABLES: dict[str, pa.Schema] = RECORDS | LEDGER


def table(name: str) -> pa.Schema:
    """The schema of a table. Raises LakeError naming the tables when there is none of that name."""
    if name not in TABLES:
        raise LakeError(f"the lake has no table {name!r}; its tables are {', '.join(TABLES)}")
    return TABLES[name]


def note(field: pa.Field | pa.Schema) -> str:
    """The comment of a column or table, its unit in brackets."""
    unit = field.metadata.get(b"unit")
    return field.metadata[b"comment"].decode() + (f" [{unit.decode()}]" if unit else "")


def sql_type(field: pa.Field) -> str:
    return _SQL[field.type]


def ddl(catalog: str) -> Iterator[str]:
    """The statements that make every table in an attached catalog, comments included."""
    for name, schema in TABLES.items():
        columns = ", ".join(
            f'"{field.name}" {sql_type(field)}{"" if field.nullable else " NOT NULL"}' for field in schema
        )
        yield f"CREATE TABLE {catalog}.{name} ({columns})"
    yield from comments(catalog)


def comments(catalog: str) -> Iterator[str]:
    """The statements that comment every table and column."""
    for name, schema in TABLES.items():
        yield f"COMMENT ON TABLE {catalog}.{name} IS {quoted(note(schema))}"
        for field in schema:
            yield f'COMMENT ON COLUMN {catalog}.{name}."{field.name}" IS {quoted(note(field))}'


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
