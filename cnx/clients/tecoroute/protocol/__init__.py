"""The protocol of TecoRoute: the login, the tunnel's requests and answers, and EPSNET datagrams. No I/O, no clock."""

from cnx.clients.tecoroute.protocol.epsnet import Datagram, Frame, set_clock
from cnx.clients.tecoroute.protocol.http import (
    Request,
    RequestReader,
    Response,
    ResponseReader,
)
from cnx.clients.tecoroute.protocol.session import data_request, decode, encode

__all__ = [
    "Datagram",
    "Frame",
    "Request",
    "RequestReader",
    "Response",
    "ResponseReader",
    "data_request",
    "decode",
    "encode",
    "set_clock",
]
