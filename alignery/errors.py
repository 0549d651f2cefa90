"""The errors that reach a user, as one sentence each. Each says what was got, what was expected and the fix."""

from __future__ import annotations


class AligneryError(Exception):
    """The base class. `exit_code` is the command's exit code; 1 is a run that failed."""

    exit_code = 1


class UsageError(AligneryError, ValueError):
    """The user can correct it: a value, a file, a setting or a place that is not there."""

    exit_code = 2
