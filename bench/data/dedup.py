"""Does the near-duplicate gate decide as `rouge_score` does, how much faster, and what does a large pool cost?

    OMP_NUM_THREADS=1 python bench/data/dedup.py [--pairs 200000] [--run 2000] [--pool 10000] [--grow 10000 … 300000]

`RougePool` is compared with the loop of Self-Instruct's code: `rouge_score`, ROUGE-L, no stemmer, F, the largest of all
pool texts, dropped above 0.7. Texts are drawn from the words of our seeds by their frequency there, about 16 words each
(the paper's mean is 15.9); one in three is an earlier text with some words changed, so that both verdicts, and
figures in between, are common. Last, MinHash on responses; twins within 0.05 of its threshold are not judged.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from prompts import Library
from tasks.filters.minhash import THRESHOLD, NearDuplicates, jaccard, shingles
from tasks.filters.rouge import Nearest, RougePool

LIMIT = 0.7
BATCH = 64  # candidates compared at once, as in `self_instruct.gate`
FEW = 8  # candidates that the loop is timed on at once
SCRIPTS = {
    "Chinese": "请 介绍 一下 你 自己 的 家乡 用 三句话 写 一首 关于 秋天 雨水 的 短诗 解释 为什么 海水 是 咸的",
    "Arabic": "اكتب قصة قصيرة عن قطة تحب البحر اشرح لماذا السماء زرقاء صف مدينتك القديمة في ثلاث جمل بسيطة",
    "Hindi": "बिल्ली के बारे में एक छोटी कहानी लिखो समझाओ कि आकाश नीला क्यों है अपने शहर का वर्णन तीन वाक्यों में करो",
    "emoji": "🐱 🌊 🐟 🍽️ 😋 🎉 🎊 🎁 🎂 🍰 🥳 🚗 🚕 🚙 🚌 🚎 🌻 🌼 🌷 🌹 🍎 🍐 🍊 🍋 🍌 🍉",
}


class Texts:
    """An endless source of instruction-like texts, the same for the same seed."""

    def __init__(self, words: list[str], seed: int) -> None:
        self._words, self._random, self._old = words, random.Random(seed), [" ".join(words[:8])]

    def __iter__(self) -> Iterator[str]:
        while True:
            text = self._changed() if self._random.random() < 1 / 3 else self._new()
            if len(self._old) < 5_000:
                self._old.append(text)
            yield text

    def take(self, count: int) -> list[str]:
        return list(islice(self, count))

    def _new(self) -> str:
        return " ".join(self._random.choices(self._words, k=max(4, round(self._random.gauss(16, 7)))))

    def _changed(self) -> str:
        words = self._random.choice(self._old).split()
        for _ in range(self._random.randint(0, len(words) * 2 // 3)):
            words[self._random.randrange(len(words))] = self._random.choice(self._words)
        return " ".join(words)


def seed_texts() -> list[str]:
    return [seed.instruction for seed in Library().seeds()]


def words() -> list[str]:
    """The words of our seeds, each as often as it occurs there."""
    return " ".join(seed_texts()).split()


class Loop:
    """The reference: every pool text is scored again for each candidate."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts, self._scorer = list(texts), RougeScorer(["rougeL"], use_stemmer=False)

    def nearest(self, text: str) -> tuple[float, str | None]:
        scores = [self._scorer.score(text, other)["rougeL"].fmeasure for other in self.texts]
        best = max(range(len(scores)), key=scores.__getitem__)
        return scores[best], self.texts[best] if scores[best] else None


def pairs(count: int) -> None:
    """Sampled pairs: is the figure the same to the last bit, and the decision?"""
    texts, draw = Texts(words(), 1).take(4_000), random.Random(2)
    same = decided = above = 0
    for _ in range(count):
        one, other = draw.choice(texts), draw.choice(texts)
        if draw.random() < 0.5:  # pairs that are close are where decisions differ, if anywhere
            tokens = one.split()
            tokens[draw.randrange(len(tokens)) :] = other.split()[: draw.randint(0, 12)]
            other = " ".join(tokens) or other
        expected, found = Loop([other]).nearest(one)[0], RougePool([other]).nearest(one).similarity
        same += found == expected
        decided += (found > LIMIT) == (expected > LIMIT)
        above += expected > LIMIT
    print(f"| sampled pairs | {count:,} | {above:,} | {decided:,} | {same:,} |", flush=True)


def whole_run(name: str, count: int, seed: int, limit: float = LIMIT) -> None:
    """A run starting from the seeds, in which accepted texts join the pool at once."""
    seeds = seed_texts()
    pool, loop = RougePool(seeds), Loop(seeds)
    same = decided = above = 0
    for text in Texts(words(), seed).take(count):
        expected, near = loop.nearest(text), pool.nearest(text)
        same += (near.similarity, near.text) == expected
        decided += (near.similarity > limit) == (expected[0] > limit)
        above += expected[0] > limit
        if expected[0] <= limit:
            loop.texts.append(text)
        if near.similarity <= limit:
            pool.add(text)
    print(f"| {name} | {count:,} | {above:,} | {decided:,} | {same:,} |", flush=True)


