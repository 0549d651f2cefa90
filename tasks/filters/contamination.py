"""Keeps evaluation prompts out of the data: the same words, a long run of the same words, and near copies.

After GPT-3's decontamination (arXiv 2005.14165, appendix C): a run of 13 words, or the whole of a prompt that is
shorter but has 8 of them. Words are compared without case, punctuation, and how Unicode writes them. Departures:
1. The size is fixed and not a percentile of each set's lengths, so what one set makes of a text depends on no other.
2. In scripts that put no space between words, each letter is a word.
3. A prompt of fewer than 8 words counts only where it is the whole text: it is too common to be inside others.
4. A near copy, by ROUGE-L as in the near-duplicate gate, counts too: another word in every twelve leaves no run of 13.

Sets are files that the preset names. `presets/held_out.jsonl` is ours; Self-Instruct's 252 user-oriented tasks may not
be shipped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alignery.textfiles import read_jsonl
from alignery.untrusted import excerpt
from tasks.evaluate.held_out import HeldOutError
from tasks.filters.rouge import RougePool

REASON = "contaminated: evaluation prompt"
NEAR = "contaminated: near-duplicate of an evaluation prompt"
COPY = 0.85  # ROUGE-L F above which a text is a copy, and not another of the same pattern; our choice
_ASCII = re.compile(r"[a-z0-9]+")
# Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class Contamination:
    """The evaluation prompts of a run.

    Args:
        prompts: their texts.
        n: the length in words of a run that counts as taken over.
        shortest: a prompt of fewer than n words, but of so many, counts as taken over with all of its words in a row.
        near: a text that is more similar to a prompt (ROUGE-L F, 0 to 1) is a near copy of it; 1 looks for none.
    """

    def __init__(self, prompts: Iterable[str], n: int = 13, shortest: int = 8, near: float = 1.0) -> None:
        if n < 1:
            raise ValueError(f"contamination: got n = {n}, expected at least 1 word; 13 is usual")
        self._whole: set[tuple[str, ...]] = set()
        self._runs: dict[int, set[tuple[str, ...]]] = {}  # by length
        prompts = list(prompts)
        self._pool, self._near = RougePool(prompts) if near < 1 else None, near
        for prompt in prompts:
            if found := tuple(words(prompt)):
                self._whole.add(found)
                if (length := min(n, len(found))) >= min(n, shortest):
                    self._runs.setdefault(length, set()).update(_runs(found, length))

    def reason(self, text: str, near: float | None = None) -> str | None:
        """`REASON` if the text is an evaluation prompt or shares a run of words with one, `NEAR` if it is a near copy,
        else None. `near` replaces the default threshold."""
        found = tuple(words(text))
        shared = any(run in runs for length, runs in self._runs.items() for run in _runs(found, length))
        if shared or found in self._whole:
            return REASON
        return NEAR if self._pool and self._pool.is_near(text, near or self._near) else None


def words(text: str) -> list[str]:
    """A text's words, so that two ways to write the same are the same: letters with their marks, and numbers."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if plain.isascii():
        return _ASCII.findall(plain)
    cleaned = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in plain)
    return _UNSPACED.sub(r" \g<0> ", cleaned).split()


def load(path: Path, field: str) -> list[str]:
    """The texts of an evaluation set: a field of each row of a .jsonl or .parquet file.

    Raises:
        HeldOutError: another kind of file, a damaged one, a row without the field, or one that is no text.
        TextFileError: no such file, or one that is not JSON Lines.
    """
    if path.suffix not in _READERS:
        raise HeldOutError(f"{excerpt(path)}: expected a file that ends in {' or '.join(_READERS)}; give one")
    texts = []
    for number, value in _READERS[path.suffix](path, field):
        if not isinstance(value, str):
            fault = f"got {excerpt(repr(value), 80)}, expected a text"
            raise HeldOutError(f"{path}: {number}: {field}: {fault}; name the field that holds the prompt")
        texts.append(value)
    if not texts:
        raise HeldOutError(f"{path}: got no rows, expected an evaluation set")
    return texts


def _jsonl(path: Path, field: str) -> Iterator[tuple[str, Any]]:
    for number, row in read_jsonl(path):
        if not isinstance(row, dict) or field not in row:
            got = f"the fields {excerpt(list(row), 120)}" if isinstance(row, dict) else excerpt(repr(row), 80)
            raise HeldOutError(f"{path}: line {number}: {field}: got {got}; name the field that holds the prompt")
        yield f"line {number}", row[field]


def _parquet(path: Path, field: str) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow.names.count(field) != 1:  # or twice
                got = excerpt(file.schema_arrow.names, 120)
                raise HeldOutError(f"{path}: {field}: got the columns {got}; name the column that holds the prompt")
            columns = (batch.column(field) for batch in file.iter_batches(columns=[field]))
            yield from ((f"row {number}", value) for number, value in enumerate(_values(columns), 1))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise HeldOutError(f"{path}: cannot be read as Parquet: {excerpt(error)}; give the whole file") from error


def _values(columns: Iterable[Any]) -> Iterator[Any]:
    return (value for column in columns for value in column.to_pylist())


_READERS = {".jsonl": _jsonl, ".parquet": _parquet}


def _runs(found: tuple[str, ...], length: int) -> Iterator[tuple[str, ...]]:
    return (found[start : start + length] for start in range(len(found) - length + 1))
