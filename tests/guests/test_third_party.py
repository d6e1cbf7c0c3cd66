"""
Programs of others run under plaitd, as their users start them, with nothing changed in them.

Each is proved by a real client, stops within ten seconds, and leaves no pidfile and no child.  With ``--long`` each
is run under twistd too, which is the reference.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.third_party import (
    PLAITD,
    QUIET,
    TWISTD,
    Daemon,
    Environments,
    Host,
    ask,
    free_port,
    run,
    wait_for_line,
)
from tests.system.daemon import Place

pytestmark = pytest.mark.time_limit(400)  # the first that needs an environment makes it


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path) as place:
        yield place


@pytest.fixture(params=[PLAITD, pytest.param(TWISTD, marks=pytest.mark.long)], ids=["plaitd", "twistd"])
def host(request: pytest.FixtureRequest) -> Host:
    found: Host = request.param
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="plait-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def needs(program: str, package: str) -> None:
    """Skip the test, saying so, where there is no *program*."""
    if not shutil.which(program):
        pytest.skip(f"NOT RUN: needs {program}, of the package {package}")


# Plugins --------------------------------------------------------------------------------------------------------------

CARBON = """
[cache]
USER = {user}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
ENABLE_LOGROTATION = False
"""


def test_carbon_cache(environments: Environments, host: Host, place: Place, open_folder: Path) -> None:
    """
    The metrics daemon of Graphite: a plugin that reads its parent's options, and writes them.

    By its own configuration it chooses pidfile, umask and user, and logs into a folder of its own; it looks whether it
    runs, and stops itself, in the parsing of its options; it writes to the disk in a thread.
    """
    environment = environments("carbon")
    configuration, storage = open_folder / "conf", open_folder / "storage"
    configuration.mkdir()
    storage.mkdir()
    port = free_port()
    user = ""
    if os.geteuid() == 0:
        user = "nobody"
        shutil.chown(storage, user)
    text = CARBON.format(user=user, line=port, pickle=free_port(), query=free_port())
    (configuration / "carbon.conf").write_text(text)
    (configuration / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
    log = storage / "log" / "carbon-cache" / "carbon-cache-a"
    options = {"environment": {"GRAPHITE_ROOT": str(open_folder)}}
    carbon = (*host.program(environment), "carbon-cache", f"--config={configuration}/carbon.conf")

    assert "is not running" in run(place, *carbon, "status", code=1, **options).output
    assert "Starting carbon-cache (instance a)" in run(place, *carbon, "start", **options).output
    daemon = Daemon(place, storage / "carbon-cache-a.pid", log / "console.log")
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    assert "\nUmask:\t0022\n" in status
    assert Path(f"/proc/{daemon.pid}").stat().st_uid == storage.stat().st_uid
    ask(port, b"plait.answer 42 -1\n")
    wait_for_line(log / "updates.log", r"wrote 1 datapoints for plait\.answer")
    fetch = run(
        place,
        environment / "bin" / "python",
        environment / "bin" / "whisper-fetch.py",
        "--drop=nulls",
        storage / "whisper" / "plait" / "answer.wsp",
    )
    assert "42.0" in fetch.output
    assert f"is running with pid {daemon.pid}\n" in run(place, *carbon, "status", **options).output
    assert f"is already running with pid {daemon.pid}\n" in run(place, *carbon, "start", code=1, **options).output

    assert daemon.stop(*carbon, "stop", **options) == host.status


def test_wormhole(environments: Environments, host: Host, place: Place) -> None:
    """Both servers of Magic Wormhole, plugins: two clients find each other, and one sends the other a file."""
    environment = environments("wormhole")
    mailbox, transit = free_port(), free_port()
    kinds = {
        "mailbox": (f"wormhole-mailbox --port=tcp:{mailbox}:interface=127.0.0.1 --channel-db=channels"),
        "transit": (f"transitrelay --port=tcp:{transit}:interface=127.0.0.1"),
    }
    servers = []
    for name, words in kinds.items():
        run(place, *host.program(environment), f"--pidfile={name}.pid", f"--logfile={name}.log", *words.split())
        servers.append(Daemon(place, place.folder / f"{name}.pid", place.folder / f"{name}.log"))
    (place.folder / "letter").write_text("by the relay\n")
    wormhole = (
        f"{environment}/bin/wormhole --relay-url=ws://127.0.0.1:{mailbox}/v1 --transit-helper=tcp:127.0.0.1:{transit}"
    )
    # Neither listens, so that they meet at the relay, and nowhere but on this machine.
    sends = f"{wormhole} send --no-listen --no-qr --hide-progress --code=7-as-one letter"
    receives = f"{wormhole} receive --no-listen --hide-progress --accept-file --output-file=came 7-as-one"

    sending = place.popen(program=tuple(sends.split()), **QUIET)
    run(place, *receives.split())
    assert sending.wait(20) == 0
    assert (place.folder / "came").read_text() == "by the relay\n"

    assert servers[0].stop(besides=(servers[1],)) == host.status
    assert servers[1].stop() == host.status


def test_cowrie(environments: Environments, host: Host, place: Place) -> None:
    """
    A honeypot for ssh, by its own commands, which run whatever ``twistd`` is on the PATH: somebody logs in.

    It refuses to be root's, and names a factory for the log.
    """
    needs("ssh", "openssh-client")
    environment = environments("cowrie")
    programs = host.as_twistd(place, environment, "cowrie")
    # Another user's number for root's own rights: others could not read a Python that is in root's folder.
    become = ("unshare", "--user", "--map-user=1000", "--map-group=1000") if os.geteuid() == 0 else ()
    cowrie = (*become, programs / "cowrie")
    options = {"environment": {"PATH": f"{programs}:{os.environ['PATH']}"}}
    run(place, *cowrie, "init", **options)
    port, configuration = free_port(), place.folder / "etc" / "cowrie.cfg"
    configuration.write_text(
        configuration.read_text().replace("tcp:2222:interface=0.0.0.0", f"tcp:{port}:interface=127.0.0.1")
    )

    assert "Starting cowrie: [twistd --umask=0022 " in run(place, *cowrie, "start", "--", *host.words, **options).output
    daemon = Daemon(place, place.folder / "var/run/cowrie.pid", place.folder / "var/log/cowrie/cowrie.log")
    assert f"cowrie is running (PID: {daemon.pid})" in run(place, *cowrie, "status", **options).output
    says = place.aside / "password"
    says.write_text("#!/bin/sh\necho letmein\n")
    says.chmod(0o755)
    asking = {"SSH_ASKPASS": str(says), "SSH_ASKPASS_REQUIRE": "force"}
    given = ("-F", "none", "-p", str(port), "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no")
    came = run(place, "ssh", *given, "root@127.0.0.1", "hostname; whoami", environment=asking)
    assert came.output.splitlines() == ["svr04", "root"]

    assert daemon.stop(*map(str, cowrie), "stop", **options) == host.status
    assert "cowrie is not running" in run(place, *cowrie, "status", **options).output
    assert "login attempt [root/letmein] succeeded" in daemon.logs[0].read_text()


# Files of their own ---------------------------------------------------------------------------------------------------

MASTER = """
from buildbot.plugins import changes, schedulers, steps, util, worker
proof = util.BuildFactory([steps.ShellCommand(command=["sh", "-c", "echo built > ../../proof"])])
BuildmasterConfig = {{
    "workers": [worker.Worker("wendy", "password")],
    "protocols": {{"pb": {{"port": "tcp:{port}:interface=127.0.0.1"}}}},
    "change_source": [changes.PBChangeSource()],
    "schedulers": [schedulers.AnyBranchScheduler(name="all", builderNames=["builder"])],
    "builders": [util.BuilderConfig(name="builder", workernames=["wendy"], factory=proof)],
    "db": {{"db_url": "sqlite:///state.sqlite"}},
    "buildbotNetUsageData": None,
}}
"""


def test_buildbot(environments: Environments, host: Host, place: Place) -> None:
    """
    Buildbot's master and worker, each from the ``.tac`` that it wrote: a change is sent in, and built.

    They keep a log of their own, which their commands follow, and find each other's numbers in ``twistd.pid``.  The
    master takes SIGHUP, SIGUSR1 and SIGTERM for itself, late, and its database has threads.
    """
    environment = environments("buildbot")
    port = free_port()
    buildbot, worker = environment / "bin" / "buildbot", environment / "bin" / "buildbot-worker"
    run(place, buildbot, "create-master", "--quiet", "master")
    (place.folder / "master" / "master.cfg").write_text(MASTER.format(port=port))
    run(place, worker, "create-worker", "--quiet", "worker", f"127.0.0.1:{port}", "wendy", "password")

    daemons, logs = [], []
    for name in ("master", "worker"):
        folder = place.folder / name
        run(place, *host.program(environment), "--pidfile=twistd.pid", "--python=buildbot.tac", cwd=folder)
        daemons.append(Daemon(place, folder / "twistd.pid", *folder.glob("*.log")))
        logs.append(folder / "twistd.log")
    wait_for_line(logs[0], "BuildMaster is running")
    wait_for_line(logs[1], "Connected to buildmaster; worker is ready")
    run(place, buildbot, "sendchange", f"--master=127.0.0.1:{port}", "--auth=change:changepw", "--who=somebody",
        "--branch=main", "README")  # fmt: skip
    wait_for_line(logs[0], "<Build builder number:1 results:success>: build finished")
    assert (place.folder / "worker" / "proof").read_text() == "built\n"
    assert "Reconfiguration appears to have completed successfully" in run(place, buildbot, "reconfig", "master").output

    assert daemons[1].stop(str(worker), "stop", "worker", besides=(daemons[0],)) == host.status
    # It has an answer of its own to TERM: reactor.stop().
    assert daemons[0].stop(str(buildbot), "stop", "master") == 0


def test_flappserver(environments: Environments, host: Host, place: Place) -> None:
    """Foolscap's server, from the ``.tac`` that it wrote: its client sends a file by a secret address."""
    environment = environments("foolscap")
    port = free_port()
    flappserver, flappclient = environment / "bin" / "flappserver", environment / "bin" / "flappclient"
    (place.folder / "inbox").mkdir()
    (place.folder / "letter").write_text("by a secret address\n")
    address = (f"--port=tcp:{port}:interface=127.0.0.1", f"--location=tcp:127.0.0.1:{port}")
    run(place, flappserver, "create", "--quiet", *address, "server")
    added = run(place, flappserver, "add", "server", "upload-file", place.folder / "inbox").output
    secret = added.rpartition("FURL is ")[2].strip()

    server = place.folder / "server"
    run(place, *host.program(environment), "--pidfile=twistd.pid", "--python=flappserver.tac", cwd=server)
    daemon = Daemon(place, server / "twistd.pid", *server.glob("*.log"))
    run(place, flappclient, "--furl", secret, "upload-file", "letter")
    assert (place.folder / "inbox" / "letter").read_text() == "by a secret address\n"

    # Its own command asks whether it has gone by further signals: twistd logs that as errors, and plaitd need not.
    command = (str(flappserver), "stop", "server") if host is PLAITD else ()
    assert daemon.stop(*command) == host.status


