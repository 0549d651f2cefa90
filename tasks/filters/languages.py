"""The language of a text, by its script and its commonest words: enough to check that a reply is in the language that
was requested. Languages outside `LANGUAGES` are not all kept apart from these: Ukrainian passes as Russian."""

from __future__ import annotations

from collections import Counter

from tasks.patterns import lazy_pattern

# The commonest words, yes and no, and those with which questions and requests begin. A word of several of these
# languages is in the list of each, so that it decides nothing between them; an unaccented letter alone is in none,
# since it may be a variable.
COMMON = {
    "english": """the of and to is in that with for was are am this you have it be been from they as on an or not by at
        what how why which who when where do does can will your my me we he she but if there would should could about
        some all over these those more per come no yes write give list explain describe name make tell use one into than
        then their its so man men war answer summarise summarize""",
    "german": """der die und das ist nicht ein eine mit auf für sich den dem von zu auch werden wird sie es in im an ich
        du wir er wie was warum wer wo wann welche welcher welches kann man oder aber wenn einen einem einer des am zum
        zur bei aus nach als noch nur sind war haben hat bitte schreibe erkläre nenne beschreibe gib liste über durch
        sein mir diese dieser drei zwei so weil um da dann kein keine ja nein beantworte antworte fasse zähle""",
    "french": """le la les et est une un des dans pour que vous nous avec pas sur sont du qui plus au cette de à en il
        elle je tu ce se ne par ou mais comment pourquoi quel quelle quels quelles où quand son sa ses leur aux être
        peut écris écrivez explique expliquez donne donnez décris nomme faire fait comme si on sans qu es me te ma ni
        entre dit liste non oui réponds répondez cite citez résume""",
    "spanish": """el la los las una es un en por para con no del que se su más como está muy pero de al lo cómo qué cuál
        cuáles cuándo dónde quién este esta son ser ha hay escribe explica da describe nombra tu mi me te sus sin sobre
        entre también cuando si ni puede hacer tres le nos porque come sí responde resume dime""",
    "italian": """il lo la gli le è una un di per con non che della sono nel dei anche più questo si in da al del come
        perché cosa quale qual quali quando dove chi qui ha essere scrivi spiega descrivi elenca dimmi mi ti suo sua
        delle alla dal nella ma se tra dell all nell tu me te ce ne no sì rispondi riassumi""",
    "portuguese": """os as é uma um em para com não do da dos das que se mais como está muito você são no na nos nas de
        por ao à ou mas qual quais quando onde quem porque escreva explique explica descreva liste diga seu sua meu
        minha isso este esta ser tem sem sobre entre também pelo pela come me te sim responda resuma cite posso""",
    "dutch": """het een en is niet van op te dat met voor zijn ook de den wordt werden naar aan je maar bij in die der
        wat hoe waarom welke wie waar wanneer kan om er of als uit nog dit deze we ze hij schrijf leg beschrijf noem
        geef door over per worden heeft hebben was men man drie geen ja nee beantwoord vat""",
}
# A word of a script; of Chinese and Japanese, which have no spaces, two signs. One Greek letter may be a variable.
_SCRIPTS = {
    "han": lazy_pattern("[\u3040-\u30ff\u4e00-\u9fff]{1,2}"),
    "korean": lazy_pattern("[\uac00-\ud7af]+"),
    "russian": lazy_pattern("[\u0400-\u04ff]+"),
    "greek": lazy_pattern("[\u0370-\u03ff]{2,}"),
    "arabic": lazy_pattern("[\u0600-\u06ff]+"),
    "hebrew": lazy_pattern("[\u0590-\u05ff]+"),
    "hindi": lazy_pattern("[\u0900-\u097f]+"),
}
_LATIN = lazy_pattern("[a-z\u00df-\u024f\u1e00-\u1eff]+")
_HAN, _KANA = lazy_pattern("[\u4e00-\u9fff]"), lazy_pattern("[\u3040-\u30ff]")
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
LANGUAGES = (*CODES.values(),)
_OF = {name: frozenset(words.split()) for name, words in COMMON.items()}


def language_of(text: str) -> str | None:
    """One of `LANGUAGES`, or None where neither script nor words identify one.

    A language with a script of its own needs more words than all other scripts together; Japanese is Chinese signs with
    kana among them. Of the others it is the one whose commonest words the text has most often.
    """
    words = Counter(_LATIN.findall(text.lower()))
    of_script = {name: len(script.findall(text)) for name, script in _SCRIPTS.items()}
    script = max(of_script, key=lambda name: of_script[name])
    if of_script[script] * 2 > words.total() + sum(of_script.values()):
        if script != "han":
            return script
        kana = len(_KANA.findall(text))
        return "japanese" if kana * 10 > kana + len(_HAN.findall(text)) else "chinese"
    scores = {name: sum(words[word] for word in known) for name, known in _OF.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] and list(scores.values()).count(scores[best]) == 1 else None
