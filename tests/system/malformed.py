"""
Command lines, files, environments and endpoints that cannot be right, each with the exit code that they deserve.

`KEPT` was met by somebody, or is the kind of slip that a person makes.  `GENERATED` is made of the options and forms
that there are, by chance, always the same: whoever adds an option is tested by it at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from plait.grammar import LISTENING
from plait.runner.command_line import options_of
from plait.runner.options import Option

APPLICATION = """
from plait import Application, Listener

async def answer(reader, writer):
    pass

application = Application("shop", [Listener({endpoint!r}, answer)])
"""

#: An application as data that is right, for what is done to it.
DATA = """
name = "shop"

[[services]]
type = "Listener"
endpoint = "unix:shop.sock"
handler = "answers:answer"

[[services]]
type = "Group"
name = "inner"
strategy = "rest_for_one"
limit = { restarts = 5, seconds = 60.0 }

[[services.services]]
type = "Periodic"
every = 60
function = "answers:work"
name = "sweep"
"""

#: What an option with a reader does not take.
WRONG_TEXTS = [
    "",
    "x" * 300,
    "-1",
    "0x",
    "\x1b[31m",
    "\udcff",
    "a\nb",
    "999999999999999999999",
    "½",
    "{",
    '"',
    "%s",
    "None",
]


@dataclass(frozen=True)
class Malformed:
    """What is started: a command line in a folder with these files, in this environment; and the exit code."""

    name: str
    arguments: tuple[str, ...]
    code: int
    files: dict[str, str | bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


RIGHT = ("-n", "-y", "shop.py")
FILES: dict[str, str | bytes] = {"shop.py": APPLICATION.format(endpoint="unix:shop.sock")}


# By hand --------------------------------------------------------------------------------------------------------------


def keep() -> Iterator[Malformed]:
    """Yield what was written by hand."""
    lines = [
        "",
        "-n",
        "-",
        "--",
        "-y",
        "-ny",
        "-n -y",
        "-y shop.py extra:application",
        "-y shop.py -f shop.toml",
        "shop:application -y shop.py",
        "a:b c:d",
        "--nodeamon -y shop.py",
        "--no -y shop.py",
        "--log=x -y shop.py",
        "-q -y shop.py",
        "-nq -y shop.py",
        "--nodaemon=1 -y shop.py",
        "-n --daemon -y shop.py",
        "-b --daemon -y shop.py",
        "-e -y shop.py",
        "--spew -y shop.py",
        "--profiler profile -y shop.py",
        "--profiler hotshot -y shop.py",
        "--umask rw -y shop.py",
        "--umask 8 -y shop.py",
        "--stop-timeout never -y shop.py",
        "--log-level shop=loud -y shop.py",
        "--log-level = -y shop.py",
        "--log-format html -y shop.py",
        "--log-rotate often -y shop.py",
        "--log-rotate 10MB:none -y shop.py",
        "--allow fly:/tmp --sandbox -y shop.py",
        "--allow connect:http --sandbox -y shop.py",
        "--reactor kqueue -y shop.py",
        "-r iocp -y shop.py",
        "--prefix a:b -y shop.py",
        "--logger handler -y shop.py",
        "--journal --syslog -y shop.py",
        "--set port=1 -y shop.py",
        "--set app. -y shop.py",
        "--set plaitd.pidfle=x -y shop.py",
        "--set plaitd.umask=x -y shop.py",
        "-l - --daemon -y shop.py",
    ]
    for line in lines:
        # In the foreground, where what should not have been started is found.
        front = () if "--daemon" in line else ("-n",)
        yield Malformed(f"typed: {line or 'nothing'}", (*front, *line.split()), 2, FILES)
    for line, code in {
        "-n -y nowhere.py": 78,
        "-n -y shop.py --uid nobody-of-that-name": 78,
        "-n -y shop.py --gid nobody-of-that-name": 78,
        "-n -y shop.py --rundir nowhere": 78,
        "-n -y shop.py --chroot nowhere": 78,
        "-n -y shop.py --pidfile nowhere/x": 73,
        "-n -y shop.py -l nowhere/x": 73,
        "-n -y shop.py --logger nowhere:handler": 78,
        "-n -y shop.py --logger os:getcwd": 78,
        "-n -y shop.py --config nowhere.toml": 78,
        "-n -y shop.py --env-file nowhere.env": 78,
        "-n -f nowhere.toml": 78,
        "-n -f shop.tap": 78,
        "-n -s shop.tas": 78,
        "-n nowhere:application": 78,
        "-n shop:nothing": 78,
        "-n shop:": 78,
        "-n shop.py": 78,
        "-n no-such-plugin --option": 2,
    }.items():
        yield Malformed(f"typed: {line}", tuple(line.split()), code, FILES | {"shop.tap": b"\x80\x04]."})
    yield Malformed("typed: a newline", ("--no\nsuch", *RIGHT), 2, FILES)
    yield Malformed("typed: a colour", ("--\x1b[31mred", *RIGHT), 2, FILES)
    yield Malformed("typed: no text", ("--\udcff", *RIGHT), 2, FILES)
    yield Malformed("typed: a name that is no text", ("-n", "\udcff:x"), 78, FILES)
    yield Malformed("typed: a file that is no text", ("-n", "-y", "\udcff.py"), 78, FILES)
    yield Malformed("typed: a name with a newline", ("-n", "a\nb:c"), 78, FILES)
    for name, text in {
        "no table": "umask = '022'",
        "unclosed": "[plaitd",
        "empty key": "[plaitd]\n= 1",
        "twice": "[plaitd]\numask = '022'\numask = '022'",
        "unknown": "[plaitd]\npidfle = 'x'",
        "a mask without quotes": "[plaitd]\numask = 022",
        "a mask as a number": "[plaitd]\numask = 18",
        "a word for yes": "[plaitd]\nnodaemon = 'yes'",
        "a list for a text": "[plaitd]\npidfile = ['x']",
        "a table for a text": "[plaitd.pidfile]\nx = 1",
        "a list for the settings": "[[plaitd]]\nx = 1",
        "settings that are none": "plaitd = 1",
        "a date": "[plaitd]\nlogfile = 1979-05-27",
        "what is for the command line": "[plaitd]\nset = ['a.b=1']",
        "a colour in a key": '[plaitd]\n"\\u001b[31m" = 1',
    }.items():
        yield Malformed(f"plait.toml: {name}", RIGHT, 78, FILES | {"plait.toml": text})
    yield Malformed("plait.toml: no text", RIGHT, 78, FILES | {"plait.toml": b"\xff\xfe"})
    yield Malformed("plait.toml: deep", RIGHT, 78, FILES | {"plait.toml": "[plaitd]\nx = " + "[" * 5000})
    for name, content in {
        "no value": b"SHOP\n",
        "unclosed": b"SHOP='x\n",
        "no name": b"=x\n",
        "no text": b"SHOP=\xff\n",
        "NUL": b"SHOP=a\0b\n",
        "a wrong setting": b"PLAIT_UMASK=rw\n",
    }.items():
        yield Malformed(f"file of variables: {name}", ("--env-file", "x.env", *RIGHT), 78, FILES | {"x.env": content})


# By chance ------------------------------------------------------------------------------------------------------------


def misspell(word: str, chance: random.Random) -> str:
    """Return *word* with a slip in the middle that makes it no prefix of anything."""
    place = chance.randrange(3, len(word)) if len(word) > 3 else len(word)
    return word[:place] + chance.choice("qxz") + chance.choice("qxz") + word[place:]


def is_refused(option: Option, text: str) -> bool:
    """Say whether the reader of *option* itself refuses *text*, whatever else there is."""
    from plait.errors import PlaitError

    try:
        option.read(text)
    except PlaitError:
        return True
    return False


def generate_command_lines(chance: random.Random) -> Iterator[Malformed]:
    """Yield slips in command lines."""
    options = [option for option in options_of("plaitd") if option.flags]
    for number in range(1000):
        option = chance.choice(options)
        flag = chance.choice([flag for flag in option.flags if len(flag) > 2])
        refused = [text for text in WRONG_TEXTS if not option.is_flag and "\0" not in text and is_refused(option, text)]
        ways = ["misspelt", "short"]
        ways += ["takes none"] if option.is_flag else ["wants one"]
        ways += ["refused"] if refused else []
        match chance.choice(ways):
            case "misspelt":
                words: tuple[str, ...] = (misspell(flag, chance), *RIGHT)
            case "short":
                words = (f"-n{chance.choice('cijkmtvwxzCQ')}", *RIGHT)
            case "takes none":
                words = (f"{flag}={chance.choice(['1', '', 'yes'])}", *RIGHT)
            case "wants one":
                words = (*RIGHT, flag)
            case _:
                words = (f"{flag}={chance.choice(refused)}", *RIGHT)
        yield Malformed(f"generated command line {number}", words, 2, FILES)


def generate_files(chance: random.Random) -> Iterator[Malformed]:
    """Yield slips in plait.toml."""
    options = [option for option in options_of("plaitd") if "toml" in option.places and not option.dropped]
    for number in range(1000):
        option = chance.choice(options)
        wrong = ["1979-05-27", "{ a = 1 }", "[1979-05-27]", "[{}]"] + (
            ["'on'", "0", "[]"] if option.is_flag else ["false"]
        )
        key, value = option.name, chance.choice(wrong)
        right = f"[plaitd]\n{key} = {'true' if option.is_flag else chr(39) + 'x' + chr(39)}\n"
        text = f"[plaitd]\n{key} = {value}\n"
        match chance.randrange(3):
            case 0:
                text = f"[plaitd]\n{misspell(key, chance)} = 1\n"
            case 1:
                # Cut where a value, a string or a header is open.
                text = right[: chance.choice([right.index("]"), right.index("=") + 2])]
        yield Malformed(f"generated plait.toml {number}", RIGHT, 78, FILES | {"plait.toml": text})


def generate_data(chance: random.Random) -> Iterator[Malformed]:
    """Yield slips in an application as data."""
    answers = "async def answer(reader, writer): pass\n\nasync def work(): pass\n"
    lines = DATA.strip().splitlines()
    for number in range(1000):
        broken = lines[:]
        place = chance.choice([index for index, line in enumerate(lines) if " = " in line])
        key, _, value = lines[place].partition(" = ")
        match chance.randrange(4):
            case 0:
                broken[place] = f"{misspell(key, chance)} = {value}"
            case 1:
                broken[place] = f"{key} = {chance.choice(['1979-05-27', '[[]]', '{ a = 1 }', 'false'])}"
            case 2:
                broken[place] = f"{key} = "
            case _:
                broken[place] = f"{lines[place]}\n{key} = {value}"
        files: dict[str, str | bytes] = {"shop.toml": "\n".join(broken), "answers.py": answers}
        yield Malformed(f"generated data {number}", ("-n", "-f", "shop.toml"), 78, files)


def generate_environments(chance: random.Random) -> Iterator[Malformed]:
    """Yield slips in variables."""
    options = [option for option in options_of("plaitd") if "env" in option.places and not option.dropped]
    for number in range(1000):
        option = chance.choice(options)
        refused = [text for text in WRONG_TEXTS if is_refused(option, text)] if not option.is_flag else ["2", "", "ja"]
        if option.repeats:
            refused = ["'", '"x']
        if refused and chance.random() < 0.7:
            yield Malformed(
                f"generated environment {number}", RIGHT, 78, FILES, {option.variable: chance.choice(refused)}
            )
        elif len(option.name) > 6:
            place = chance.randrange(7, len(option.variable))
            name = option.variable[:place] + option.variable[place + 1 :]
            if name not in {other.variable for other in options}:  # PLAIT_PROFILER without its last letter is another
                yield Malformed(f"generated environment {number}", RIGHT, 78, FILES, {name: "x"})


def generate_endpoints(chance: random.Random) -> Iterator[Malformed]:
    """Yield slips in endpoints."""
    right = {
        "tcp": "tcp:8080:interface=127.0.0.1:backlog=5",
        "tcp6": "tcp6:8080:backlog=5",
        "unix": "unix:shop.sock:mode=660",
        "udp": "udp:8080:interface=127.0.0.1",
        "systemd": "systemd:name=shop",
        "fd": "fd:3",
        "ssl": "ssl:8080:certKey=a.pem",
        "tls": "tls:certs:port=443",
        "unixgram": "unixgram:shop.sock:mode=660",
        "udp6": "udp6:8080",
    }
    assert right.keys() == LISTENING.keys()
    for number in range(1000):
        form = chance.choice(list(right))
        fields = right[form].split(":")
        match chance.randrange(6):
            case 0:
                text = ":".join([misspell(form, chance), *fields[1:]])
            case 1:
                text = form
            case 2:
                text = ":".join([*fields, f"{chance.choice(['colour', 'interfac', 'x'])}=1"])
            case 3:
                text = ":".join(fields) + "\\"
            case 4:
                text = ":".join([*fields, *["1"] * 12])
            case _ if form in ("tcp", "tcp6", "udp", "udp6", "ssl", "fd"):
                wrong = ["-1", "http", "1 0", "٣"] + (["65536", "99999999999"] if form != "fd" else ["x"])
                text = ":".join([form, chance.choice(wrong), *fields[2:]])
            case _:
                text = chance.choice(["", ":", "=", "\\", "http://shop", "[::1]", "[:8080", "ftp:21", "\x1b:1", "8 0"])
        yield Malformed(f"generated endpoint {number}", RIGHT, 78, {"shop.py": APPLICATION.format(endpoint=text)})


KEPT = list(keep())
GENERATORS = [generate_command_lines, generate_files, generate_data, generate_environments, generate_endpoints]


def take(count: int) -> list[Malformed]:
    """Return the first *count* of each generator."""
    found = []
    for generator in GENERATORS:
        made = generator(random.Random(generator.__name__))
        found += [next(made) for _ in range(count)]
    return found
