"""
The TLS of an endpoint, as a value.
"""

from __future__ import annotations

from plait.values import Value, value


@value
class Tls(Value):
    """
    The TLS of an endpoint, as a value: names of files, none of which is read here.

    *certificate*, *private_key* (empty: it is in the certificate's file), *chain* (further certificates to send) and
    *dh_parameters* are PEM files.  *directory* holds ``.pem`` files, chosen by the name that the client asks for.
    *authorities* is a file or a directory of ``.pem`` files: whom to trust.  Listening, it makes every client show a
    certificate signed by one of them; connecting, it replaces the system's.  *hostname* is who is expected at the
    other end, if not the host of the endpoint; *verify* is False to believe anybody (never outside of a test).
    """

    certificate: str = ""
    private_key: str = ""
    chain: str = ""
    dh_parameters: str = ""
    directory: str = ""
    authorities: str = ""
    hostname: str = ""
    verify: bool = True

    def __post_init__(self) -> None:
        if self.private_key == self.certificate:
            object.__setattr__(self, "private_key", "")
