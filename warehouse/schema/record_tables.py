"""The record tables: what steps make of replies, each row with what it is made from and the attempt that wrote it."""

from __future__ import annotations

import pyarrow as pa

from warehouse.schema.columns import CREATED, FLAG, INT, REAL, RUN, TEXT, TEXTS, declared, may, need


def record(comment: str, *columns: pa.Field) -> pa.Schema:
    """What every record has: who it is, what it is made from, and the attempt that wrote it."""
    return declared(
        comment,
        need("id", TEXT, "content hash of the work key and the place in its reply"),
        need("parents", TEXTS, "ids of the records it is made from; empty for a root"),
        may("attempt_id", TEXT, "the attempt that wrote it; null where no model was asked, as for a seed"),
        need("work_key", TEXT, "hash of everything that made it: step, prompt, model, sampling, inputs"),
        *columns,
        RUN,
        CREATED,
    )


_INSTRUCTION = need("instruction_id", TEXT, "the instruction it belongs to (instructions.id)")
_RESPONSE = need("response_id", TEXT, "the first answer it belongs to (responses.id)")
_ROUND = need("round", INT, "round of critique and revision, from 1")
_PRINCIPLE = (
    need("principle_id", TEXT, "the constitutional principle"),
    need("principle_hash", TEXT, "content hash of the principle's words in this step (prompts.hash)"),
)
_PAIR = (
    need("a_id", TEXT, "one of the two: an answer or a revision"),
    need("b_id", TEXT, "the other"),
    need("first", TEXT, "which of them was shown first: a or b"),
    *_PRINCIPLE,
)

RECORDS: dict[str, pa.Schema] = {
    "instructions": record(
        "Instructions: the seeds, and every candidate that a model wrote with the gate's verdict",
        may("request_id", TEXT, "the request that asked for it, shared by the candidates of one reply"),
        need("topic", TEXT, "topic it was asked under"),
        need("text", TEXT, "the instruction"),
        need("origin", TEXT, "seed, self_instruct or red_team"),
        need("state", TEXT, "accepted or rejected"),
        may("reason", TEXT, "why it was rejected; null when accepted"),
        may("similarity", REAL, "highest ROUGE-L F against the pool", "0 to 1"),
        may("mean_similarity", REAL, "mean ROUGE-L F against the pool", "0 to 1"),
        may("nearest", TEXT, "text of the most similar one in the pool"),
        may("question_type", TEXT, "the type of question it was asked as (red_team); null elsewhere, before version 3"),
    ),
    "topics": record(
        "Topics for one type of question, every candidate with its verdict",
        may("request_id", TEXT, "the request that asked for it, shared by the candidates of one reply"),
        need("question_type", TEXT, "the type of question"),
        need("text", TEXT, "the topic"),
        need("state", TEXT, "accepted or rejected"),
        may("reason", TEXT, "why it was rejected; null when accepted"),
    ),
    "classifications": record(
        "Whether an instruction is a classification task",
        _INSTRUCTION,
        need("classification", FLAG, "whether its output is one of few labels"),
    ),
    "instances": record(
        "Instances of an instruction: an input and its output, every candidate with its verdict",
        _INSTRUCTION,
        need("place", INT, "its place in the reply, from 1"),
        need("form", TEXT, "input_first, or output_first for a classification task"),
        need("input", TEXT, "what the instruction is done on; empty where it says all that is needed"),
        need("output", TEXT, "the answer"),
        need("state", TEXT, "accepted or rejected"),
        may("reason", TEXT, "why it was rejected; null when accepted"),
    ),
    "responses": record(
        "Answers: base answers, principled ones with the thought that led to them, and those of other methods",
        _INSTRUCTION,
        need(
            "kind",
            TEXT,
            "base, principled, verbose, sample (one of two to compare), or upstream (another model's, to be corrected)",
        ),
        need("text", TEXT, "the answer, thought pruned"),
        may("thought", TEXT, "the internal thought; never trained on"),
        may("rules", TEXTS, "names of the rules that the thought cites"),
        may("complete", FLAG, "false where it was cut short, which trains nobody; null before version 3"),
        may("upstream", TEXT, "alias of the model that wrote it, where it is another one's"),
    ),
    "critiques": record(
        "Critiques of an answer under a principle",
        _INSTRUCTION,
        _RESPONSE,
        need("target_id", TEXT, "what is criticised: the first answer or a revision"),
        _ROUND,
        *_PRINCIPLE,
        need("text", TEXT, "the critique"),
    ),
    "revisions": record(
        "Revisions of an answer after a critique",
        _INSTRUCTION,
        _RESPONSE,
        need("target_id", TEXT, "what is revised: the first answer or the revision before"),
        need("critique_id", TEXT, "the critique it follows"),
        _ROUND,
        *_PRINCIPLE,
        need("text", TEXT, "the revised answer"),
        need("changed", FLAG, "whether it differs from what it revises"),
    ),
    "corrections": record(
        "Corrections of an answer by an Aligner",
        _INSTRUCTION,
        _RESPONSE,
        need("template_id", TEXT, "the correction template"),
        need("text", TEXT, "the corrected answer"),
        need("is_copy", FLAG, "whether it repeats the answer"),
        may("target_id", TEXT, "what is corrected in a squad: the first answer or a correction; else null"),
        may("aligner", TEXT, "alias of the squad's member that wrote it; else null"),
    ),
    "comparisons": record(
        "Comparisons of two answers under a principle, one row for each order that they were shown in",
        _INSTRUCTION,
        *_PAIR,
        may("thought_id", TEXT, "the thought before the choice (thoughts.id); null where none was asked for"),
        need("p_a", REAL, "probability that a is better; after a thought, clamped to 0.4 to 0.6", "0 to 1"),
    ),
    "thoughts": record(
        "Thoughts before a comparison; never trained on",
        _INSTRUCTION,
        *_PAIR,
        need("text", TEXT, "what speaks for each of the two"),
    ),
    "inspections": record(
        "Scores of an answer by a squad's inspector",
        _INSTRUCTION,
        _RESPONSE,
        need("target_id", TEXT, "what is scored: the first answer or a correction"),
        need("inspector", TEXT, "its subject: overall, ethical, …"),
        need("score", REAL, "probability that the answer is fit to be given", "0 to 1"),
    ),
    "ratings": record(
        "Ratings of an answer by a judge, one dimension each",
        _INSTRUCTION,
        _RESPONSE,
        need("score", REAL, "the score, by halves; nano gives whole ones from 1", "0 to 5"),
        may("target_id", TEXT, "what is rated: an answer or a revision; null before version 3"),
        may("dimension", TEXT, "what it is rated for: accuracy, helpfulness, …; null before version 3"),
        may("reason", TEXT, "the judge's explanation; null where it gave none"),
    ),
    "verdicts": record(
        "A judge's verdicts on two answers to a held-out prompt, one row for each order they were shown in",
        need("prompt_id", TEXT, "the held-out prompt"),
        need("a_id", TEXT, "one answer (eval_answers.id)"),
        need("b_id", TEXT, "the other (eval_answers.id)"),
        need("dimension", TEXT, "what is judged: helpful, harmless, …"),
        need("first", TEXT, "which of them was shown first: a or b"),
        need("winner", TEXT, "a, b or tie"),
    ),
    "eval_answers": record(
        "Answers to held-out prompts, for evaluation; never exported",
        need("prompt_id", TEXT, "the held-out prompt"),
        need("suite", TEXT, "the suite it belongs to"),
        need("prompt", TEXT, "what was asked"),
        need("text", TEXT, "the answer"),
    ),
}
