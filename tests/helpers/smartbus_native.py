"""Drives the original client library from another process: orders as JSON lines in, events as JSON lines out.

Run as ``python native.py LIBRARY UNIT``. It needs the standard library only, and leaves by ``_exit``, since the library
crashes when it is released, and at a normal exit.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import os
import sys
import threading
from typing import Any

CALLBACK = ctypes.CFUNCTYPE
INT, BYTE, POINTER, TEXT = ctypes.c_int, ctypes.c_byte, ctypes.c_void_p, ctypes.c_char_p
writing = threading.Lock()
output = 1


def library() -> str | None:
    """Return the path of the original library, from the environment or from its installed package."""
    if "CNX_SMARTBUS_LIBRARY" in os.environ:
        return os.environ["CNX_SMARTBUS_LIBRARY"]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("hesong-ipsc-busnetcli") or ():
            if file.name == "libbusnetcli.so":
                return str(file.locate())
    return None


def tell(event: str, **values: Any) -> None:
    """Write one event; bytes as hexadecimal digits."""
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
    with writing:
        os.write(output, json.dumps({"event": event, **shown}).encode() + b"\n")


def header(pointer: int | None) -> bytes:
    """Return the 20 bytes of a packet's header; empty where there was no packet."""
    return ctypes.string_at(pointer, 20) if pointer else b""


@CALLBACK(None, POINTER, BYTE, INT, INT)
def on_connection(arg: int, client: int, access_point: int, ack: int) -> None:
    """Registered or refused."""
    tell("connection", client=client, access_point=access_point, ack=ack)


@CALLBACK(None, POINTER, BYTE)
def on_disconnect(arg: int, client: int) -> None:
    """The link was lost."""
    tell("disconnect", client=client)


@CALLBACK(None, POINTER, BYTE, POINTER, POINTER, INT)
def on_data(arg: int, client: int, head: int, data: int | None, size: int) -> None:
    """A packet came."""
    tell("data", head=header(head), data=ctypes.string_at(data, size) if data else b"")


@CALLBACK(None, POINTER, BYTE, POINTER, TEXT, INT, INT, TEXT)
def on_return(arg: int, client: int, head: int, project: bytes, number: int, ret: int, text: bytes | None) -> None:
    """A flow returned, or did not."""
    tell("return", head=header(head), project=project, id=number, ret=ret, text=text or b"")


@CALLBACK(None, POINTER, BYTE, POINTER, TEXT, INT, INT, TEXT)
def on_ack(arg: int, client: int, head: int, project: bytes, number: int, ack: int, text: bytes | None) -> None:
    """A flow was started, or was not."""
    tell("ack", head=header(head), project=project, id=number, ack=ack, text=text or b"")


@CALLBACK(None, POINTER, BYTE, BYTE, BYTE, BYTE, BYTE, TEXT)
def on_global(arg: int, unit: int, client: int, kind: int, access_point: int, status: int, info: bytes | None) -> None:
    """A client came or went."""
    tell("global", address=[unit, client, kind], access_point=access_point, status=status, info=info or b"")


def carry_out(library: ctypes.CDLL, order: dict[str, Any]) -> int:
    """Call the function that an order names; text goes as UTF-8, data as hexadecimal digits."""
    values = [value.encode() if isinstance(value, str) else value for value in order["values"]]
    if order["do"] in ("SendData", "SendPing"):
        data = bytes.fromhex(order["data"])
        values += [ctypes.create_string_buffer(data), len(data)]
    result: int = getattr(library, f"SmartBusNetCli_{order['do']}")(*values)
    return result


def main(path: str, unit: str) -> None:
    """Carry out orders until the input ends."""
    global output
    # The library prints, and not in UTF-8; its output must not mix with ours.
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    library = ctypes.CDLL(path)
    tell("init", result=library.SmartBusNetCli_Init(BYTE(int(unit))))
    library.SmartBusNetCli_SetCallBackFn(on_connection, on_data, on_disconnect, on_return, on_global, None)
    library.SmartBusNetCli_SetCallBackFnEx(b"smartbus_invokeflow_ack_cb", on_ack)
    for line in sys.stdin:
        tell("done", result=carry_out(library, json.loads(line)))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