def speed(size: int, rounds: int = 5) -> None:
    """Candidates a second, the two alternating; the loop gets only a few, different ones each time."""
    source = Texts(words(), 5)
    texts, candidates = source.take(size), source.take(8 * BATCH)
    pool, loop = RougePool(texts), Loop(texts)
    ours, theirs = [], []
    for number in range(rounds):
        begun = time.perf_counter()
        asked = candidates[number * FEW : (number + 1) * FEW]
        for text in asked:
            loop.nearest(text)
        theirs.append((time.perf_counter() - begun) / len(asked))
        begun = time.perf_counter()
        _compared(pool, candidates)
        ours.append((time.perf_counter() - begun) / len(candidates))
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    one, other = 1 / statistics.median(ours), 1 / statistics.median(theirs)
    spread = f"{statistics.median(ratios):,.0f} ({min(ratios):,.0f}–{max(ratios):,.0f})"
    print(f"| {size:,} | {one:,.0f} | {other:.2f} | {spread} |")


def growth(sizes: list[int]) -> None:
    """One pool that grows: time of a candidate and resident memory."""
    source = Texts(words(), 6)
    candidates = source.take(4 * BATCH)
    pool, empty = RougePool(), _resident()
    for size in sizes:
        begun, more = time.perf_counter(), size - len(pool)
        for text in islice(source, more):
            pool.add(text)
        added = (time.perf_counter() - begun) / more
        begun = time.perf_counter()
        _compared(pool, candidates)
        seconds = (time.perf_counter() - begun) / len(candidates)
        grown = _resident() - empty
        figures = (f"{1e3 * seconds:.2f}", f"{1e9 * seconds / size:.1f}", f"{1e6 * added:.0f}", f"{grown / 2**20:.0f}")
        print(f"| {size:,} | {' | '.join(figures)} |", flush=True)


def scripts(count: int = 200) -> None:
    """Texts without Latin letters: of those that come again with a word more, how many are seen?"""
    for name, script_text in SCRIPTS.items():
        draw, parts = random.Random(7), script_text.split()
        join = "" if name in ("Chinese", "emoji") else " "
        texts = [draw.sample(parts, 10) for _ in range(count)]
        again = [join.join([*text[:5], draw.choice(parts), *text[5:]]) for text in texts]
        pool, loop = RougePool(), Loop([""])
        ours = theirs = similar = 0
        for text, twin in zip(texts, again, strict=True):
            plain = join.join(text)
            similar += pool.nearest(plain).similarity > LIMIT
            pool.add(plain)
            loop.texts = [plain]
            ours += pool.nearest(twin).similarity > LIMIT
            theirs += loop.nearest(twin)[0] > LIMIT
        print(f"| {name} | {count} | {ours} | {theirs} | {similar} |", flush=True)


def responses(count: int) -> None:
    """Answers of about 600 characters, one in five an earlier one with some words changed: marked as they should be?"""
    source, draw = Texts(words(), 8), random.Random(9)
    texts = [" ".join(source.take(6)) for _ in range(count * 4 // 5)]
    twins = {count * 4 // 5 + n: draw.randrange(len(texts)) for n in range(count - len(texts))}
    for original in twins.values():
        tokens = texts[original].split()
        for _ in range(round(len(tokens) * draw.uniform(0, 0.12))):
            tokens[draw.randrange(len(tokens))] = draw.choice(words())
        texts.append(" ".join(tokens))
    index, marked = NearDuplicates(), set[str]()
    before, begun = _resident(), time.perf_counter()
    for start in range(0, count, BATCH):
        batch = texts[start : start + BATCH]
        marked |= {found.id for found in index.mark([str(start + place) for place in range(len(batch))], batch)}
    seconds, grown = time.perf_counter() - begun, _resident() - before
    exact = {n: jaccard(shingles(texts[n]), shingles(texts[original])) for n, original in twins.items()}
    clear = [n for n, true in exact.items() if abs(true - THRESHOLD) > 0.05]
    right = sum((str(n) in marked) == (exact[n] >= THRESHOLD) for n in clear)
    wrong = len(marked - {str(n) for n in twins})
    figures = (f"{count / seconds:,.0f}", f"{grown / count / 1024:.1f}", f"{right} of {len(clear)}", str(wrong))
    print(f"| {count:,} | {' | '.join(figures)} |", flush=True)


def _compared(pool: RougePool, candidates: list[str]) -> list[Nearest]:
    batches = (candidates[start : start + BATCH] for start in range(0, len(candidates), BATCH))
    return [near for batch in batches for near in pool.compare(batch, LIMIT)]


def _resident() -> int:
    """Bytes that this process holds in memory now."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--run", type=int, default=2_000)
    parser.add_argument("--pool", type=int, default=10_000)
    parser.add_argument("--responses", type=int, default=20_000)
    parser.add_argument("--grow", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000])
    given = parser.parse_args()
    print("| pool texts | a candidate, ms | a pair, ns | adding a text, µs | memory, MiB |\n|---|---|---|---|---|")
    growth(given.grow)
    print("\n| pool texts | candidates a second | rouge_score loop | ratio, median (range) |\n|---|---|---|---|")
    speed(given.pool)
    print("\n| script | texts | seen again | by rouge_score | taken for another text's |\n|---|---|---|---|---|")
    scripts()
    print("\n| responses | a second | memory, kB each | twins marked as their exact Jaccard says | others marked |")
    print("|---|---|---|---|---|")
    responses(given.responses)
    print("\n| compared | cases | above 0.7 | same decision | same figure to the last bit |\n|---|---|---|---|---|")
    pairs(given.pairs)
    whole_run("whole run", given.run, 3)
    whole_run("whole run, other texts", given.run, 4)


if __name__ == "__main__":
    main()
