"""Serial ports: everything that ``serial.serial_for_url`` opens.

pyserial opens and configures the port. If the port has a descriptor, bytes are read and written there: :meth:`shutdown`
ends every wait at once, and a read returns everything that waits, whereas pyserial's own ``read`` needs three system
calls for each piece.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import queue
import select
import socket
import stat
import sys
from time import monotonic
from typing import Any

import serial

from cnx.deadline import Deadline
from cnx.errors import CnxError, ConnectError, ConnectionLost, ConnectTimedOut, TimedOut
from cnx.threads.condition import Flag
from cnx.transports.detached import call_detached
from cnx.transports.resolver import reason_of
from cnx.transports.transport import Transport

__all__ = ["BlockingSerialTransport", "DescriptorSerialTransport", "open_serial"]

_PIECE = 4096
"""The most bytes that Linux returns in one read of a terminal; asking for more only costs memory."""

_NOSIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # as for other sockets, see SocketTransport

_SLICE = 0.2
"""Seconds between checks for a shutdown, for ports whose calls cannot be woken."""


class DescriptorSerialTransport(Transport):
    """An open port with a descriptor: a device, a pty, or pyserial's ``socket://``."""

    full = 1024  # a large read shows that data arrives fast; reading again is then cheaper than waiting for an event

    def __init__(self, port: Any, address: str) -> None:
        self.address = address
        self._port = port
        self._fd: int = port.fileno()
        is_socket = stat.S_ISSOCK(os.fstat(self._fd).st_mode)  # of socket://
        self._socket = socket.socket(fileno=self._fd) if is_socket else None
        try:
            self._wake_read, self._wake_write = os.pipe()
        except OSError as error:
            port.close()  # or it would stay open, and locked, without an owner
            raise ConnectError(f"cannot open serial port {address}: {error}") from error
        self._shut = False
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self._fd, select.POLLIN)
        self._writable.register(self._fd, select.POLLOUT)
        for poll in (self._readable, self._writable):
            poll.register(self._wake_read, select.POLLIN)

    @property
    def port(self) -> Any:
        """The pyserial object."""
        return self._port

    def fileno(self) -> int:
        return self._fd

    def read(self, size: int, timeout: float | None) -> bytes:
        left, end = timeout, None if timeout is None else monotonic() + timeout
        for _ in ("once", "and once more, as another program may have flushed the input meanwhile"):
            if not self._wait(self._readable, left):
                raise TimedOut(f"nothing arrived from {self.address} within {timeout:g} s")
            if data := self._read(size):
                return data
            left = None if end is None else max(0.0, end - monotonic())
        raise ConnectionLost(f"{self.address}: the device is gone; is it plugged in, or does another program read it?")

    def read_now(self, size: int) -> bytes | None:
        try:  # not with _read(): the listener calls this for every 4 KiB
            data = os.read(self._fd, _PIECE if size > _PIECE else size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._broken(error) from error
        if data:
            return data
        try:
            return self.read(size, 0.0)  # which finds out whether the device is gone
        except TimedOut:
            return None

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        try:
            sent = os.write(self._fd, data) if self._socket is None else self._socket.send(data, _NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ConnectionLost(f"{self.address}: the port broke while writing: {error}; is it plugged in?") from error
        return sent if sent == len(data) else self._write_rest(memoryview(data), sent, timeout)

    def shutdown(self) -> None:
        self._shut = True
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.detach()  # the descriptor is that of the port
        self._port.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _read(self, size: int) -> bytes | None:
        """Return up to ``size`` bytes, ``None`` when none wait, and ``b""`` when there may never be any."""
        try:
            return os.read(self._fd, _PIECE if size > _PIECE else size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> ConnectionLost:
        return ConnectionLost(f"{self.address}: the port broke while reading: {error}; is it plugged in?")

    def _write_rest(self, view: memoryview, sent: int, timeout: float | None) -> int:
        end = None if timeout is None else monotonic() + timeout
        while sent < len(view) and self._wait(self._writable, None if end is None else max(0.0, end - monotonic())):
            sent += max(0, self.write(view[sent:], 0.0))
        return sent

    def _wait(self, poll: select.poll, timeout: float | None) -> bool:
        ready = poll.poll(None if timeout is None else timeout * 1000)
        if self._shut:
            raise ConnectionLost(f"{self.address} was closed here")
        return bool(ready)


class BlockingSerialTransport(Transport):
    """An open port without a descriptor, such as ``loop://``, ``rfc2217://``, or a port on Windows.

    Calls that cannot be woken check every 0.2 s whether the port was shut down; a timeout may be that late.
    """

    def __init__(self, port: Any, address: str) -> None:
        self.address = address
        self._port = port
        self._shut = Flag()
        self._write_timeout: float | None = None
        port.timeout = _SLICE

    @property
    def port(self) -> Any:
        """The pyserial object."""
        return self._port

    def read(self, size: int, timeout: float | None) -> bytes:
        end = None if timeout is None else monotonic() + timeout
        while not self._shut.is_set():
            waiting = self._call(lambda: self._port.in_waiting)
            data: bytes = self._call(self._port.read, min(max(waiting, 1), size)) if waiting or timeout != 0 else b""
            if data:
                return data
            if end is not None and monotonic() >= end:
                raise TimedOut(f"nothing arrived from {self.address} within {timeout:g} s")
        raise ConnectionLost(f"{self.address} was closed here")

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        try:
            if timeout != self._write_timeout:
                self._set_write_timeout(timeout)
            self._call(self._port.write, bytes(data))
        except serial.SerialTimeoutException:
            return -1  # how much was sent is not known
        return len(data)

    def shutdown(self) -> None:
        self._shut.set()
        for cancel in ("cancel_read", "cancel_write"):
            with contextlib.suppress(Exception):  # not every kind of port has these methods; _SLICE ends the wait then
                getattr(self._port, cancel)()

    def close(self) -> None:
        self._port.close()

    def _set_write_timeout(self, timeout: float | None) -> None:
        if not self.address.startswith("rfc2217:"):  # which refuses it; the network has a timeout of its own
            self._call(setattr, self._port, "write_timeout", timeout)
            self._write_timeout = timeout

    def _call(self, action: Any, *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except serial.SerialTimeoutException:
            raise
        except (OSError, TypeError, AttributeError) as error:  # what pyserial raises depends on the kind of port
            raise ConnectionLost(f"{self.address}: the port broke: {error}; is it plugged in?") from error


class LoopTransport(BlockingSerialTransport):
    """The port ``loop://``, which returns what is written to it. It holds 4096 bytes, and blocks for ever when full."""

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        end = None if timeout is None else monotonic() + timeout
        self._set_write_timeout(_SLICE)
        for sent in range(len(data)):  # byte by byte, as it does not report how many it has taken
            while not self._put(bytes(data[sent : sent + 1])):
                if self._shut.is_set():
                    raise ConnectionLost(f"{self.address} was closed here")
                if end is not None and monotonic() >= end:
                    return sent
        return len(data)

    def _put(self, byte: bytes) -> bool:
        try:
            self._call(self._port.write, byte)
        except (serial.SerialTimeoutException, queue.Full):
            return False
        return True


def checked_port(port: str) -> str:
    """Return ``port`` if it can be a device or a URL that pyserial supports.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(port, str) or not port or "\0" in port:
        raise ValueError(f"port must be the name of a device or a URL, not {port!r}")
    scheme, separator, _ = port.partition("://")
    kinds = [f"{package}.protocol_{scheme.lower()}" for package in serial.protocol_handler_packages]
    if separator and not (scheme.isalnum() and any(map(importlib.util.find_spec, kinds))):
        raise ValueError(f"port must be a device or a URL that pyserial supports; {scheme}:// is not one")
    return port


def _origin(error: BaseException) -> BaseException:
    """Return the error of the system that pyserial has translated, which has a number, or else ``error`` itself."""
    found: BaseException | None = error
    while found is not None:
        if not isinstance(found, serial.SerialException) and found.args and type(found.args[0]) is int:
            return found  # an OSError or a termios.error
        found = found.__cause__ or found.__context__
    return error


def _trouble_with(url: str, error: BaseException) -> str:
    """Return what is wrong with a port and what to do about it."""
    number = error.args[0] if error.args else None
    if "://" in url:
        return reason_of(error)
    if number == errno.ENOENT:
        return "there is no such device; is it plugged in? `cnx ports` lists those that are here"
    if number in (errno.EACCES, errno.EPERM):
        return f"permission denied; {_permission(url)}"
    if number in (errno.EBUSY, errno.EAGAIN):
        return "another program uses it, and has locked it"
    if number in (errno.ENOTTY, errno.EISDIR):
        return "it is not a serial port; `cnx ports` lists those that are here"
    if number == errno.EIO:
        return "the device does not answer its driver; plug it in anew"
    return reason_of(error)


def _permission(path: str) -> str:
    """Return how to get access to a device: usually by its group, which is ``dialout`` on most systems."""
    try:
        found = os.stat(path)
        import grp

        group = grp.getgrgid(found.st_gid).gr_name
    except (OSError, ImportError, KeyError):
        return "this user may not use it"
    if found.st_mode & 0o060 == 0o060 and found.st_gid and found.st_gid not in os.getgroups():
        return f"add this user to its group: sudo usermod -aG {group} $USER, then log in again"
    return f"its owner is user {found.st_uid}, its group {group}, its mode {stat.filemode(found.st_mode)}"


def open_serial(url: str, settings: dict[str, Any], deadline: Deadline) -> Transport:
    """Open the port ``url`` with pyserial's ``settings``.

    pyserial cannot be interrupted, so it runs on a thread of its own; a port that it opens too late is closed again.

    Raises:
        ConnectError: the port does not exist, is in use, or refuses the settings; the message has the cure.
        ConnectTimedOut, Cancelled: the deadline ended.
    """
    try:
        port = call_detached(
            lambda: serial.serial_for_url(url, **settings), f"opening {url}", deadline, lambda port: port.close()
        )
    except TimedOut:
        raise ConnectTimedOut(
            f"cannot open serial port {url} within {deadline.seconds:g} s; is its driver, or its server, stuck?"
        ) from None
    except CnxError:
        raise
    except Exception as error:  # of many kinds: OverflowError for a baud rate, re.error for hwgrep://(, and others
        origin = _origin(error)
        raise ConnectError(f"cannot open serial port {url}: {_trouble_with(url, origin)}") from origin
    try:
        port.fileno()
    except (OSError, AttributeError):  # io.UnsupportedOperation: a port without a descriptor
        return LoopTransport(port, url) if url.startswith("loop:") else BlockingSerialTransport(port, url)
    if sys.platform == "win32" or url.startswith("spy:"):  # spy: has to see what is read
        return BlockingSerialTransport(port, url)
    return DescriptorSerialTransport(port, url)
