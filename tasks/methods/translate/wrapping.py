"""What models put around a translation: labels in two languages, tags and quotes (removed), and remarks (rejected)."""

from __future__ import annotations

import re

from tasks.normalise import plain_answer

# "Sure! Here is the translation into German:", "Translation (German):"
_LABEL = (
    r"(?:(?:sure|certainly|of course)\b[,.!]*\s*)?(?:here(?: is|['’]s) )?(?:the |a |my )?(?:[a-z]{1,20} )?"
    r"translat(?:ion|ed (?:text|version))(?: (?:in|into|to|of) [^:\n]{1,40}| ?\([^():\n]{1,30}\))?"
)
# Languages as they call themselves, of `tasks.filters.languages.LANGUAGES`.
_OWN = {
    "english": "English",
    "german": "Deutsch|Auf Deutsch",
    "french": "Français|En français",
    "spanish": "Español|En español",
    "italian": "Italiano|In italiano",
    "portuguese": "Português|Em português",
    "dutch": "Nederlands|In het Nederlands",
    "japanese": "日本語",
    "korean": "한국어",
    "chinese": "中文|简体中文|繁體中文",
    "russian": "Русский|На русском|По-русски",
    "greek": "Ελληνικά|Στα ελληνικά",
    "arabic": "العربية|بالعربية",
    "hebrew": "עברית|בעברית",
    "hindi": "हिन्दी|हिंदी|हिन्दी में|हिंदी में",
}
_LABELLED = re.compile(r"^[\s#>*_-]{0,6}[^\W\d_][^\n:：]{0,40}[:：]", re.MULTILINE)
_TAGGED = re.compile(r"<([a-z]{3,20})>(.*)</\1>", re.DOTALL | re.IGNORECASE)
_LOW_QUOTED = re.compile(r"„([^„“”]+)[“”]")
# Above what is said about a text, or to it.
_REMARK = re.compile(
    r"\n[\s#>*_(\[-]{0,6}(?:(?:translator['’]s )?notes?|explanation|answer|anmerkung(?:en)?|hinweise?|erklärung|"
    r"erläuterung|antwort|remarques?|explication|réponse|notas?|explicación|respuesta|spiegazione|risposta|explicação|resposta|"
    r"opmerking|toelichting|antwoord|примечани[ея]|пояснение|ответ|σημείωση|εξήγηση|απάντηση|ملاحظة|شرح|الإجابة|إجابة|"
    r"הערה|הסבר|תשובה|नोट|टिप्पणी|व्याख्या|उत्तर|注|注意|注释|註|备注|说明|解释|回答|答案|答え|補足|説明|참고|설명|답변|답)"
    r"[*_]{0,3}\s?[:：]",
    re.IGNORECASE,
)


def unwrapped(reply: str, source: str, language: str, label: str) -> str:
    """The text in a reply without a label, an enclosing tag and enclosing quotes.

    Where the source begins with a label itself, "German: …" is part of the text.

    Args:
        language, label: as `reading.translation` has them.
    """
    labels = [_LABEL, re.escape(label)]
    if not _LABELLED.match(source):
        name = rf"(?:{language}|{_OWN[language]})"
        labels += [
            rf"{name}(?: translation| version| text)?",
            rf"in {name}(?:,? (?:this|that|it)(?: text| sentence)?(?: is| would be| reads| translates to| says))?",
            # "Die Übersetzung lautet:"
            rf"(?:\w{{1,6}} ){{0,3}}{re.escape(label)}(?: \w{{1,12}}){{0,3}}(?: ?\([^():\n]{{1,30}}\))?",
        ]
    text = plain_answer(reply, labels)
    for _ in range(2):
        if (found := _TAGGED.fullmatch(text)) and f"<{found[1]}>" not in source:
            text = plain_answer(found[2], labels)
        if (found := _LOW_QUOTED.fullmatch(text)) and source.strip()[:1] not in "\"“„«「'‘":
            text = found[1].strip()
    return text


def has_remark(text: str, source: str) -> bool:
    """Whether a line is labelled as a note, an explanation or an answer, and the source has fewer labelled lines."""
    remarks = len(_REMARK.findall(text))
    return remarks > sum(found.start() > 0 for found in _LABELLED.finditer(source.strip()))
