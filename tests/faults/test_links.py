"""Faults of whole links, on real ones."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from cnx.faults import accept_close, faults, half_open, hang_tls, refuse, reset, slow_accept, unplug, wrong_certificate
from cnx.simulation import Session, Simulator
from cnx.testing import eventually
from tests.helpers.bare_clients import Client, dial, reachable
from tests.helpers.certificates import certificates
from tests.helpers.echo import Echo, answered

SERVER_CONTEXT, CLIENT_CONTEXT = certificates()
LONG = 3600.0


class TestLinks:
    """Faults of whole links."""

    @pytest.mark.parametrize("times", [1, 3])
    def test_refuse(self, times: int, echo: Echo, client: Client) -> None:
        """So many new clients are reset, and the next one is served; one that is there already is not meant."""
        with faults(echo, refuse(times)) as plan:
            for _ in range(times):
                with pytest.raises(ConnectionError), dial(echo.urls[0]) as refused:
                    answered(refused)
            with dial(echo.urls[0]) as welcome:
                assert answered(welcome)
            assert answered(client)
        assert [entry.step for entry in plan.trace] == ["reset"] * times

    def test_accept_close(self, echo: Echo) -> None:
        """A client is accepted and sees the end at once."""
        with faults(echo, accept_close(2)):
            for _ in range(2):
                with dial(echo.urls[0]) as client:
                    assert client.receive() == b""
            with dial(echo.urls[0]) as client:
                assert answered(client)

    def test_slow_accept(self, echo: Echo) -> None:
        """A client is served after a while."""
        with faults(echo, slow_accept(0.05)) as plan, dial(echo.urls[0]) as client:
            assert answered(client)
        assert [entry.step for entry in plan.trace] == ["wait 0.050000 s"]

    def test_slow_accept_ends_with_the_block(self, echo: Echo) -> None:
        """A client that waits for service gets it when the fault is over."""
        with ExitStack() as stack:
            with faults(echo, slow_accept(LONG)) as plan:
                client = stack.enter_context(dial(echo.urls[0]))
                assert eventually(lambda: plan.trace)
            assert answered(client)

    def test_hang_tls(self) -> None:
        """A handshake gets no answer as long as the fault lasts; the next client is served."""
        with Echo() as simulator:
            url = simulator.listen_tcp(tls=SERVER_CONTEXT)
            parts = urlsplit(url)
            with faults(simulator, hang_tls()):
                sock = socket.create_connection((parts.hostname, parts.port), 0.2)
                with sock, pytest.raises(TimeoutError):
                    CLIENT_CONTEXT.wrap_socket(sock, server_hostname="localhost")
                with dial(url, CLIENT_CONTEXT) as client:
                    assert answered(client)

    def test_hang_tls_leaves_other_links_alone(self, echo: Echo) -> None:
        """A port without TLS is served as usual."""
        with faults(echo, hang_tls()), dial(echo.urls[0]) as client:
            assert answered(client)

    def test_wrong_certificate(self) -> None:
        """A client that verifies does not accept the other certificate, and accepts the right one afterwards."""
        stranger, _ = certificates()
        with Echo() as simulator:
            url = simulator.listen_tcp(tls=SERVER_CONTEXT)
            with faults(simulator, wrong_certificate(stranger)), pytest.raises(ssl.SSLCertVerificationError):
                dial(url, CLIENT_CONTEXT)
            with dial(url, CLIENT_CONTEXT) as client:
                assert answered(client)

    def test_wrong_name(self) -> None:
        """A certificate for another host is a wrong one too."""
        context, _ = certificates("elsewhere.example")
        assert "context" not in repr(wrong_certificate(context))

    @pytest.mark.parametrize("after", [0.0, 0.05])
    def test_reset(self, after: float, echo: Echo, client: Client) -> None:
        """Links that are open are reset, at once or after a while; so are those that come."""
        with faults(echo, reset(after)) as plan:
            with pytest.raises(ConnectionResetError):
                client.receive()
            with pytest.raises(ConnectionError), dial(echo.urls[0]) as late:
                late.receive()
        assert {entry.step for entry in plan.trace} == {"reset"}

    @pytest.mark.parametrize("after", [0.0, 0.05])
    def test_half_open(self, after: float, echo: Echo, client: Client) -> None:
        """The link stays and is silent; when the fault is over, all that was sent is answered."""
        with faults(echo, half_open(after)) as plan:
            assert eventually(lambda: plan.trace)
            client.send(b"anybody there?")
            assert client.silent()
        assert client.receive_exactly(14) == b"anybody there?"

    def test_half_open_holds_the_client_back(self, echo: Echo, client: Client) -> None:
        """A half-open link takes no bytes any more, once the buffers are full."""
        with faults(echo, half_open()):
            assert client.fills_up()
        assert client.receive_exactly(4)

    @pytest.mark.parametrize("way", ["return", "close", "reset", "write"])
    def test_half_open_survives_serve(self, way: str) -> None:
        """Whatever the simulator does, the link stays as long as the fault."""

        class Quitter(Simulator):
            def serve(self, session: Session) -> None:
                session.write(b"hello")
                assert eventually(lambda: plan.trace)
                if way == "write":
                    session.write(b"into the void")
                elif way != "return":
                    getattr(session, way)()

        with Quitter() as simulator:
            with faults(simulator, half_open(0.01)) as plan, dial(simulator.listen_tcp()) as client:
                assert client.receive() == b"hello"
                assert client.silent()
            assert eventually(lambda: not simulator.sessions)

    def test_unplug_a_serial_line(self) -> None:
        """The line hangs up and loses its name, and is there again under the same name."""
        with Echo() as simulator:
            url = simulator.listen_pty()
            with dial(url) as client:
                assert answered(client)
                with faults(simulator, unplug(0.01, seconds=0.2)):
                    assert client.hung_up()
                    assert eventually(lambda: not reachable(url))
                    assert eventually(lambda: reachable(url))
                    with dial(url) as again:
                        assert answered(again)

    def test_unplug_ports(self, echo: Echo, client: Client) -> None:
        """Ports refuse clients for a while; the end of the block is the end of the outage."""
        with faults(echo, unplug(seconds=LONG)):
            with pytest.raises(ConnectionResetError):
                client.receive()
            assert eventually(lambda: not reachable(echo.urls[0]))
        assert eventually(lambda: reachable(echo.urls[0]))

    def test_from_the_start(self) -> None:
        """Faults that are in force before the start work from the start."""
        simulator = Echo()
        url = simulator.listen_tcp()
        with faults(simulator, unplug(seconds=LONG)), simulator:
            assert eventually(lambda: not reachable(url))

    def test_one_plan_at_a_time(self, echo: Echo) -> None:
        """Faults inside faults are refused, and the outer ones stay."""
        with faults(echo, accept_close()):
            with pytest.raises(RuntimeError, match=r"accept_close=1.*in one call"), faults(echo, reset()):
                pass
            with dial(echo.urls[0]) as client:
                assert client.receive() == b""

    def test_nothing_else_is_injected(self, echo: Echo) -> None:
        """A thing that is no fault is refused before anything changes."""
        with pytest.raises(TypeError), faults(echo, "reset"):
            pass
        with faults(echo), dial(echo.urls[0]) as client:
            assert answered(client)
