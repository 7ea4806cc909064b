"""TCP lines between the services and what they need, each of which can be cut, stalled, delayed or half closed.

A process of its own: ``python -m tests.chaos.proxy '{"database": [20001, 5432]}' 20000`` listens for orders on the last
port, one JSON line each: ``{"line": "database", "do": "blackhole"}``, answered by what it has done so far.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections import Counter
from typing import Any, cast

LATENCY_S = 0.2
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: the other side gets a reset, not a goodbye


class End(asyncio.Protocol):
    """One end of a connection: what comes in here goes out at the other one, as the line allows."""

    def __init__(self, line: Line, far: End | None = None) -> None:
        self.line = line
        self.far = far
        self.transport: asyncio.Transport | None = None
        self.waiting: list[bytes] = []
        self.half = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.line.ends.add(self)
        if self.line.stalled:
            self.transport.pause_reading()
        if self.far is None:
            self.line.join(self)
        else:
            self.far.far = self
            for data in self.far.waiting:
                self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.half:
            self.line.counts["bytes swallowed"] += len(data)
        elif self.line.delay_s:
            self.line.counts["bytes delayed"] += len(data)
            asyncio.get_running_loop().call_later(self.line.delay_s, self._pass, data)
        else:
            self._pass(data)

    def _pass(self, data: bytes) -> None:
        if self.far and self.far.transport:
            self.far.transport.write(data)
        else:
            self.waiting.append(data)

    def pause_writing(self) -> None:
        if self.far and self.far.transport:
            self.far.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.far and self.far.transport and not self.line.stalled:
            self.far.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.line.ends.discard(self)
        if self.far and self.far.transport and not self.far.half:
            self.far.transport.close()

    def reset(self) -> None:
        """Break off, so that the other side sees a reset."""
        if self.transport:
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()


class Line:
    """The way to one server.

    Parameters:
        port: where clients connect.
        target: the server's port.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.ends: set[End] = set()
        self.counts: Counter[str] = Counter()
        self.stalled = False
        self.delay_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Take connections from now on."""
        await asyncio.get_running_loop().create_server(lambda: End(self), "127.0.0.1", self.port)

    def join(self, near: End) -> None:
        """Connect the other end; a server that is away is a reset."""
        task = asyncio.get_running_loop().create_task(self._join(near))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, near: End) -> None:
        self.counts["connections"] += 1
        try:
            await asyncio.get_running_loop().create_connection(lambda: End(self, near), "127.0.0.1", self.target)
        except OSError:
            near.reset()

    def heal(self) -> None:
        """Let everything through; what was half closed learns of it now."""
        self.stalled, self.delay_s = False, 0.0
        for end in list(self.ends):
            if end.half:
                end.reset()
            elif end.transport:
                end.transport.resume_reading()

    def reset(self) -> None:
        """Break every connection."""
        self.counts["connections reset"] += len([end for end in self.ends if end.far]) // 2
        for end in list(self.ends):
            end.reset()

    def blackhole(self) -> None:
        """Let nothing through, and say nothing; what is on its way arrives when the line heals."""
        self.stalled = True
        self.counts["connections stalled"] += len(self.ends) // 2
        for end in self.ends:
            if end.transport:
                end.transport.pause_reading()

    def latency(self) -> None:
        """Let everything take longer."""
        self.delay_s = LATENCY_S

    def half_open(self) -> None:
        """Part from the server without telling the client, whose words go nowhere."""
        for end in [end for end in self.ends if end.far and end.transport]:
            server = end.transport and end.transport.get_extra_info("peername")[1] == self.target
            if server and end.far:
                end.far.half = True
                self.counts["connections half open"] += 1
                end.reset()


class Orders(asyncio.Protocol):
    """Take orders, one line each."""

    def __init__(self, lines: dict[str, Line]) -> None:
        self._lines = lines

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        order: dict[str, Any] = json.loads(data)
        line = self._lines[order["line"]]
        if order["do"] != "look":
            getattr(line, order["do"])()
        self._transport.write(json.dumps(line.counts).encode() + b"\n")
        self._transport.close()


async def serve(ways: dict[str, list[int]], orders: int) -> None:
    """Serve lines, and the port for orders, for ever."""
    lines = {name: Line(port, target) for name, (port, target) in ways.items()}
    for line in lines.values():
        await line.listen()
    server = await asyncio.get_running_loop().create_server(lambda: Orders(lines), "127.0.0.1", orders)
    await server.serve_forever()


def order(port: int, line: str, do: str) -> Counter[str]:
    """Have a line healed, reset, blackholed, slowed (``latency``), or half closed; give what it has counted so far."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(json.dumps({"line": line, "do": do}).encode())
        return Counter(json.loads(connection.makefile().readline()))


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1]), int(sys.argv[2])))
