"""A TCP proxy on 127.0.0.1 that a test turns against the two sides: it cuts, stalls, strands, slows, refuses, changes
bytes."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable

from harness.postgres import Postgres
from harness.run import free_port

_CHUNK = 65536
# From a piece of what the server sent to what the client gets; with True the connection is cut after it.
Change = Callable[[bytes], tuple[bytes, bool]]


def flip_bit(marker: bytes) -> Change:
    """Flips a bit in the middle of the marker."""
    def change(data: bytes) -> tuple[bytes, bool]:
        at = data.find(marker) + len(marker) // 2
        return data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1:], False
    return change


def cut_within(marker: bytes) -> Change:
    """Forwards everything up to the middle of the marker, then cuts."""
    def change(data: bytes) -> tuple[bytes, bool]:
        return data[:data.find(marker) + len(marker) // 2], True
    return change


def shorten_message(marker: bytes, by: int = 8) -> Change:
    """Takes bytes off the end of the protocol message (type, length, body) that holds the marker, and corrects its
    length: what arrives is good protocol around a truncated frame."""
    def change(data: bytes) -> tuple[bytes, bool]:
        at = 0
        while at + 5 <= len(data):
            end = at + 1 + struct.unpack_from("!I", data, at + 1)[0]
            if marker in data[at:end]:
                length = struct.pack("!I", end - at - 1 - by)
                return data[:at + 1] + length + data[at + 5:end - by] + data[end:], False
            at = end
        raise ValueError("the marker is not in a whole message")
    return change


class Proxy:
    """Listens from the start and forwards to 127.0.0.1:`target`; close() ends all of it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.accepted = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stranded: set[socket.socket] = set()
        self._latency = 0.0
        self._rate = 0
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = threading.Event()
        self._once: tuple[bytes, Change] | None = None
        self._refusing = False
        self.happened = threading.Event()  # the change of change_once() has been made
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what a test does ---

    def dsn(self, server: Postgres, dbname: str) -> str:
        """How a client reaches the server's database by way of the proxy."""
        return server.dsn(dbname).replace(f"port={server.port}", f"port={self.port}")

    def cut(self) -> None:
        """Resets the connections that are there; new ones are taken."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                with contextlib.suppress(OSError):
                    end.close()

    def refuse(self, refusing: bool = True) -> None:
        """New connections are closed at once."""
        self._refusing = refusing

    def stall(self) -> None:
        """Nothing passes in either direction, on connections that look alive."""
        self._flowing.clear()

    def flow(self) -> None:
        """Ends what stall() and slow() began."""
        self.fast()
        self._flowing.set()

    def strand(self) -> None:
        """The connections that are there lose their other end without a word, as when a firewall forgets them: what
        is sent on them is taken and vanishes, and neither side learns that the other has closed. New ones are good."""
        with self._lock:
            for pair in self._pairs:
                self._stranded.update(pair)

    def slow(self, rate: int, latency: float = 0.0) -> None:
        """Each piece arrives `latency` seconds late, and no more than `rate` bytes a second in each direction."""
        self._latency, self._rate = latency, rate

    def fast(self) -> None:
        self._latency, self._rate = 0.0, 0

    def change_once(self, marker: bytes, change: Change) -> None:
        """The next piece of the server's bytes that holds the marker goes through `change` first."""
        self.happened.clear()
        self._once = (marker, change)

    def close(self) -> None:
        self._closed.set()
        self._flowing.set()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    # --- how ---

    def _accept(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(OSError, ValueError):
                if not select.select([self._listener], [], [], 0.1)[0]:
                    continue
                client, _ = self._listener.accept()
                self.accepted += 1
                if self._refusing:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._pairs.append((client, server))
                for source, drain, from_server in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._pump, args=(source, drain, from_server), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, drain: socket.socket, from_server: bool) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                self._flowing.wait()
                if not select.select([source], [], [], 0.1)[0]:
                    continue
                data = source.recv(min(_CHUNK, self._rate // 20 or _CHUNK) or 1)
                self._flowing.wait()
                rate = self._rate
                if rate:
                    self._closed.wait(self._latency + len(data) / rate)
                if source in self._stranded:
                    if data:
                        continue
                    return
                last = not data
                if from_server and self._once is not None and self._once[0] in data:
                    change = self._once[1]
                    self._once = None
                    data, last = change(data)
                    self.happened.set()
                drain.sendall(data)
                if last:
                    break
        for end in (source, drain):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
