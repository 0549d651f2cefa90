"""Commands suggested in messages can be run unchanged: they have the preset and home of the printing command."""

from __future__ import annotations

import re
import shlex

# Those that take --home or --preset.
_VERBS = "bootstrap check diff doctor evaluate export maintain methods models plan promote publish push ranking refresh"
_VERBS += " rejects retrain rollback serve show snapshots sql stack status tables tag trace view"
VERBS = [
    *_VERBS.split(),
    *(f"marks {verb}" for verb in ("add", "agreement", "export", "import", "queue", "review")),
]
_COMMAND = re.compile(rf"(?<![\w./-])alignery (?:{'|'.join(VERBS)})(?![\w./-])")
_options: dict[str, str] = {}  # of this command, where they are not the defaults


def set_option(option: str, value: str, default: str) -> None:
    """The options of this command, for the commands that it suggests."""
    _options.pop(option, None)
    if value != default:
        _options[option] = value


def options() -> str:
    """The options as a shell reads them, each with a space before it."""
    return "".join(f" {option} {shlex.quote(value)}" for option, value in _options.items())


def runnable(sentence: str) -> str:
    """A message in which each suggested command has the options of this one."""
    return _COMMAND.sub(lambda found: found[0] + options(), sentence)
