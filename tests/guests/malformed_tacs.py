"""
Files, plugins and saved applications of Twisted that cannot be right, each with the exit code that it deserves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

HEAD = """\
from twisted.application import internet, service
from twisted.internet import defer, protocol
"""

APPLICATION = HEAD + 'application = service.Application("shop")\n'

#: A drop-in, and what it makes.
DROP_IN = """\
from zope.interface import implementer
from twisted.application import service
from twisted.plugin import IPlugin
from twisted.python import usage

class Options(usage.Options):
    optParameters = [["port", "p", 1, "a number", int]]

@implementer(service.IServiceMaker, IPlugin)
class Maker:
    tapname = "brew"
    description = "Brew."
    options = Options
    def makeService(self, options):
        return service.Service()

brew = Maker()
"""
PLUGIN = "twisted/plugins/brewing.py"


@dataclass(frozen=True)
class Malformed:
    """
    What is started: a command line in a folder with these files; and the exit code.

    *kind* of the file ``shop.tac`` is ``file``, or what else has its name: ``folder``, ``pipe``.  *says* is what
    must be said, empty where the file itself has the last word.
    """

    name: str
    code: int
    says: str
    arguments: tuple[str, ...] = ("-n", "-y", "shop.tac")
    files: dict[str, str | bytes] = field(default_factory=dict)
    kind: str = "file"


def tac(name: str, source: str | bytes, says: str, code: int = 78, **more: str | bytes) -> Malformed:
    """Return the case of a ``shop.tac`` with this *source*; *more* are modules beside it."""
    files: dict[str, str | bytes] = {f"{module}.py": text for module, text in more.items()}
    front = ("--import-folder",) if more else ()
    return Malformed(f"file: {name}", code, says, ("-n", *front, "-y", "shop.tac"), {"shop.tac": source} | files)


def files() -> Iterator[Malformed]:
    """Yield files that cannot be read."""
    yield Malformed("file: not there", 78, "shop.tac: cannot be read (No such file or directory)")
    yield Malformed("file: a folder", 78, "shop.tac: cannot be read (Is a directory)", kind="folder")
    yield Malformed("file: a pipe", 78, "shop.tac: cannot be read (it is a pipe, and nobody writes to it)", kind="pipe")
    yield tac("empty", "", "shop.tac: defines no variable `application`")
    yield tac("comments", "# nothing\n", "shop.tac: defines no variable `application`")
    yield tac("huge line", "x = 0" + " + 1" * 200_000, "shop.tac")
    yield tac("deep", "x = " + "(" * 5000 + ")" * 5000, "shop.tac")
    yield tac("deep lists", "x = " + "[" * 150 + "]" * 150, "shop.tac")
    yield tac("NUL bytes", APPLICATION.encode() + b"\0\n", "shop.tac")
    yield tac("only NUL bytes", b"\0" * 100, "shop.tac")
    yield tac("utf-16", APPLICATION.encode("utf-16"), "shop.tac")
    yield tac("utf-32", APPLICATION.encode("utf-32"), "shop.tac")
    yield tac("latin-1 without a cookie", "# caf\xe9\n".encode("latin-1"), "shop.tac")
    yield tac("latin-1 in a text", "x = 'caf\xe9'\n".encode("latin-1"), "shop.tac")
    yield tac("an unknown cookie", b"# -*- coding: klingon -*-\n", "shop.tac")
    yield tac("a cookie that is wrong", b"# -*- coding: ascii -*-\nx = '\xc3\xa9'\n", "shop.tac")
    yield tac("a cookie against the BOM", b"\xef\xbb\xbf# -*- coding: latin-1 -*-\n", "shop.tac")
    yield tac("a cookie of no text", b"# -*- coding: rot13 -*-\nx = 1\n", "shop.tac")
    yield tac("a cookie of undefined", b"# -*- coding: undefined -*-\nx = 1\n", "shop.tac")
    yield tac("an ELF program", b"\x7fELF\x02\x01\x01\0" + bytes(range(256)), "shop.tac")
    yield tac("a pickle", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07shopping\x94.", "shop.tac")
    for name, source in {
        "unclosed": "x = (",
        "a tab": "if 1:\n        x = 1\n\ty = 2\n",
        "indentation": "  x = 1\n",
        "dedentation": "if 1:\n    x = 1\n  y = 2\n",
        "Python 2's print": "print 'shop'\n",
        "Python 2's except": "try:\n    pass\nexcept ValueError, error:\n    pass\n",
        "an octal number": "x = 0777\n",
        "backticks": "x = `1`\n",
        "return": "return 1\n",
        "await": "await x\n",
        "yield": "yield 1\n",
        "break": "break\n",
        "an f-text": "x = f'{'\n",
        "a text": "x = 'abc\n",
        "nonlocal": "nonlocal x\n",
        "from future": "x = 1\nfrom __future__ import annotations\n",
        "from a future that is none": "from __future__ import braces\n",
        "star": "def f():\n    from os import *\n",
        "assigning": "None = 1\n",
        "a name": "\u20ac = 1\n",
        "twice": "def f(a, a): pass\n",
    }.items():
        yield tac(f"no Python: {name}", source, "shop.tac:")


def raising() -> Iterator[Malformed]:
    """Yield files in which something is raised."""
    for source, says in {
        "raise ValueError('no luck')": "shop.tac:1: ValueError: no luck",
        "raise ValueError": "shop.tac:1: ValueError",
        "raise ValueError('')": "shop.tac:1: ValueError",
        "raise ValueError('a\\nb\\nc')": "shop.tac:1: ValueError",
        "raise ValueError('\\x1b[31mred')": "shop.tac:1: ValueError",
        "raise ValueError('\\udcff')": "shop.tac:1: ValueError",
        "raise ValueError(b'\\xff')": "shop.tac:1: ValueError",
        "raise ValueError('x' * 100_000)": "shop.tac:1: ValueError",
        "raise StopIteration('no more')": "shop.tac:1: StopIteration",
        "next(iter([]))": "shop.tac:1: StopIteration",
        "raise StopAsyncIteration": "shop.tac:1: StopAsyncIteration",
        "raise GeneratorExit": "shop.tac:1: GeneratorExit",
        "raise BaseException('all')": "shop.tac:1: BaseException: all",
        "import asyncio; raise asyncio.CancelledError": "shop.tac:1: CancelledError",
        "raise ExceptionGroup('both', [ValueError('a'), KeyError('b')])": "shop.tac:1: ",
        "raise BaseExceptionGroup('both', [KeyboardInterrupt()])": "shop.tac:1: ",
        "raise MemoryError": "shop.tac:1: MemoryError",
        "raise OSError(13, 'Permission denied', '/shop')": "shop.tac:1: ",
        "raise KeyError('port')": "shop.tac:1: KeyError: 'port'",
        "assert False": "shop.tac:1: AssertionError",
        "import nowhere": "shop.tac:1: ModuleNotFoundError: No module named 'nowhere'",
        "from os import nothing": "shop.tac:1: ImportError",
        "import twisted.nowhere": "shop.tac:1: ModuleNotFoundError",
        "from twisted.python.usage import UsageError; raise UsageError('no port')": "shop.tac:1: UsageError: no port",
        "from plait import ConfigurationError; raise ConfigurationError('no port')": "shop.tac:1: no port",
        "from plait import UsageError; raise UsageError('no port')": "shop.tac:1: UsageError: no port",
        "def f(): f()\nf()": "shop.tac:1: RecursionError",
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E": "shop.tac:3: E",
        "class E(Exception):\n    def __str__(self): return 1\nraise E": "shop.tac:3: E",
        "class E(Exception):\n    def __init__(self): pass\n    args = 1\nraise E()": "shop.tac:",
        "exec('x = (')": "shop.tac:1",
        "eval('1/0')": "shop.tac:1: ZeroDivisionError",
        "import warnings; warnings.simplefilter('error'); warnings.warn('old')": "shop.tac:1: UserWarning: old",
        "import signal; signal.signal(99, None)": "shop.tac:1: ",
        "import os; os.chdir('/nowhere-at-all')": "shop.tac:1: FileNotFoundError",
        "import sys; sys.tracebacklimit = 0; raise ValueError('no luck')": "shop.tac:1: ValueError: no luck",
        "import sys; sys.excepthook = 1; raise ValueError('no luck')": "shop.tac:1: ValueError: no luck",
        "import sys; sys.path = None; import nowhere": "shop.tac:1: ",
    }.items():
        yield tac(f"raises: {source[:60]!r}", source, says)
    # Deep in imports.
    chain = {f"m{number}": f"import m{number + 1}\n" for number in range(20)}
    yield tac(
        "raises in an import", "import m0", "m20.py:2: ValueError: deep", **chain, m20="\nraise ValueError('deep')\n"
    )
    yield tac("no Python in an import", "import m0", "m20.py:2: ", **chain, m20="\nx = (\n")
    yield tac("exit in an import", "import m0", "", 3, **chain, m20="import sys; sys.exit(3)")
    yield tac("lacks a module in an import", "import m0", "m0.py:1: ", m0="import nowhere\n")
    yield tac("imports itself", "import m0", "m1.py:1: ", m0="import m1\nx = 1\n", m1="from m0 import x\n")
    # The end of the program, which is the file's right.
    for text, code in {
        "0": 0,
        "None": 0,
        "": 0,
        "1": 1,
        "3": 3,
        "255": 255,
        "256": 0,
        "-1": 255,
        "True": 1,
        "'no port'": 1,
        "''": 1,
        "2.5": 1,
        "(1, 2)": 1,
        "[]": 1,
        "'\\udcff'": 1,
    }.items():
        yield tac(f"sys.exit({text})", f"import sys\nsys.exit({text})\n", "", code)
    yield tac("raise SystemExit", "raise SystemExit", "", 0)
    yield tac("exit()", "exit(3)", "", 3)
    yield tac("KeyboardInterrupt", "raise KeyboardInterrupt", "", -2)
    yield tac(
        "an interrupt to itself", "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n" + APPLICATION, "", -2
    )


def applications() -> Iterator[Malformed]:
    """Yield files whose application is none."""
    for text, says in {
        "None": "shop.tac: application: is NoneType, which is no application",
        "1": "shop.tac: application: is int",
        "'shop'": "shop.tac: application: is str",
        "object()": "shop.tac: application: is object",
        "service": "shop.tac: application: is module",
        "service.MultiService": "shop.tac: application: is ",
        "service.Application": "shop.tac: application: is ",
        "lambda: service.MultiService()": "shop.tac: application: is function",
        "[service.MultiService()]": "shop.tac: application: is list",
        "defer.succeed(service.MultiService())": "shop.tac: application: is Deferred",
        "protocol.Factory()": "shop.tac: application: is Factory",
        "internet": "shop.tac: application: is module",
        "...": "shop.tac: application: is ellipsis",
    }.items():
        yield tac(f"application: {text}", f"{HEAD}application = {text}\n", says)
    yield tac("applicaton", HEAD + "applicaton = service.Application('shop')\n", "(but `applicaton`)")
    yield tac("deleted", APPLICATION + "del application\n", "defines no variable `application`")
    yield tac("no name", HEAD + "application = service.Application()\n", "shop.tac:3: TypeError")
    yield tac(
        "adaptation raises",
        HEAD
        + "class A:\n    def __conform__(self, interface):\n        raise ValueError('no luck')\napplication = A()\n",
        "shop.tac:5: ValueError: no luck",
    )
    yield tac(
        "adapts to none",
        HEAD + "class A:\n    def __conform__(self, interface):\n        return 1\napplication = A()\n",
        "shop.tac",
    )
    yield tac(
        "claims to be a service",
        HEAD
        + "from zope.interface import implementer\n@implementer(service.IService)\nclass A: pass\napplication = A()\n",
        "shop.tac",
    )
    yield tac(
        "an attribute raises",
        HEAD + "class A:\n    def __getattr__(self, name):\n        raise RuntimeError(name)\napplication = A()\n",
        "shop.tac",
    )
    yield tac(
        "a name that raises",
        HEAD + "class A(service.Service):\n    @property\n    def name(self):\n        raise ValueError('no name')\n"
        "application = A()\n",
        "shop.tac",
    )
    yield tac(
        "a collection that raises",
        HEAD + "class A(service.MultiService):\n    def __iter__(self):\n        raise ValueError('no luck')\n"
        "application = A()\n",
        "shop.tac",
    )
    yield tac(
        "a collection of numbers",
        APPLICATION + "service.IServiceCollection(application).services = [1, None]\n",
        "shop.tac",
    )
    yield tac(
        "one that holds itself",
        HEAD + "application = service.MultiService()\napplication.services = [application]\n",
        "shop.tac",
    )
    yield tac(
        "a circle",
        HEAD + "a, b = service.MultiService(), service.MultiService()\na.services, b.services = [b], [a]\n"
        "application = a\n",
        "shop.tac",
    )
    yield tac(
        "deep as a well",
        APPLICATION + "parent = service.IServiceCollection(application)\n"
        "for _ in range(3000):\n    inner = service.MultiService()\n    inner.setServiceParent(parent)\n"
        "    parent = inner\n",
        "shop.tac",
    )
    yield tac(
        "the same name twice",
        APPLICATION + "for _ in range(2):\n    one = service.Service()\n    one.setName('one')\n"
        "    one.setServiceParent(application)\n",
        "shop.tac:7: RuntimeError",
    )


def reactors() -> Iterator[Malformed]:
    """Yield files that use the reactor while they are loaded."""
    for source, says in {
        "reactor.run()": "shop.tac:3: ReactorAlreadyRunning: the reactor is run by plait: leave reactor.run() out",
        "reactor.listenTCP(70_000, protocol.Factory())": "shop.tac:3: ",
        "reactor.listenTCP('x', protocol.Factory())": "shop.tac:3: ",
        "reactor.listenTCP(0, protocol.Factory(), interface='192.0.2.1')": "shop.tac:3: CannotListenError",
        "reactor.listenUNIX('/nowhere-at-all/shop', protocol.Factory())": "shop.tac:3: CannotListenError",
        "reactor.callLater(-1, print)": "shop.tac:3: AssertionError",
        "reactor.addSystemEventTrigger('soon', 'startup', print)": "shop.tac:3: KeyError",
        "reactor.iterate()": "shop.tac:3: ",
        "reactor.spawnProcess(None, '/nowhere-at-all')": "shop.tac:3: ",
        "reactor.nothing()": "shop.tac:3: AttributeError",
        "from twisted.internet import _threadedselect; _threadedselect.install()": (
            "shop.tac:3: ThreadedSelectReactor: is no reactor that plait can stand in for: run this with twistd"
        ),
        "from twisted.internet import task; task.react(lambda reactor: None)": "shop.tac:3: ",
    }.items():
        yield tac(f"reactor: {source}", f"from twisted.internet import protocol, reactor\n#\n{source}\n", says)
    yield tac(
        "reactor: another in its place",
        "import sys\nfrom twisted.internet import selectreactor\n"
        "sys.modules['twisted.internet.reactor'] = selectreactor.SelectReactor()\n" + APPLICATION,
        "Twisted's reactor is SelectReactor already",
    )
    yield tac(
        "reactor: none in its place",
        "import sys\nsys.modules['twisted.internet.reactor'] = None\n" + APPLICATION,
        "Twisted's reactor is NoneType already",
    )


def plugin(name: str, says: str, code: int, source: str = DROP_IN, *words: str) -> Malformed:
    """Return the case of a plugin called ``brew``."""
    return Malformed(f"plugin: {name}", code, says, ("-n", *(words or ("brew",))), {PLUGIN: source})


def changed(old: str, new: str) -> str:
    """Return the drop-in with *new* in the place of *old*."""
    assert old in DROP_IN
    return DROP_IN.replace(old, new)


def plugins() -> Iterator[Malformed]:
    """Yield plugins that are none, fail, or are used wrongly."""
    yield plugin("unknown", "brewery", 2, DROP_IN, "brewery")
    yield plugin("misspelt", "did you mean brew?", 2, DROP_IN, "bre")
    yield plugin("unknown of Twisted", "brewery", 2, DROP_IN, "--twisted", "brewery")
    yield plugin("empty name", "", 2, DROP_IN, "")
    yield plugin("no text", "", 2, DROP_IN, "\udcff")
    yield plugin("an option that it has not", "brew: ", 2, DROP_IN, "brew", "--nothing")
    yield plugin("an option without its value", "brew: ", 2, DROP_IN, "brew", "--port")
    yield plugin("a value that is wrong", "brew: ", 2, DROP_IN, "brew", "--port", "x")
    yield plugin("too many words", "brew: ", 2, DROP_IN, "brew", "extra")
    yield plugin("too many words behind --", "brew: ", 2, DROP_IN, "brew", "--", "--port")
    yield plugin("an option of plaitd's behind it", "brew: ", 2, DROP_IN, "brew", "--nodaemon")
    yield plugin("no Python", "brewing.py", 78, "brew = (\n")
    yield plugin("raises", "brewing.py:1: ", 78, "brew = 1 / 0\n")
    yield plugin("exits", "brewing.py:1: ", 78, "import sys; sys.exit(3)  # brew\n")
    yield plugin("lacks a module", "nowhere", 78, "import nowhere  # brew\n")
    yield plugin("NUL", "brewing", 78, "# brew\0\n")
    yield plugin("BaseException", "brewing.py:1", 78, "raise BaseException('all')  # brew\n")
    body = "return service.Service()"
    for text, says in {
        "return None": "plugin brew of Twisted: its makeService() returned ",
        "return 1": "plugin brew of Twisted: its makeService() returned ",
        "return service.Service": "plugin brew of Twisted: its makeService() returned ",
        "return protocol.Factory()": "NameError",
        "return []": "plugin brew of Twisted: its makeService() returned list",
        "import asyncio; return asyncio.Queue()": "plugin brew of Twisted: its makeService() returned ",
        "raise ValueError('no luck')": "brewing.py:15: ValueError: no luck",
        "raise BaseException('all')": "brewing.py:15: BaseException: all",
        "raise StopIteration": "brewing.py:15: StopIteration",
        "import nowhere": "nowhere",
        "from twisted.internet import reactor; reactor.run()": "leave reactor.run() out",
    }.items():
        yield plugin(f"makes: {text}", says, 78, changed(body, text))
    yield plugin("makes: exit", "", 3, changed(body, "raise SystemExit(3)"))
    yield plugin("makes: exit with a text", "no luck", 1, changed(body, "raise SystemExit('no luck')"))
    yield plugin(
        "makes: wrong usage",
        "brew: no port: see plaitd brew --help",
        2,
        changed(body, "raise usage.UsageError('no port')"),
    )
    yield plugin(
        "makes: wrong usage without a word", "brew: is not used so", 2, changed(body, "raise usage.UsageError")
    )
    yield plugin("wrong usage of many lines", "brew: a b: see", 2, changed(body, "raise usage.UsageError('a\\nb')"))
    yield plugin("wrong usage in colour", "brew: ", 2, changed(body, "raise usage.UsageError('\\x1b[31mred')"))
    line = '    optParameters = [["port", "p", 1, "a number", int]]\n'
    for text, says, code in (
        ("    def postOptions(self):\n        raise ValueError('no luck')\n", "ValueError: no luck", 78),
        ("    def postOptions(self):\n        raise usage.UsageError('no luck')\n", "brew: no luck", 2),
        ("    def postOptions(self):\n        raise SystemExit(4)\n", "", 4),
        ("    def postOptions(self):\n        raise KeyboardInterrupt\n", "", -2),
        ("    def parseArgs(self, one):\n        pass\n", "brew: ", 2),
        ("    def __init__(self):\n        raise ValueError('no luck')\n", "ValueError: no luck", 78),
        ("    optParameters = 1\n", "brew", 78),
        ("    optParameters = [[1]]\n", "brew", 78),
    ):
        yield plugin(f"options: {text.strip()!r}", says, code, changed(line, text))
    yield plugin("options: None", "brew", 78, changed("options = Options", "options = None"))
    yield plugin("options: a number", "brew", 78, changed("options = Options", "options = 1"))
    yield plugin("options: not said", "brew", 78, changed("    options = Options\n", ""))
    yield plugin("makes nothing", "brew", 78, changed("def makeService", "def make"))
    for name, value in {
        "umask": "'rw'",
        "umask ": "[]",
        "uid": "'nobody-of-that-name'",
        "uid ": "-5",
        "gid": "'nobody-of-that-name'",
        "rundir": "'/nowhere-at-all'",
        "chroot": "'/nowhere-at-all'",
        "pidfile": "'/nowhere-at-all/x'",
        "logfile": "'/nowhere-at-all/x'",
        "rundir ": "3",
        "logfile ": "{}",
    }.items():
        code = 73 if "/x" in value else 78
        setting = f"options.parent[{name.strip()!r}] = {value}; return service.Service()"
        yield plugin(f"insists: {name.strip()} = {value}", name.strip(), code, changed(body, setting))
    maker = (
        "from twisted.application.service import ServiceMaker\n"
        "brew = ServiceMaker('Brew', {module!r}, 'Brew.', 'brew')\n"
    )
    yield plugin("a module that is not there", "nowhere", 78, maker.format(module="nowhere.at_all"))
    yield plugin("a module that makes nothing", "brew", 78, maker.format(module="os"))


def saved(name: str, says: str, code: int, flag: str, content: str | bytes) -> Malformed:
    """Return the case of a saved application."""
    file = "shop.tap" if flag == "-f" else "shop.tas"
    return Malformed(f"saved: {name}", code, says, ("-n", flag, file), {file: content})


def persisted() -> Iterator[Malformed]:
    """Yield saved applications that are none."""
    import pickle

    yield saved("empty", "shop.tap", 78, "-f", b"")
    yield saved("cut", "shop.tap", 78, "-f", pickle.dumps({"a": [1, 2, 3]})[:-5])
    yield saved("no pickle", "shop.tap", 78, "-f", b"application = 1\n")
    yield saved("a number", "shop.tap", 78, "-f", pickle.dumps(1))
    yield saved("a class that is not there", "shop.tap", 78, "-f", b"cnowhere\nShop\n.")
    yield saved("an attribute that is not there", "shop.tap", 78, "-f", b"cos\nShop\n.")
    yield saved("exits", "", 3, "-f", b"cbuiltins\nexit\n(I3\ntR.")
    yield saved("runs something", "shop.tap", 78, "-f", b"cos\ngetcwd\n(tR.")
    yield saved("loads a lot", "shop.tap", 78, "-f", b"cbuiltins\nbytearray\n(L1000000000000000L\ntR.")
    yield saved("deep", "shop.tap", 78, "-f", b"(" * 100_000 + b"t" * 100_000 + b".")
    yield saved("source: empty", "shop.tas", 78, "-s", "")
    yield saved("source: no Python", "shop.tas", 78, "-s", "app = (\n")
    yield saved("source: nothing", "shop.tas", 78, "-s", "x = 1\n")
    yield saved("source: a number", "shop.tas", 78, "-s", "app = 1\n")
    yield saved("source: raises", "shop.tas", 78, "-s", "raise ValueError('no luck')\n")
    yield saved("source: exits", "", 3, "-s", "import sys; sys.exit(3)\n")
    yield saved("source: NUL", "shop.tas", 78, "-s", "\0")
    yield Malformed("saved: not there", 78, "shop.tap", ("-n", "-f", "shop.tap"))
    yield Malformed("saved: source not there", 78, "shop.tas", ("-n", "-s", "shop.tas"))
    yield Malformed("saved: a folder", 78, "shop.tap", ("-n", "-f", "shop.tap"), {"shop.tap/x": ""})


def names() -> Iterator[Malformed]:
    """Yield names and files of plait's that bring something of Twisted's."""
    front = ("-n", "shop:application")
    for text, says in {
        "None": "shop:application: ",
        "service": "shop:application: ",
        "service.MultiService": "shop:application: ",
        "defer.succeed(1)": "shop:application: ",
        "lambda: defer.succeed(1)": "shop:application: ",
        "lambda: None": "shop:application: ",
    }.items():
        yield Malformed(f"name: {text}", 78, says, front, {"shop.py": f"{HEAD}application = {text}\n"})
    inside = HEAD + "from plait import Application\nfrom plait.guests.twisted import TwistedService\n"
    for text, says in {
        "TwistedService(1)": "shop.py:5: TwistedService: 1 is no Twisted service",
        "TwistedService(None)": "shop.py:5: ",
        "TwistedService()": "shop.py:5: ",
        "TwistedService(service.Service(), name='')": "",
        "TwistedService(service.Service(), name='a/b')": "shop.py:5: ",
        "TwistedService(service.Service(), name=3)": "shop.py:5: ",
    }.items():
        source = f"{inside}application = Application('shop', [{text}])\n"
        code = 78 if says else 0
        if code:
            yield Malformed(f"plait file: {text}", 78, says, ("-n", "-y", "shop.py"), {"shop.py": source})
    late = "from twisted.internet import selectreactor\nselectreactor.install()\n"
    yield Malformed(
        "plait file: a reactor before",
        78,
        "Twisted's reactor is SelectReactor already",
        ("-n", "-y", "shop.py"),
        {"shop.py": late + inside},
    )


def components() -> Iterator[Malformed]:
    """Yield applications that want nonsense of the process."""
    process = APPLICATION + "service.IProcess(application).{name} = {value}\n"
    for name, value, says, code in (
        ("uid", "'nobody-of-that-name'", "nobody-of-that-name", 78),
        ("uid", "-1", "-1", 78),
        ("uid", "10**20", "uid", 78),
        ("gid", "'nobody-of-that-name'", "nobody-of-that-name", 78),
        ("gid", "-1", "-1", 78),
        ("uid", "''", "", 0),
    ):
        if code:
            yield tac(f"process: {name} = {value}", process.format(name=name, value=value), says, code)


KEPT = [
    case for each in (files, raising, applications, reactors, plugins, persisted, names, components) for case in each()
]
