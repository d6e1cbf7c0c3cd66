"""``web`` in all its modes, asked by curl."""

from __future__ import annotations

from pathlib import Path

import trustme

from tests.guests.bundled import Rig, Steps, bundled

SITE = "http://127.0.0.1:8080"


def curl(rig: Rig, *words: str, **how: object) -> str:
    """Return what curl gets."""
    return rig.client("curl", "--silent", "--show-error", *words, **how)


@bundled("web")
def demo(rig: Rig) -> Steps:
    """Without a word: the page of Twisted at port 8080."""
    yield []
    assert "Twisted" in curl(rig, f"{SITE}/")


@bundled("web")
def path(rig: Rig) -> Steps:
    """A folder, given relatively: a page, a part of a file, a listing, and what is not there."""
    site = rig.place.folder / "site"
    (site / "folder").mkdir(parents=True)
    (site / "index.html").write_text("<p>welcome</p>")
    (site / "folder" / "numbers.txt").write_text("0123456789")
    rig.place.allow("site")
    yield ["--path", "site"]
    assert curl(rig, f"{SITE}/") == "<p>welcome</p>"
    assert curl(rig, "--range", "2-4", f"{SITE}/folder/numbers.txt") == "234"
    assert "numbers.txt" in curl(rig, f"{SITE}/folder/")
    assert curl(rig, "--output", "/dev/null", "--write-out", "%{http_code}", f"{SITE}/none") == "404"


@bundled("web")
def cgi(rig: Rig) -> Steps:
    """A program for each request, with what is posted on its standard input."""
    head = "#!/bin/sh\necho Content-Type: text/plain\necho\n"
    rig.write("site/answer.cgi", head + 'echo "$REQUEST_METHOD $QUERY_STRING $(cat)"\n', 0o755)
    yield ["--path", str(rig.data / "site")]
    assert curl(rig, "--data", "some words", f"{SITE}/answer.cgi?a=b") == "POST a=b some words\n"


@bundled("web", leaves=True)
def cgi_unfinished(rig: Rig) -> Steps:
    """A program that is not done when all is stopped, and whose client has gone."""
    script = f"#!/bin/sh\necho $$ > {rig.data}/waits\nexec sleep 1000\n"
    rig.write("site/wait.cgi", script, 0o755)
    rig.expected += ["outlived what started it", "exited with exit code None", "Premature end of headers"]
    yield ["--path", str(rig.data / "site")]
    curl(rig, "--max-time", "0.5", f"{SITE}/wait.cgi", code=28)
    assert (rig.data / "waits").read_text()


@bundled("web")
def rpy(rig: Rig) -> Steps:
    """A resource made by a script at each request."""
    rig.write(
        "site/hello.rpy",
        "from twisted.web import resource\n\n\nclass Hello(resource.Resource):\n    isLeaf = True\n\n"
        "    def render_GET(self, request):\n        return b'hello ' + request.args[b'who'][0]\n\n\n"
        "resource = Hello()\n",
    )
    yield ["--path", str(rig.data / "site")]
    assert curl(rig, f"{SITE}/hello.rpy?who=you") == "hello you"


@bundled("web")
def epy(rig: Rig) -> Steps:
    """A script that writes to the request."""
    rig.write("site/sum.epy", "request.write(b'%d' % (17 + 25))\n")
    yield ["--path", str(rig.data / "site")]
    assert curl(rig, f"{SITE}/sum.epy") == "42"


@bundled("web")
def processor(rig: Rig) -> Steps:
    """A kind of file of one's own, and what else may be said of a folder."""
    rig.environment["PYTHONPATH"] = str(rig.data / "modules")
    rig.write(
        "modules/upper.py",
        "from twisted.web import resource\n\n\nclass Upper(resource.Resource):\n    isLeaf = True\n\n"
        "    def __init__(self, path, registry):\n        super().__init__()\n        self.path = path\n\n"
        "    def render_GET(self, request):\n        with open(self.path, 'rb') as file:\n"
        "            return file.read().upper()\n",
    )
    rig.write("site/start.txt", "begin")
    rig.write("site/loud.up", "quiet")
    rig.write("site/plain", "text")
    words = ["--processor", ".up=upper.Upper", "--ignore-ext", ".txt", "--mime-type", "text/x-mine"]
    yield ["--path", str(rig.data / "site"), *words, "--index", "start.txt", "-p", "tcp:8081"]
    site = "http://127.0.0.1:8081"
    assert curl(rig, f"{site}/loud.up") == "QUIET"
    assert curl(rig, f"{site}/") == "begin"
    assert curl(rig, f"{site}/start") == "begin"
    assert curl(rig, "--write-out", " %{content_type}", f"{site}/plain") == "text text/x-mine"


