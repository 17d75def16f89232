"""Connections to addresses that have been checked, on which no step outlasts its request.

Apart from `rag.incoming.fetch`, because this is all that stands between a post's links and the person's own network.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable
from threading import Event
from typing import TypeVar

import httpcore

from rag.addresses import closed
from rag.jobs import Stopped

CONNECT_SECONDS = 8.0  # for each address of a host
STEP = 0.2  # seconds between two looks at whether to stop

_T = TypeVar("_T")


class Shut(Exception):
    """An address of a kind that nothing may be fetched from."""


class NoHost(httpcore.ConnectError):
    """A name that no machine has."""


class Untrusted(httpcore.ConnectError):
    """A machine that does not prove, or cannot say, who it is."""


class Clock(threading.local):
    """When the request that this thread makes must be over, and what may stop it sooner."""

    deadline = 0.0
    stop: Event | None = None

    def start(self, seconds: float, stop: Event | None) -> None:
        """Begin a request of this thread's."""
        self.deadline, self.stop = time.monotonic() + seconds, stop

    def step(self) -> float:
        """Return how long to wait before the next look at the clock."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for this request is over")
        return min(left, STEP)


class Guard(httpcore.NetworkBackend):
    """Connects to nothing but an address that it has checked."""

    def __init__(self, clock: Clock, allow_private: bool) -> None:
        self._clock, self._allow_private = clock, allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the clock says how long
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[object] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Look the host up, once, and connect to what was found. Raise Shut if any of it may not be asked."""
        try:
            found = _beside(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), self._clock)
        except (OSError, UnicodeError) as error:
            raise NoHost(str(error)) from error
        for _, _, _, _, where in found:
            if kind := closed(str(where[0]), self._allow_private):
                raise Shut(kind)
        last: Exception = OSError("no address")
        for family, _, _, _, where in found[:6]:
            try:
                return _Wire(_dial(family, where, self._clock), self._clock)
            except OSError as error:
                last = error
        raise httpcore.ConnectError(str(last)) from last


class _Wire(httpcore.NetworkStream):
    """A connection on which no step outlasts its request: every read looks at the clock."""

    def __init__(self, connected: socket.socket, clock: Clock) -> None:
        self._socket, self._clock = connected, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the clock says how long
        return self._patiently(lambda: self._socket.recv(max_bytes), httpcore.ReadError)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        while buffer:
            rest = buffer
            buffer = buffer[self._patiently(lambda: self._socket.send(rest), httpcore.WriteError) :]  # noqa: B023

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        wire = self
        try:
            secured = ssl_context.wrap_socket(
                self._socket, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            wire = _Wire(secured, self._clock)  # from here on the plain socket is empty
            wire._patiently(secured.do_handshake, httpcore.ConnectError)
        except BaseException as error:
            wire.close()
            if isinstance(error.__cause__, ssl.SSLError):
                reason = getattr(error.__cause__, "verify_message", "") or error.__cause__.reason
                raise Untrusted(reason or "no safe connection") from error
            raise
        return wire

    def get_extra_info(self, info: str) -> object:
        if info == "is_readable":  # an idle connection with something to read has been closed by the server
            return bool(select.select([self._socket], [], [], 0)[0]) if self._socket.fileno() < 1024 else True
        return self._socket if info == "socket" else None

    def _patiently(self, step: Callable[[], _T], failure: type[Exception]) -> _T:
        while True:
            self._socket.settimeout(self._clock.step())
            try:
                return step()
            except TimeoutError:
                continue
            except OSError as error:
                raise failure(str(error)) from error


def trust() -> ssl.SSLContext:
    """Return what a server's certificate is checked against: the system's list, or certifi's where it has none."""
    paths = ssl.get_default_verify_paths()
    if sys.platform == "win32" or paths.cafile or paths.capath:
        return ssl.create_default_context()
    # imported here: it comes with httpcore, and only some Pythons on macOS need it
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def _dial(family: int, where: tuple[object, ...], clock: Clock) -> socket.socket:
    """Connect to one address, given as numbers: nothing is looked up."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(CONNECT_SECONDS)
        _beside(lambda: made.connect(where), clock)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        made.close()
        raise
    return made


def _beside(work: Callable[[], _T], clock: Clock) -> _T:
    """Do what cannot be interrupted in a thread of its own, and leave it behind when the time is over."""
    done, results, errors = Event(), list[_T](), list[BaseException]()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=run, daemon=True, name="footnote-connect").start()
    while not done.wait(clock.step()):
        pass
    if errors:
        raise errors[0]
    return results[0]
