"""The errors of the lake."""

from __future__ import annotations

from alignery.errors import AligneryError, UsageError


class LakeUsageError(UsageError):
    """Something about the lake that the caller can correct; the message is one sentence that says how."""


class RowRefused(LakeUsageError):
    """A row does not fit its table, or contradicts an existing row; the message names table and field."""


class LakeFailure(AligneryError, RuntimeError):
    """The lake failed during the work: a full disk, a server that is gone, a lost file. What was acknowledged is
    stored; the message is one sentence that says what happened and what to do."""
