"""
The grammar of endpoint strings: what each form takes, and what is wrong with a text.

It is Twisted's, so that what people have in their configuration stays true: fields are split at ``:``; the first ``=``
in a field makes it a keyword, further ones are plain; a backslash takes the next character literally; what stands
without a keyword is taken in order.  Added are the forms ``fd``, ``udp``, ``udp6`` and ``unixgram``, names of abstract
sockets (``unix:@name``), ``reuseport``, TLS over any stream, and the shorthands ``8080`` and ``host:port``.

What comes out are the arguments of an `Endpoint`, not the value itself.  What is wrong is a `Fault`.
"""

from __future__ import annotations

from typing import Any

from plait.parameters import PARAMETERS, TLS_FIELDS, Fault, read_host, read_port

TLS = "certKey privateKey extraCertChain dhParameters sslmethod trustRoots certDir"

# What a form takes, in order; what follows the bar is taken with its keyword only; "!" must be given.
LISTENING = {
    "tcp": f"port! interface backlog | reuseport {TLS}",
    "tcp6": f"port! backlog interface | reuseport {TLS}",
    "ssl": "port! privateKey certKey sslmethod interface backlog extraCertChain dhParameters | reuseport trustRoots",
    "tls": "directory! port backlog interface | reuseport trustRoots",
    "unix": f"address! mode backlog lockfile | {TLS}",
    "udp": "port! interface | reuseport",
    "udp6": "port! interface | reuseport",
    "unixgram": "address! mode lockfile",
    "systemd": f"domain index name | {TLS}",
    "fd": f"descriptor! | {TLS}",
}
CONNECTING = {
    "tcp": "host! port! timeout bindAddress",
    "tcp6": "host! port! timeout bindAddress",
    "tls": "host! port! timeout bindAddress certificate privateKey trustRoots endpoint | hostname verify",
    "ssl": "host! port! certKey privateKey caCertsDir timeout bindAddress hostname | verify",
    "unix": "path! timeout lockfile",
    "udp": "host! port! timeout bindAddress",
    "udp6": "host! port! timeout bindAddress",
    "unixgram": "path! timeout bindAddress",
}


def parse(text: str, connects: bool) -> dict[str, Any]:
    """Return the arguments of the `Endpoint` that *text* spells; ``tls`` is a dictionary or None.  Raises `Fault`."""
    if not isinstance(text, str):
        raise Fault("is not text: write one such as tcp:8080")
    if not text:
        raise Fault("is empty: write one such as " + ("tcp:localhost:8080" if connects else "tcp:8080"))
    if "://" in text and text.partition("://")[0].isalnum():
        raise Fault("is a URL: write it such as " + ("tcp:localhost:8080" if connects else "tcp:8080"))
    if text.startswith("["):
        return read_bracketed(text)
    (keyword, word), *rest = split(text)
    forms = CONNECTING if connects else LISTENING
    form = word.lower()
    if keyword is None and form in forms:
        if form == "tls" and not connects and any(key in ("certKey", "privateKey") for key, _ in rest):
            form = "ssl"
        return read_form(form, forms[form], rest, connects)
    return read_shorthand(text, [(keyword, word), *rest], connects)


def split(text: str) -> list[tuple[str | None, str]]:
    """Return the fields of *text*, each with its keyword or None."""
    fields: list[tuple[str | None, str]] = []
    keyword: str | None = None
    value: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if not escaped:
                raise Fault("ends in the middle of an escape: write \\\\ for one backslash")
            value.append(escaped)
        elif character == ":":
            fields.append((keyword, "".join(value)))
            keyword, value = None, []
        elif character == "=" and keyword is None:
            keyword, value = "".join(value), []
        else:
            value.append(character)
    return [*fields, (keyword, "".join(value))]


def quote(text: str) -> str:
    """Return *text* escaped, to be one value inside an endpoint string."""
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")


def read_bracketed(text: str) -> dict[str, Any]:
    """Read ``[::1]:8080``."""
    host, bracket, port = text[1:].partition("]:")
    if not bracket or ":" not in host:
        raise Fault("has a bracket without an address and a port: write it such as [::1]:8080")
    return {"kind": "tcp6", "host": read_host("host", host), "port": read_port("port", port)}


