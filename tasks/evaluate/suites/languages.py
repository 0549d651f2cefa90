"""Which language a text is in, by its script and its commonest words: enough to see whether an instruction to answer
in a language was followed, and no more."""

from __future__ import annotations

import re
from collections import Counter

# Words that hardly stand in a text of another language of these.
_WORDS = {
    "english": "the of and to is in that with for was are this you have it be from they as on",
    "german": "der die und das ist nicht ein eine mit auf für sich den dem von zu auch werden wird sie",
    "french": "le les et est une des dans pour que vous nous avec pas sur sont du qui plus au cette",
    "spanish": "el los y es una en por para con no las del que se su más como está muy pero",
    "italian": "il gli e è una di per con non che della sono un nel dei anche più questo si le",
    "portuguese": "os e é uma em para com não do da que se mais como está muito você são no as",
    "dutch": "het een en is niet van op te dat met voor zijn ook de wordt naar aan je maar bij",
}
_SCRIPTS = {
    "japanese": re.compile("[\u3040-\u30ff]"),
    "korean": re.compile("[\uac00-\ud7af]"),
    "chinese": re.compile("[\u4e00-\u9fff]"),
    "russian": re.compile("[\u0400-\u04ff]"),
    "greek": re.compile("[\u0370-\u03ff]"),
    "arabic": re.compile("[\u0600-\u06ff]"),
    "hebrew": re.compile("[\u0590-\u05ff]"),
    "hindi": re.compile("[\u0900-\u097f]"),
}
LANGUAGES = (*_WORDS, *_SCRIPTS)
_OF = {name: frozenset(words.split()) for name, words in _WORDS.items()}
_LETTER = re.compile(r"[^\W\d_]")


def language_of(text: str) -> str | None:
    """One of `LANGUAGES`; None where nothing tells. Japanese is Chinese characters with kana among them."""
    letters = len(_LETTER.findall(text))
    of_script = {name: len(script.findall(text)) for name, script in _SCRIPTS.items()}
    if of_script["japanese"] * 10 > letters:
        return "japanese"
    script = max(of_script, key=lambda name: of_script[name])
    if letters and of_script[script] * 2 > letters:
        return script
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    scores = {name: sum(words[word] for word in known) for name, known in _OF.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] and list(scores.values()).count(scores[best]) == 1 else None