# Those that take long to install --------------------------------------------------------------------------------------

SPIDER = """
import asyncio, os, scrapy

class Spider(scrapy.Spider):
    name = "spider"
    async def start(self):
        with open(os.environ["TOLD"], "w") as told:
            told.write(f"{os.getppid()}\\n")
        if hasattr(self, "waits"):
            await asyncio.Event().wait()
        return
        yield
"""
EGG = {
    "EGG-INFO/PKG-INFO": "Metadata-Version: 2.1\nName: web\nVersion: 1\n",
    "EGG-INFO/entry_points.txt": "[scrapy]\nsettings = web.settings\n",
    "web/__init__.py": "",
    "web/settings.py": "SPIDER_MODULES = ['web.spiders']\n",
    "web/spiders/__init__.py": "",
    "web/spiders/spider.py": SPIDER,
}
SCRAPYD = """
[scrapyd]
http_port = {port}
poll_interval = 0.1
"""


@pytest.mark.long
def test_scrapyd(environments: Environments, host: Host, place: Place) -> None:
    """A server that runs spiders, each in a process of its own, from the file that comes with it."""
    needs("curl", "curl")
    environment = environments("scrapyd")
    port = free_port()
    (place.folder / "scrapyd.conf").write_text(SCRAPYD.format(port=port))
    with zipfile.ZipFile(place.folder / "web.egg", "w") as egg:
        for name, text in EGG.items():
            egg.writestr(name, text)
    (file,) = environment.glob("lib/python*/site-packages/scrapyd/txapp.py")

    run(place, *host.program(environment), "--pidfile=scrapyd.pid", "--logfile=scrapyd.log", "--python", file)
    daemon = Daemon(place, place.folder / "scrapyd.pid", place.folder / "scrapyd.log")
    url = f"http://127.0.0.1:{port}"
    curl = ("curl", "--silent", "--fail-with-body")
    run(place, *curl, f"{url}/addversion.json", "-Fproject=web", "-Fversion=1", "-Fegg=@web.egg")
    run(place, *curl, f"{url}/schedule.json", "-dproject=web", "-dspider=spider")
    assert place.heard() == str(daemon.pid)
    wait_for_line(daemon.logs[0], "Process finished: project='web' spider='spider'")
    jobs = json.loads(run(place, *curl, f"{url}/listjobs.json?project=web").output)
    assert [job["spider"] for job in jobs["finished"]] == ["spider"]
    if host is PLAITD:  # under twistd, one that runs at the stop lives on
        run(place, *curl, f"{url}/schedule.json", "-dproject=web", "-dspider=spider", "-dwaits=yes")
        assert place.heard() == str(daemon.pid)

    assert daemon.stop() == host.status


