"""How the certificate of a server is judged."""

from __future__ import annotations

import ssl

from bench.values.errors import InputError


def context_of(verify: bool = True, ca_file: str | None = None) -> ssl.SSLContext:
    """A client's TLS context: this machine's authorities, or those of `ca_file`, or anybody's."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"engine.ca_file: {ca_file!r} is no readable PEM file of certificates."
        ) from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
