"""What the reading methods do when all is well, and when it is not."""

import ctypes
import socket

import cnx


class Header(ctypes.BigEndianStructure):
    """Four bytes of a binary protocol."""

    _fields_ = [("kind", ctypes.c_uint16), ("length", ctypes.c_uint16)]


near, far = socket.socketpair()
with cnx.SocketConnection.from_socket(near, timeout=5.0) as connection:
    far.sendall(b'text\r\n{"a": [1, 2]}\r\n\x00\x07\x00\x02ok')
    print(connection.read_str(), connection.read_json())

    header = Header()
    connection.read_into(header)
    print(header.kind, connection.readexactly(header.length))

    far.sendall(b"half a li")
    try:
        connection.readline(timeout=0.01)
    except TimeoutError:
        print("a timeout loses nothing:", end=" ")
    far.sendall(b"ne\n")
    print(connection.readline())

    far.sendall(b"cut in the mid")
    far.close()
    try:
        connection.readuntil(b"\n")
    except cnx.IncompleteRead as error:
        print("partial:", error.partial)
    print(connection.read_waiting())
