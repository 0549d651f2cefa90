"""The tokenizer: every word of the micro-world is one token, an invented name is two, anything else is bytes.

A byte-level BPE with `ignore_merges`: a word found in the vocabulary is taken whole; the only merges are
those that build the pieces of invented names, so that such a name is visibly of a class of its own and is
copied piece by piece. The chat template writes the start token; raw prompts get it from the tokenizer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nano.corpus import BOS, EOS, PAD, documents
from nano.world import FIRST_PIECES, NAMES, SECOND_PIECES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIALS = (PAD, BOS, EOS)
MIN_COUNT = 3  # a word this frequent in the sampled documents has a token
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "Assistant:{% generation %}{{ ' ' + message['content'] | trim + eos_token }}{% endgeneration %}"
    "{% if not loop.last %}{{ '\n\n' }}{% endif %}"
    "{% elif message['role'] == 'user' %}{{ 'Human: ' + message['content'] | trim + '\n' }}"
    "{% else %}{{ message['content'] | trim + '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def build(seed: int, sampled: int = 8000, context: int = 1024) -> PreTrainedTokenizerFast:
    """The tokenizer of the corpus that starts with this seed.

    Args:
        sampled: documents whose words are counted.
        context: the longest input in tokens that the tokenizer announces.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    merges = _merges()
    words = _words(splitter, seed, sampled)
    vocabulary: dict[str, int] = {}
    for token in [*SPECIALS, *sorted(splitter.alphabet()), *(a + b for a, b in merges), *words]:
        vocabulary.setdefault(token, len(vocabulary))
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    core.pre_tokenizer = splitter
    core.decoder = decoders.ByteLevel()
    start = [(BOS, vocabulary[BOS])]
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=start)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left",
        model_max_length=context,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _merges() -> list[tuple[str, str]]:
    """Merges that build each first piece (after a space), then each second piece, letter by letter."""
    merges: dict[tuple[str, str], None] = {}
    for piece in [*("Ġ" + first for first in FIRST_PIECES), *SECOND_PIECES]:
        for end in range(1, len(piece)):
            merges[piece[:end], piece[end]] = None
    return list(merges)


def _words(splitter: object, seed: int, sampled: int) -> list[str]:
    names = {f"Ġ{name}" for name in NAMES}
    counts: Counter[str] = Counter()
    for pieces in documents(seed, sampled):
        text = "".join(text for text, _ in pieces if text != EOS)
        counts.update(word for word, _ in splitter.pre_tokenize_str(text))  # type: ignore[attr-defined]
    kept = {word for word, count in counts.items() if count >= MIN_COUNT and word not in names and set(word) != {"Ċ"}}
    return sorted(kept)