@bundled("web")
def wsgi(rig: Rig) -> Steps:
    """A WSGI application, in the threads of the reactor."""
    rig.environment["PYTHONPATH"] = str(rig.data)
    rig.write(
        "shop.py",
        "import threading\n\n\ndef application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    inside = threading.current_thread() is threading.main_thread()\n"
        "    return [environ['PATH_INFO'].encode(), b' main' if inside else b' thread']\n",
    )
    yield ["--wsgi", "shop.application"]
    assert curl(rig, f"{SITE}/some/path") == "/some/path thread"


RESOURCE = """\
from twisted.internet import reactor, task
from twisted.web import resource, server


class Slow(resource.Resource):
    isLeaf = True

    def render_GET(self, request):
        task.deferLater(reactor, 0.01, request.write, b"slow").addCallback(lambda _: request.finish())
        return server.NOT_DONE_YET
"""


@bundled("web")
def class_(rig: Rig) -> Steps:
    """A resource by the name of its class, which needs the reactor."""
    rig.environment["PYTHONPATH"] = str(rig.data)
    rig.write("shop.py", RESOURCE)
    yield ["--class", "shop.Slow"]
    assert curl(rig, f"{SITE}/") == "slow"


SCRIPT = """

resource = resource.Resource()
resource.putChild(b"slow", Slow())
"""


@bundled("web")
def resource_script(rig: Rig) -> Steps:
    """One script for all."""
    script = rig.write(
        "root.rpy", RESOURCE + "\n\nresource = resource.Resource()\nresource.putChild(b'slow', Slow())\n"
    )
    yield ["--resource-script", script]
    assert curl(rig, f"{SITE}/slow") == "slow"


@bundled("web")
def personal(rig: Rig) -> Steps:
    """A site that another server publishes: it listens in one's home."""
    rig.write("home/index.html", "mine")
    rig.environment["HOME"] = str(rig.data / "home")
    published = rig.data / "home" / ".twistd-web-pb"
    front = "from twisted.web import distrib\n\nresource = distrib.ResourceSubscription('unix', {!r})\n"
    rig.write("front/mine.rpy", front.format(str(published)))
    # The other server leaves in the middle of a call.
    rig.expected += ["Unhandled [Ee]rror", "PBConnectionLost", "Traceback"]
    yield ["--personal", "--path", str(rig.data / "home")]
    with rig.other("web", "--path", str(rig.data / "front")):
        assert curl(rig, f"{SITE}/mine.rpy/index.html") == "mine"


@bundled("web")
def user(rig: Rig) -> Steps:
    """What each person has in a folder."""
    rig.write("home/alice/public_html/index.html", "of alice")
    accounts = Path("/etc/passwd").read_text() + f"alice:x:4711:4711:Alice:{rig.data}/home/alice:/bin/sh\n"
    rig.mounts[Path(rig.write("passwd", accounts))] = "/etc/passwd"
    yield ["--user"]
    assert curl(rig, f"{SITE}/alice/index.html") == "of alice"
    assert "alice" in curl(rig, f"{SITE}/")


@bundled("web")
def listen(rig: Rig) -> Steps:
    """Several places, a header more, and a log of requests."""
    rig.write("site/index.html", "here")
    words = ["--listen", "tcp:80:interface=127.0.0.1", "--listen", "tcp6:8081", "--listen", f"unix:{rig.data}/socket"]
    log = rig.data / "requests.log"
    yield [*words, "--add-header", "X-Shop: open", "--logfile", str(log), "--path", str(rig.data / "site")]
    assert "X-Shop: open\r\n" in curl(rig, "--include", "http://127.0.0.1/")
    assert curl(rig, "http://[::1]:8081/") == "here"
    assert curl(rig, "--unix-socket", str(rig.data / "socket"), "http://any/") == "here"
    assert log.read_text().count('"GET / HTTP/1.1" 200 4 "-" "curl/') == 3


@bundled("web")
def listen_tls(rig: Rig) -> Steps:
    """TLS by the old options, and by endpoints."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(rig.data / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(rig.data / "server.pem")
    (rig.data / "directory").mkdir()
    certificate.private_key_and_cert_chain_pem.write_to_path(rig.data / "directory" / "localhost.pem")
    pem = str(rig.data / "server.pem")
    endpoints = [
        "--listen",
        f"ssl:8443:privateKey={pem}",
        "--listen",
        f"tls:{rig.data}/directory:8444:interface=127.0.0.1",
    ]
    yield ["--https", "8442", "-c", pem, "-k", pem, *endpoints]
    for port in (8442, 8443, 8444):
        page = curl(rig, "--cacert", str(rig.data / "ca.pem"), f"https://localhost:{port}/")
        assert "Twisted" in page
