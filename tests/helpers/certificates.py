"""Certificates for TLS, of an authority that only the test trusts."""

from __future__ import annotations

import ssl

import trustme


def certificates(name: str = "localhost") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a context for a server called ``name`` and one for clients that trust it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