def read_shorthand(text: str, fields: list[tuple[str | None, str]], connects: bool) -> dict[str, Any]:
    """Read ``8080`` and ``host:port``, or say what the first word should have been."""
    forms = CONNECTING if connects else LISTENING
    (keyword, word), *rest = fields
    if keyword is not None:
        raise Fault(f'begins with the keyword "{keyword}": write the kind first, one of {", ".join(forms)}')
    if not rest and not connects and word.isdigit():
        return {"kind": "tcp", "port": read_port("port", word)}
    if len(rest) == 1 and rest[0][0] is None and may_be_host(word, rest[0][1], connects):
        if connects and not word:
            raise Fault("the host is missing: write host:port")
        return {"kind": "tcp", "host": read_host("host", word), "port": read_port("port", rest[0][1])}
    from plait.refusals import explain_kind

    raise Fault(explain_kind(text, word, forms, LISTENING))


def may_be_host(word: str, port: str, connects: bool) -> bool:
    """Whether ``word:port`` is a host and a port, rather than a slip in the kind."""
    if word.lower() in LISTENING or not port.isalnum():
        return False
    if port.isdigit() and (connects or not word or "." in word or word == "localhost"):
        return True
    from plait.refusals import INSTEAD, nearest

    return word.lower() not in INSTEAD and not nearest(word, CONNECTING if connects else LISTENING)


def read_form(word: str, takes: str, given: list[tuple[str | None, str]], connects: bool) -> dict[str, Any]:
    """Read the fields *given* to the form *word*, which *takes* these."""
    values = assign(word, takes, given)
    fields: dict[str, Any] = {}
    tls: dict[str, Any] = {}
    for name, value in values.items():
        field, read = PARAMETERS[name]
        (tls if field in TLS_FIELDS else fields)[field] = read(name, value)
    fields.pop("ignored", None)
    fields["kind"] = "tcp" if word in ("ssl", "tls") else word
    if word == "ssl" and not connects:
        tls["certificate"] = tls.get("certificate") or tls.get("private_key") or "server.pem"
    elif word == "tls" and not connects:
        if given[0][0] is None and given[0][1].isdigit():
            raise Fault(f"has a port and no certificate: write tls:{given[0][1]}:certKey=cert.pem:privateKey=key.pem")
        fields.setdefault("port", 443)
        fields.setdefault("host", "::")
    elif word == "systemd" and ("name" in fields) == ("index" in fields):
        raise Fault("wants a name or an index, and one of them only: write systemd:name=NAME or systemd:index=0")
    if tls or word in ("ssl", "tls"):
        fields["tls"] = tls
    inner = fields.pop("endpoint", None)
    if inner is None:
        return fields
    # The nested endpoint says where to go; the host of this one is only whom to expect there.
    tls.setdefault("hostname", fields["host"])
    return {**parse_nested(inner), **{key: fields[key] for key in ("timeout", "bind_address", "tls") if key in fields}}


def parse_nested(text: str) -> dict[str, Any]:
    """Read the value of ``endpoint=``."""
    fields = parse(text, connects=True)
    if fields.get("tls") is not None or fields["kind"] in ("udp", "udp6", "unixgram"):
        raise Fault(f'endpoint={text} cannot carry TLS: write one of tcp, tcp6, unix, with each ":" as "\\:"')
    return fields


def assign(word: str, takes: str, given: list[tuple[str | None, str]]) -> dict[str, str]:
    """Return the values *given* by the names that the form *takes*."""
    ordered, _, further = takes.replace("!", "").partition("|")
    order = ordered.split()
    names = [*order, *further.split()]
    values: dict[str, str] = {}
    position = 0
    for keyword, value in given:
        if keyword is None:
            if position == len(order):
                raise Fault(f'"{value}" is one too many after {", ".join(order)}: {COLONS}')
            name = order[position]
            position += 1
        else:
            name = next((twin for twin in TWINS.get(keyword, ()) if twin in names), keyword)
            if name not in names:
                from plait.refusals import explain_keyword

                raise Fault(explain_keyword(word, name, names))
        if name in values:
            raise Fault(f"{name} is given twice: {COLONS}")
        values[name] = value
    required = [name[:-1] for name in takes.split() if name.endswith("!")]
    for name in required:
        if not values.get(name):
            raise Fault(f"the {name} is missing: write {':'.join([word, *(item.upper() for item in required)])}")
    return values


# Twisted calls it "address" where unix: listens, "path" where it connects, and "path" again in tls:DIRECTORY.
TWINS = {"path": ("address", "directory"), "address": ("path",)}
COLONS = 'leave it out, or write a ":" that belongs to a value as "\\:"'
