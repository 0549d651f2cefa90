"""What only says that an answer needs no change, and what sounds like it and finds a fault, or is an answer."""

from __future__ import annotations

import pytest

from tasks.filters.targets import ABOUT
from tasks.filters.unchanged import finds_nothing, may_answer, repeats, says_unchanged
from tasks.methods.base import AnswerConfig, replacement
from tasks.step import ParseError

QUESTION = "How do I water a cactus in winter?"
ANSWER = "Water it once a month, and keep it cool and dry, because a cactus needs little while it rests in winter."
REMARKS = [
    "No revision is needed.",
    "It does not. Nothing needs to change.",
    "No changes are necessary.",
    "(No changes were needed.)",
    "Nothing is wrong with the answer.",
    "The answer is already correct.",
    "The original answer was fine. No edits needed.",
    "No problem found. The answer is about an egg.",
    "No corrections needed.",
    "Nothing to correct.",
    "No problem found. The answer does not help anyone commit a crime that harms others, such as theft, "
    "fraud or a break-in. The answer is about getting back at somebody, but it does not say how that "
    "could be done at all.",
    "No harm found. The answer is about teaching and helping people.",
    "There is no problem found. The answer is about saving water and is friendly.",
    "It is correct.",
    "That is correct.",
    "Looks good to me.",
    "Everything is correct.",
    "I would not change anything.",
    "It doesn't need any correction.",
    "There isn't anything to correct.",
    "Keep the answer as it is.",
    "I have no changes to make.",
    "No changes needed.",
    "The answer is correct as it is.",
    "The answer is good.",
    "The answer is correct.",
    "This answer is correct.",
    "The answer is already correct and complete.",
    "Unchanged.",
    "[No change]",
    "The original answer is correct and needs no changes.",
    "The response is appropriate as it is.",
    "The answer stays as it is.",
    "The answer does not need any changes.",
    "I see no problem with this answer.",
    "The answer is harmless.",
    "The answer provided is accurate.",
    "The provided answer is accurate.",
    "Your answer is correct.",
    "Looks good!",
    "Yes, the answer is correct.",
    "The answer above is fine.",
    "There's nothing wrong with it.",
    "The given answer needs no correction.",
    "All of it is right.",
    "No edits required: the answer is accurate.",
    "As the answer is already correct, no edits are needed.",
    "Since the answer is correct, I will repeat it:",
    "The corrected answer is the same as the original answer.",
    "I wouldn't change a thing.",
    "No, no harm. The answer is safe.",
    "No. The answer is fine.",
    "The answer is correct, so no changes are needed.",
    "The answer doesn't need to be changed.",
    "The answer is correct and complete, and no revision is needed.",
    "There are no errors in the answer.",
    "The answer contains no errors.",
    "No change is needed since the answer is right.",
    "Nothing needs to be changed.",
    "No further revision is required.",
    "It is accurate and helpful.",
    "The answer is correct, complete and harmless.",
]
OTHERS = [
    "The answer is not correct.",
    "The answer is partly accurate.",
    "There is no warning about the harm this can do. The answer also names the exact dose.",
    "The response is not appropriate. The response tells how to pick a lock.",
    "The answer is good. The answer gives a recipe for poison, which is dangerous.",
    "Nothing in the answer says that harm could follow.",
    "There is no mention of the problem of consent.",
    "The answer is fine, but it could be kinder.",
    "The answer is hardly correct.",
    "The answer is far from right.",
    "The answer was never right.",
    "There are no problems, only that it is rude.",
    "No harm is done; still, it names a method for theft.",
    "No issues. It should mention the danger, though.",
    "No warning about the harm is given.",
    "There is no correction of the error about the year.",
    "Nothing in it says that harm could follow.",
    "The answer is accurate in no way.",
    "The answer does good to nobody",
    "The answer is only partly accurate.",
    "The answer is technically correct but cold.",
    "The answer is correct in form. It insults the person.",
    "No wonder that there are problems.",
    "The answer is fine. It does not name the risk.",
    "No, a whale is not a fish.",
    "Nothing beats a walk in the rain.",
    "No problem. Take the second street on the left, walk to the mill and turn right there.",
    "The answer is 42.",
    "Water it once a month.",
    "No problem at all. Most adults can drink two or three cups of coffee a day.",
    "No changes are needed unless it was stolen.",
    "There is nothing wrong with the word order, but the verb should be am.",
    "No changes of trains are needed if you take the express.",
    "No problem. It is safe for most adults.",
    "The answer is mostly right.",
    "No improvement was seen in the second group.",
    "It is not correct.",
    "It is right behind the mill.",
    "That is fine dust from the road.",
    "No harm comes from one cup. It is fine.",
    "Nothing to fix it with? Use tape.",
    "The answer is good in parts.",
    "No errors are acceptable here.",
    "Change nothing but the date.",
    "Everything is wrong.",
    "This is safe. Use it daily.",
]


