"""Which language a text is in, by its script and its commonest words: enough to see whether a text is in the language
that was asked for, and no more."""

from __future__ import annotations

import re
from collections import Counter

# The commonest words, and those with which questions and requests begin. A word of several of these languages stands
# in each, so that it decides nothing between them.
_WORDS = {
    "english": """the of and to is in that with for was are this you have it be from they as on a an or not by at what
        how why which who when where do does can your my me i we he she but if there would should could about some
        write give list explain describe name make tell use one into than then their its so no""",
    "german": """der die und das ist nicht ein eine mit auf für sich den dem von zu auch werden wird sie es in im an ich
        du wir er wie was warum wer wo wann welche welcher welches kann man oder aber wenn einen einem einer des am zum
        zur bei aus nach als noch nur sind war haben hat bitte schreibe erkläre nenne beschreibe gib liste über durch
        sein mir diese dieser drei zwei so weil""",
    "french": """le la les et est une un des dans pour que vous nous avec pas sur sont du qui plus au cette de à en il
        elle je tu ce se ne par ou mais comment pourquoi quel quelle quels quelles où quand son sa ses leur aux être
        peut écris écrivez explique expliquez donne donnez décris nomme faire fait comme si on sans d l qu j""",
    "spanish": """el la los las y es una un en por para con no del que se su más como está muy pero de a al lo o cómo
        qué cuál cuáles cuándo dónde quién este esta son ser ha hay escribe explica da describe nombra tu mi me te sus
        sin sobre entre también cuando si ni puede hacer tres""",
    "italian": """il lo la gli le e è una un di per con non che della sono nel dei anche più questo si i in a da al del
        come perché cosa quale quali quando dove chi ha essere scrivi spiega descrivi elenca dimmi mi ti suo sua delle
        alla dal nella o ma se tra l d un dell all nell""",
    "portuguese": """o a os as e é uma um em para com não do da dos das que se mais como está muito você são no na nos
        nas de por ao à ou mas qual quais quando onde quem porque escreva explique descreva liste diga seu sua meu
        minha isso este esta ser tem sem sobre também pelo pela entre""",
    "dutch": """het een en is niet van op te dat met voor zijn ook de wordt naar aan je maar bij in die der wat hoe
        waarom welke wie waar wanneer kan om er of als uit nog dit deze ik we ze hij schrijf leg beschrijf noem geef
        door over worden heeft hebben was men drie""",
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
# By ISO 639-1.
CODES = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
    "nl": "dutch",
    "ja": "japanese",
    "ko": "korean",
    "zh": "chinese",
    "ru": "russian",
    "el": "greek",
    "ar": "arabic",
    "he": "hebrew",
    "hi": "hindi",
}
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
