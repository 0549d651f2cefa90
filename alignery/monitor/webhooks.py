"""Webhooks: a small JSON body is posted to the user's URLs when a run ends or a decision is made.

A body has ids, counts and decisions, and no text of a model; of an error it has the class. The headers are those of
Standard Webhooks (standardwebhooks.com): `webhook-id`, the same for all tries, so that a receiver may drop duplicates,
`webhook-timestamp`, and with a secret `webhook-signature`. A failed delivery is logged as a warning with the host.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from alignery.hashing import digest
from alignery.secrets import remember
from alignery.untrusted import excerpt

logger = logging.getLogger(__name__)
Event = Literal["finished", "failed", "promoted", "held_back"]
EVENTS: tuple[Event, ...] = ("finished", "failed", "promoted", "held_back")
TIMEOUT_S = 5.0  # to connect, and to respond; all figures here are our choice
TRIES, PAUSE_S = 3, 0.5  # before the second try; twice that before the third
DEADLINE_S = 15.0  # for all URLs and tries together; then the run goes on
_RETRYABLE = (408, 429)  # statuses below 500 that are retried


class Webhook(BaseModel):
    """A URL that events are posted to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="https://…; one that is a secret itself: ${NAME}, from the environment")
    on: tuple[Event, ...] = Field(default=EVENTS, min_length=1)
    secret: str | None = Field(default=None, min_length=16, description="${NAME}; signs each body (Standard Webhooks)")

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            is_valid = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            )
        except ValueError:
            is_valid = False
        if not is_valid:  # the message leaves the URL out, which may be a secret
            raise ValueError("expected a URL that starts with https:// or http:// and names a host; correct it")
        return url

    @field_validator("secret")
    @classmethod
    def _is_a_key(cls, secret: str | None) -> str | None:
        try:
            _key(secret or "")
        except binascii.Error as error:
            raise ValueError("expected base64 behind whsec_, or a text without that beginning; correct it") from error
        return secret

    @property
    def host(self) -> str:
        return excerpt(urlsplit(self.url).hostname, 100)


class _NotDelivered(Exception):
    """The reason; `retryable`: whether another try may succeed."""

    def __init__(self, reason: str, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable


def notify(hooks: Sequence[Webhook], event: Event, subject: str, facts: Mapping[str, Any]) -> None:
    """Post an event to the hooks that are for it; returns after `DEADLINE_S` at the latest, and raises nothing.

    Args:
        subject: the id of the run or the decision; the same event of it has the same `webhook-id`.
        facts: ids, counts and decisions.
    """
    if not (subscribed := [hook for hook in hooks if event in hook.on]):
        return
    import httpx  # noqa: F401  # here, as its first import would take part of the deadline

    id = digest("webhook", event, subject)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    body = json.dumps({"id": id, "event": event, "at": now, **facts}, ensure_ascii=False).encode()
    reasons = dict.fromkeys(subscribed, f"no answer within {DEADLINE_S:g} s")
    # A daemon thread each: a host that never responds delays neither the others nor the end of the process.
    threads = [threading.Thread(target=partial(_deliver, hook, id, body, reasons), daemon=True) for hook in reasons]
    for thread in threads:
        thread.start()
    until = time.monotonic() + DEADLINE_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    for hook, reason in dict(reasons).items():
        if reason:
            logger.warning("webhook %s: the event %s was not delivered: %s", hook.host, event, reason)


def failed(hooks: Sequence[Webhook], subject: str, error: Exception, facts: Mapping[str, Any]) -> None:
    """Post a failure, once for each error: it may pass through a run, and then through the flow around that."""
    if not vars(error).get("_alignery_reported"):
        vars(error)["_alignery_reported"] = True
        notify(hooks, "failed", subject, {**facts, "state": "failed", "error": type(error).__name__})


def _deliver(hook: Webhook, id: str, body: bytes, reasons: dict[Webhook, str]) -> None:
    for known in (hook.url, hook.secret):
        remember(known)
    for number in range(TRIES):
        time.sleep(PAUSE_S * number)
        try:
            _post(hook, id, body)
        except _NotDelivered as error:
            reasons[hook] = f"{error} ({number + 1} tries)" if number else str(error)
            if not error.retryable:
                return
        else:
            reasons[hook] = ""
            return


def _post(hook: Webhook, id: str, body: bytes) -> None:
    """One try. Only the response's status is read: its body may be endless, and a redirect may lead anywhere."""
    import httpx

    headers = {"content-type": "application/json", "user-agent": "alignery", "webhook-id": id}
    headers["webhook-timestamp"] = str(int(time.time()))
    if hook.secret:
        headers["webhook-signature"] = signature(hook.secret, id, headers["webhook-timestamp"], body)
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream("POST", hook.url, content=body, headers=headers) as response,
        ):
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # its message may have the URL
        raise _NotDelivered(type(error).__name__, retryable=True) from None
    if status >= 300:
        redirect = " (a redirect, which is not followed: give the URL that it leads to)" if status < 400 else ""
        raise _NotDelivered(f"HTTP status {status}{redirect}", retryable=status >= 500 or status in _RETRYABLE)


def signature(secret: str, id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64, as Standard Webhooks defines it."""
    mac = hmac.digest(_key(secret), f"{id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return secret.encode()