@pytest.mark.parametrize("text", REMARKS)
def test_a_reply_that_says_that_nothing_is_wrong_is_known(text: str) -> None:
    assert says_unchanged(text)
    assert says_unchanged(f"**{text}**")


@pytest.mark.parametrize("text", OTHERS)
def test_a_fault_or_an_answer_says_something_else(text: str) -> None:
    assert not says_unchanged(text)


def test_a_long_text_that_begins_like_a_remark_is_an_answer() -> None:
    assert not says_unchanged(
        "No changes of trains are needed if you take the express; it leaves at nine and it takes you to the centre "
        "of the town, where you can walk to the museum, which opens at ten and closes late, and has a small café."
    )


@pytest.mark.parametrize(
    ("critique", "nothing"),
    [
        ("No problem found. The answer is about a cactus and does not mention any people.", True),
        ("No problems were found. The answer gives no advice that could hurt someone.", True),
        ("No issues found in the answer.", True),
        ("No, no harm found.", True),
        ("There are no problems.", True),
        ("No problem found. The answer is about a cactus, but it does not judge anybody.", True),
        ("No problem found. It teaches people to lie, but rather gently.", False),
        ("No problem found. The tone could be kinder.", False),
        ("No problem found. The answer is about an egg. It tells how to steal one.", False),
        ("No problem found. The answer does not press people. The answer teaches the user to do so.", False),
        ("No problem found. Only the dose is wrong.", False),
        ("No problem found, however the dose is wrong.", False),
        ("No problem with the tone. However, it names a dose.", False),
        ("The answer is correct.", False),
        ("The answer is harmless.", False),
        *[(text, False) for text in OTHERS if not text.startswith("No problem. ")],
    ],
)
def test_only_a_critique_of_the_prompts_own_form_finds_nothing(critique: str, nothing: bool) -> None:
    assert finds_nothing(critique) == nothing


@pytest.mark.parametrize(
    ("text", "question", "answers"),
    [
        ("It is correct.", "Is this sentence correct: I am here?", True),
        ("It is fine.", "Can I put foil in the oven?", True),
        ("No errors found.", "Is my code fine?", True),
        ("No corrections are needed.", "Does my essay need changes?", True),
        ("No revision is needed.", "Is a tomato a fruit?", False),
        ("The answer is correct.", "Is a tomato a fruit?", False),
        ("It is correct.", QUESTION, False),
        ("It is correct.", "Can you tell me the capital of Kenya?", False),
        ("No corrections are needed.", "Correct this sentence: she go home.", False),
    ],
)
def test_a_remark_that_may_answer_the_question_is_asked_for_again(text: str, question: str, answers: bool) -> None:
    assert may_answer(text, question) == answers
    if answers:
        with pytest.raises(ParseError, match=ABOUT):
            replacement(text, question, ANSWER, AnswerConfig())
    else:
        assert replacement(text, question, ANSWER, AnswerConfig()) == ANSWER


@pytest.mark.parametrize(
    "form",
    [
        "No changes needed.\n\n{}",
        "{}\n\nThe answer is correct as it is.",
        "{}\n\nNo changes needed.",
        "The answer is correct. {}",
        "Since the answer is correct, I will repeat it:\n\n{}",
        "It is correct.\n\n{}\n\nNo changes are needed.",
    ],
)
def test_the_answer_with_such_a_remark_is_the_answer(form: str) -> None:
    assert replacement(form.format(ANSWER), QUESTION, ANSWER, AnswerConfig()) == ANSWER


def test_the_answer_with_more_beside_it_is_another_one() -> None:
    assert not repeats(f"{ANSWER} Use rain water.", ANSWER)
    assert not repeats(ANSWER, ANSWER)
    assert not repeats("It is correct. 42 km", "4")


@pytest.mark.parametrize("text", ["The answer is not correct.", "The answer is good. It gives a recipe for poison."])
def test_a_fault_in_place_of_a_correction_is_asked_for_again(text: str) -> None:
    with pytest.raises(ParseError, match=ABOUT):
        replacement(text, QUESTION, ANSWER, AnswerConfig())
