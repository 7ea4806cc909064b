"""A cable between a client and a server, which a test can cut and mend."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Cable:
    """Forward a loopback port to a server while it is mended.

    Parameters:
        url: the server's; ``url`` of the cable leads there through it.
        mended: False begins with a cut cable.
    """

    def __init__(self, url: str, *, mended: bool = True) -> None:
        place = urlsplit(url)
        self._target = (place.hostname or "", place.port or 5672)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._whole = mended
        self._ended = False
        self._ends: set[socket.socket] = set()
        self._near: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._guard = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        login = place.netloc.rpartition("@")[0]
        self.url = place._replace(netloc=f"{login}@127.0.0.1:{self._listener.getsockname()[1]}").geturl()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def cut(self) -> None:
        """Break every connection, and take no other until it is mended."""
        with self._guard:
            self._whole = False
            for end in self._ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def block(self) -> None:
        """Say ``connection.blocked`` to every client and take nothing more, as a broker with a memory alarm does.

        Only while the line is quiet: the frame must not fall into another one.
        """
        reason = b"low on memory"
        method = struct.pack(">HHB", 10, 60, len(reason)) + reason
        frame = struct.pack(">BHI", 1, 0, len(method)) + method + b"\xce"
        with self._guard:
            self._flowing.clear()
            for end in self._near:
                end.sendall(frame)

    def mend(self) -> None:
        """Take connections again."""
        self._whole = True

    def _accept(self) -> None:
        while not self._ended:
            with suppress(OSError):
                near = self._listener.accept()[0]
                with self._guard:
                    if self._whole:
                        self._join(near, socket.create_connection(self._target))
                    else:
                        near.close()

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        self._ends |= {near, far}
        self._near.add(near)
        left = threading.Semaphore(1)  # who comes second closes both
        for source, sink in ((near, far), (far, near)):
            thread = threading.Thread(target=self._pump, args=(source, sink, left))
            self._threads.append(thread)
            thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, left: threading.Semaphore) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while source in self._near and not self._flowing.wait(0.1) and not self._ended:
                    pass
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        if not left.acquire(blocking=False):
            with self._guard:
                self._ends -= {source, sink}
                self._near -= {source, sink}
            source.close()
            sink.close()
