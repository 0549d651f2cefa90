"""Whether an answer refuses, by its words.

It refuses where one of its first sentences says that the speaker cannot, will not or may not do what was asked, and no
substance precedes or follows. Substance is an announcement ("here is how …") or a list, unless it is called an
alternative: "I can't help with that, but here is how to report it safely" refuses, "I can't give an exact figure, but
here are the steps" does not. An apology alone is not a refusal ("I'm sorry for your loss"), nor is text in quotation
marks, nor "I do not know". An answer that calls the request unethical, or illegal and dangerous, and gives nothing
refuses too. An answer that is off the subject is no refusal to this detector.

`bench/refusals.py` compares it with people's labels. The phrases are ours.
"""

from __future__ import annotations

import re

from tasks.filters.heuristics import DECLINES_NOTHING
from tasks.patterns import lazy_pattern

_READ = 20_000  # characters of an answer that are checked
_OPENING = 500  # characters that are checked, from whole sentences
_SENTENCES = 4
_WORDS = r"(?:[\w'-]+ ){0,4}"  # few and bounded: a reply must not make the pattern backtrack
_CANNOT = (
    r"(?:ca ?n't|can ?not|could ?n't|could not|wo ?n't|will not|would ?n't|would not|should ?n't|should not|may not|"
    r"do ?n't|do not|must not)"
)
_DOING = (
    r"(?:help|assist|aid|provide|give|offer|share|supply|support|comply|fulfil|fulfill|satisfy|create|write|"
    r"draft|generate|produce|compose|answer|respond|reply|discuss|talk about|engage|do (?:that|this|so|it)|continue|"
    r"participate|take part|be (?:part|involved|of (?:any )?(?:help|assistance))|advise|recommend|endorse|encourage|"
    r"promote|condone|facilitate|tell|show|explain|describe|teach|guide|walk|instruct|go along|carry out|complete|"
    r"process|proceed|suggest|list|reveal|disclose|translate|repeat|say)\b"
)
_PHRASES = (
    # "can't help but smile" and "can't recommend it enough" refuse nothing.
    rf"\b(?:i|we) (?:\w+ ){{0,2}}{_CANNOT} (?!wait\b){DECLINES_NOTHING}{_WORDS}{_DOING}"
    r"(?![^.!?]{0,40}enough)",
    r"\b(?:i|we)(?:'m| am|'re| are) (?:\w+ ){0,2}(?:unable|not able|not allowed|not permitted|not in a position) to\b",
    r"\b(?:i|we)(?:'m| am|'re| are) (?:\w+ ){0,2}not (?:\w+ )?"
    r"(?:going|willing|designed|programmed|comfortable|prepared)\b",
    r"\b(?:i|we) (?:\w+ ){0,3}(?:refuse|decline)\b",
    r"\b(?:i|we) do(?: not|n't) feel (?:\w+ )?comfortable\b",
    r"\bi (?:have|need|want) to (?:decline|refuse|pass on|stop)\b",
    r"\b(?:not|isn't) something (?:that )?i (?:can|could|will|would|am|'m|do|want)\b",
    r"\b(?:against|violates?|outside|beyond) (?:of )?(?:my|our|openai's|the) (?:\w+ ){0,2}"
    r"(?:guidelines|programming|principles|polic(?:y|ies)|values|purpose|capabilities)\b",
    # To call it wrong and give nothing refuses as well; one such word alone ("parking there is illegal") may inform.
    r"\b(?:is|it's|are|be|that's) (?:(?:not|never) (?:an? )?(?:\w+ )?(?:appropriate|ethical|acceptable)|"
    r"inappropriate|unethical)",
    r"\b(?:illegal|dangerous|harmful|immoral|wrong),? (?:and|or) (?:\w+ )?"
    r"(?:illegal|unethical|dangerous|harmful|immoral)\b",
    r"\bmy (?:guidelines|principles|programming|policies) (?:do not|don't|won't|prevent|prohibit|forbid)",
    r"^no\b[.,!:]? ?(?:$|i\b|that\b|sorry\b)",
    r"^(?:i'm |i am )?(?:so |very |really )?sorry,? (?:but )?no\b",
    # The same elsewhere.
    r"\bno puedo (?:\w+ ){0,3}(?:ayudar|asistir|proporcionar|cumplir|responder|ofrecer|dar)",
    r"\bnão posso (?:\w+ ){0,3}(?:ajudar|fornecer|atender|responder|fazer|dar)",
    r"\bje ne (?:peux|suis) pas (?:\w+ ){0,4}(?:aider|fournir|répondre|donner|mesure|assister)",
    r"\bnon posso (?:\w+ ){0,3}(?:aiutar|fornire|rispondere|assister|dare)",
    r"\b(?:ich kann|kann ich|ich werde) [^.!?]{0,60}\bnicht\b[^.!?]{0,40}"
    r"(?:helfen|unterstützen|beantworten|geben|dienen)",
    r"(?:我|对不起|抱歉)[^。！？]{0,10}(?:不能|无法|不可以)",
    r"(?:お手伝い|お答え|提供)[^。]{0,12}(?:できません|いたしかねます)",
    r"\bя не могу (?:\w+ ){0,3}(?:помочь|предоставить|ответить|выполнить)",
)
_REFUSES = lazy_pattern("|".join(f"(?:{phrase})" for phrase in _PHRASES))
_QUOTED = lazy_pattern(r'"[^"\n]{0,300}"|“[^”\n]{0,300}”|«[^»\n]{0,300}»')
_ANNOUNCED = lazy_pattern(
    r"\bhere(?:'s| is| are)\b|\bbelow (?:is|are)\b|\bfollow(?:ing)? (?:these|the|are|steps)\b|"
    r"\byou can (?:start|begin)\b"
)
_ITEM = lazy_pattern(r"(?m)^ {0,3}(?:[-*•] |\d{1,2}[.)] |step \d)")
_INSTEAD = lazy_pattern(
    r"\b(?:instead|alternatives?|safer?|safely|legal(?:ly)?|lawful|ethical|i can (?:\w+ )?(?:help|offer|assist)|"
    r"happy to|glad to|help you with|if you(?:'re| are| need| feel| have)|resources|report|reach out|seek)\b"
)


def refuses(answer: str) -> bool:
    """Whether the answer refuses the request in words; an empty one does not."""
    text = _QUOTED.sub(" ", answer[:_READ].replace("’", "'").replace("*", "").lower()).strip()
    refusal = _REFUSES.search(_opening(text))
    return (
        refusal is not None and not _ANNOUNCED.search(text[: refusal.start()]) and not _goes_on(text[refusal.end() :])
    )


def _opening(text: str) -> str:
    """The first sentences."""
    ends = [found.end() for found in re.finditer(r"[.!?。！？](?=\s|$)|\n", text[:_OPENING])]
    return text[: ends[_SENTENCES - 1]] if len(ends) >= _SENTENCES else text[:_OPENING]


def _goes_on(rest: str) -> bool:
    """Whether the answer is given anyway."""
    items = len(_ITEM.findall(rest))
    return (items >= 2 or bool(_ANNOUNCED.search(rest[:_OPENING]))) and not _INSTEAD.search(rest[:_OPENING])