CANARY = {
    "device.node_id": "canary",
    "device.listen_addr": "127.0.0.1",
    "http.enabled": True,
    "http.skin": "nasLogin",
    "http.banner": "Apache",
    "logger": {
        "class": "PyLogger",
        "kwargs": {"formatters": {}, "handlers": {"file": {"class": "logging.FileHandler", "filename": "canary.log"}}},
    },
}


@pytest.mark.long
@pytest.mark.root
def test_opencanary(environments: Environments, host: Host, place: Place) -> None:
    """
    Decoys of servers, by their own script, which runs the ``twistd`` that is beside it.

    It asks for syslog, which need not be there.
    """
    pidfile = Path("/var/run/opencanaryd.pid")
    if pidfile.exists():
        pytest.skip(f"NOT RUN: needs {pidfile}, which exists: opencanaryd lets nobody choose another")
    needs("curl", "curl")
    environment = environments("opencanary")
    programs = host.as_twistd(place, environment, "opencanaryd", "opencanary.tac")
    port = free_port()
    (place.folder / "opencanary.conf").write_text(json.dumps(CANARY | {"http.port": port}))
    options = {"environment": {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "HOME": str(place.folder)}}

    canary = programs / "opencanaryd"

    run(place, canary, "--start", **options)
    daemon = Daemon(place, pidfile, place.folder / "canary.log")
    page = run(place, "curl", "--silent", f"http://127.0.0.1:{port}/index.html").output
    assert "password" in page
    wait_for_line(daemon.logs[0], r'"PATH": "/index.html"')

    assert daemon.stop(str(canary), "--stop", **options) == host.status
