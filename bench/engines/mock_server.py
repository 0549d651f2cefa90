"""A fast mock of an OpenAI-compatible server, in a process of its own, for the benches to measure clients by."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Queue, get_context


def completion(text: str) -> bytes:
    """The body of a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 120, "completion_tokens": 120, "total_tokens": 240}
    answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "mock"}
    return json.dumps(answer | {"choices": [choice], "usage": usage}).encode()


def response(body: bytes, status: str = "200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status.encode(), len(body)) + body


MODELS = response(b'{"object": "list", "data": [{"id": "mock", "object": "model", "owned_by": "bench"}]}')


class MockServer(asyncio.Protocol, ABC):
    """One connection. It reads no more of a request than where it ends; the rest is `asked`'s business."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0):
            return
        self.buffer = b""
        self.asked(head, body)

    @abstractmethod
    def asked(self, head: bytes, body: bytes) -> None:
        """A whole request came: `answer` it, at once or later."""

    def answer(self, whole: bytes) -> bool:
        """Whether the client was still connected."""
        if self.transport.is_closing():
            return False
        self.transport.write(whole)
        return True


@contextmanager
def serving(connection: Callable[[], MockServer]) -> Iterator[int]:
    """The port of a server that runs until the block is left; `connection` makes one for each client that connects."""
    fresh = get_context("spawn")  # a fork of a process that has threads may hang
    ports: Queue[int] = fresh.Queue()
    process = fresh.Process(target=_serve, args=(connection, ports), daemon=True)
    process.start()
    try:
        yield ports.get(timeout=60)
    finally:
        process.kill()
        process.join()


def _serve(connection: Callable[[], MockServer], ports: Queue[int]) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, backlog=1024)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
