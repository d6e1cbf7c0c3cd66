"""Where settings come from: each place knows all of them, the nearer one wins, and a slip is told by its place."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from plait.errors import ConfigurationError, PlaitError, UsageError
from plait.runner.command_line import options_of, parse
from plait.runner.places import Text
from plait.runner.settings import Assignment, Settings
from plait.runner.sources import read_value, table_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, and an environment without settings, which is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {name: os.environ[name] for name in os.environ if not name.startswith("PLAIT_")})
    return tmp_path


def of(*arguments: str, program: str = "plaitd", **environ: str) -> Settings:
    os.environ.update(environ)
    return parse(program, arguments)


def refused(kind: type[PlaitError], *arguments: str, **environ: str) -> str:
    with pytest.raises(kind) as caught:
        of(*arguments, **environ)
    assert type(caught.value) is kind
    return str(caught.value)


#: For each kind of setting: a text, what a file says, and what it comes to.
SAID: dict[str, tuple[str, str, Any]] = {
    "set": ("app.port=80 'app.name=a b'", "", ("app.port=80", "app.name=a b")),
    "config": ("other.toml", "", "other.toml"),
    "env_file": ("other.env", '"other.env"', "other.env"),
    "umask": ("027", '"027"', 0o27),
    "stop_timeout": ("2.5", "2.5", 2.5),
    "log_level": ("info shop=debug", '["info", "shop=DEBUG"]', ("info", "shop=debug")),
    "log_format": ("JSON", '"json"', "json"),
    "profiler": ("cProfile", '"cprofile"', "cprofile"),
    "reactor": ("asyncio", '"asyncio"', "asyncio"),
    "allow": ("read:/srv 'write:/var/a b'", '["read:/srv", "write:/var/a b"]', ("read:/srv", "write:/var/a b")),
    "logger": ("shop:make", '"shop:make"', "shop:make"),
    "uid": ("1000", "1000", "1000"),
    "log_rotate": ("10MB:5", '"10MB:5"', "10MB:5"),
}


@pytest.mark.parametrize("option", options_of("plaitd"), ids=lambda option: option.name)
def test_every_setting_can_be_said_in_every_place(option: Any) -> None:
    """On the command line, in the environment, in the file and by --set, by construction; and where is kept."""
    if option.dropped or option.name in ("help", "version", "help_reactors"):
        assert option.places == () or option.dropped
        return
    Path("other.toml").touch()
    Path("other.env").touch()
    text, data, wanted = SAID.get(option.name, ("yes", "true", True) if option.is_flag else ("x", '"x"', "x"))
    in_environment = of(**{option.variable: text})
    assert getattr(in_environment, option.name) == wanted
    assert dict(in_environment.origins)[option.name] == option.variable
    del os.environ[option.variable]
    if "toml" not in option.places:
        return
    Path("plait.toml").write_text(f"[plaitd]\n{option.name} = {data}\n")
    in_file = of()
    assert getattr(in_file, option.name) == wanted
    assert dict(in_file.origins)[option.name] == "plait.toml"
    Path("plait.toml").write_text(f"[plaitd]\n{option.name.replace('_', '-')} = {data}\n")
    assert of() == in_file
    Path("plait.toml").unlink()
    by_set = of("--set", f"plaitd.{option.name}={data if option.repeats else text}")
    assert getattr(by_set, option.name) == wanted
    assert dict(by_set.origins)[option.name] == f"--set plaitd.{option.name}"


def test_the_nearer_place_wins() -> None:
    """The command line, --set, the environment, the file of --env-file, plait.toml, the default."""
    Path("plait.toml").write_text('[plaitd]\nrundir = "toml"\nenv_file = "a.env"\n')
    Path("a.env").write_text("PLAIT_RUNDIR=file\n")
    places = [of()]
    del os.environ["PLAIT_RUNDIR"]  # what the file added is in the environment now
    places.append(of(PLAIT_RUNDIR="variable"))
    places.append(of("--set", "plaitd.rundir=set"))
    places.append(of("--set", "plaitd.rundir=set", "-d", "typed"))
    assert [settings.rundir for settings in places] == ["file", "variable", "set", "typed"]
    assert [dict(settings.origins)["rundir"] for settings in places] == [
        "PLAIT_RUNDIR in a.env",
        "PLAIT_RUNDIR",
        "--set plaitd.rundir",
        "the command line",
    ]
    Path("a.env").write_text("")
    del os.environ["PLAIT_RUNDIR"]
    assert (of().rundir, dict(of().origins)["rundir"]) == ("toml", "plait.toml")


def test_what_is_said_nearer_takes_away_what_it_excludes() -> None:
    """A file that says one thing and a command line that says its opposite do not contradict each other."""
    Path("plait.toml").write_text('[plaitd]\nnodaemon = true\ntarget = "shop:app"\nsyslog = true\n')
    settings = of("--daemon", "-y", "shop.py", "-l", "log")
    assert (settings.nodaemon, settings.daemon, settings.target, settings.syslog) == (False, True, "", False)
    assert "nodaemon" not in dict(settings.origins)
    with pytest.raises(UsageError, match="one excludes the other"):
        of("--daemon", "-n").asked_to_daemonize()


def test_a_path_in_a_file_means_what_it_means_beside_that_file() -> None:
    """Also a folder; not what is empty or standard output, and nothing that is no path."""
    Path("etc").mkdir()
    Path("etc/shop.toml").write_text(
        '[plaitd]\npidfile = "shop.pid"\nrundir = "/srv"\nlogfile = "-"\ntitle = "shop"\nprofile = ""\n'
    )
    settings = of("--config", "etc/shop.toml")
    assert settings.pidfile == "etc/shop.pid"
    assert (settings.rundir, settings.logfile, settings.title, settings.profile) == ("/srv", "-", "shop", "")
    assert dict(settings.origins)["pidfile"] == "etc/shop.toml"
    assert of(PLAIT_CONFIG="etc/shop.toml").pidfile == "etc/shop.pid"
    assert of("--config=", PLAIT_CONFIG="etc/shop.toml").pidfile is None


def test_a_developers_run_has_the_settings_that_it_takes() -> None:
    """What the file says to the daemon is none of its business, and no mistake."""
    Path("plait.toml").write_text('[plaitd]\npidfile = "shop.pid"\nreactor = "asyncio"\n')
    settings = of("shop:app", program="plait run", PLAIT_UID="nobody")
    assert (settings.pidfile, settings.uid, settings.reactor) == (None, "", "asyncio")


# What is for others ---------------------------------------------------------------------------------------------------


def test_other_tables_are_kept_for_the_application_and_for_plugins() -> None:
    """Each value with its path and where it came from; --set comes after the file, as text: who reads it knows more."""
    Path("plait.toml").write_text(
        'app.port = 80\n[app.db]\nname = "shop"\nempty = {}\n[portforward]\nlisten = ["a", "b"]\n[plaitd]\n'
    )
    settings = of(
        "--set", "app.port=8080", "--set=app.title=a=b c", "--set", "web.on=true", "--set", "web.day=1979-05-27"
    )
    assert settings.assignments == (
        Assignment(("app", "port"), 80, "plait.toml"),
        Assignment(("app", "db", "name"), "shop", "plait.toml"),
        Assignment(("app", "db", "empty"), {}, "plait.toml"),
        Assignment(("portforward", "listen"), ["a", "b"], "plait.toml"),
        Assignment(("app", "port"), Text("8080"), "--set app.port"),
        Assignment(("app", "title"), Text("a=b c"), "--set app.title"),
        Assignment(("web", "on"), Text("true"), "--set web.on"),
        Assignment(("web", "day"), Text("1979-05-27"), "--set web.day"),
    )
    assert [type(item.value) for item in settings.assignments[4:]] == [Text] * 4
    assert settings.set == ("app.port=8080", "app.title=a=b c", "web.on=true", "web.day=1979-05-27")
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80", 80),
        ("0.5", 0.5),
        ("true", True),
        ('"80"', "80"),
        ("[1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ("tcp:8080", "tcp:8080"),
        ("", ""),
        ("a\nb = 3", "a\nb = 3"),
        ("1\nb = 3", "1\nb = 3"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_a_value_is_read_as_toml_or_as_it_is(text: str, wanted: object) -> None:
    """Nobody has to quote twice, and nothing can be smuggled in behind a newline."""
    assert read_value(text) == wanted


def test_what_stands_behind_a_plugin_is_for_the_plugin() -> None:
    """As in twistd: its own options come before; behind the name all is the plugin's, --help too."""
    settings = of("-n", "-l", "log", "web", "--path", "x", "-n", "--help", "--", "y")
    assert (settings.nodaemon, settings.target, settings.asks_for_plugin) == (True, "web", True)
    assert settings.arguments == ("--path", "x", "-n", "--help", "--", "y")
    for word in ("shop:app", "shop.toml", "./shop", "etc/shop.toml"):
        settings = of(word, "-n")
        assert (settings.asks_for_plugin, settings.nodaemon, settings.arguments) == (False, True, ())


# Twistd's command lines -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("-noy f.tac", {"nodaemon": True, "no_save": True, "python": "f.tac"}),
        ("-n -o -y f.tac", {"nodaemon": True, "no_save": True, "python": "f.tac"}),
        ("--no_save --python=f.tac", {"no_save": True, "python": "f.tac"}),
        ("--no-save --no_s", {"no_save": True}),
        ("-bnf x.toml", {"debug": True, "nodaemon": True, "file": "x.toml"}),
        ("--d --e", {"debug": True}),
        ("--c jail --f x.toml", {"chroot": "jail", "file": "x.toml"}),
        ("--syslog --pre shop", {"syslog": True, "prefix": "shop"}),
        ("--profile out --profiler cProfile --savestats", {"profile": "out", "savestats": True}),
        ("--originalname --euid -p x", {"originalname": True, "euid": True, "profile": "x"}),
        ("--sy --um 22", {"syslog": True, "umask": 0o22}),
        ("--so=x.tas", {"source": "x.tas"}),
        ("-r default", {"reactor": "auto"}),
    ],
)
def test_its_spellings_mean_what_they_meant(arguments: str, wanted: dict[str, object]) -> None:
    """Short, long, combined, abbreviated: a prefix that meant one option of twistd's means that one."""
    if "--e" in arguments.split():
        with pytest.raises(UsageError):
            of(*arguments.split())
        arguments = arguments.replace(" --e", "")
    settings = of(*arguments.split())
    for name, value in wanted.items():
        assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "-e",
            "-e: there are no encrypted applications any more: keep secrets in systemd's credentials, and leave it out",
        ),
        (
            "--encrypted",
            "--encrypted: there are no encrypted applications any more: keep secrets in systemd's credentials, "
            "and leave it out",
        ),
        (
            "--spew",
            "--spew: does not trace every call: take --debug, --profile FILE, or kill -USR2 for where every task is",
        ),
        (
            "--profiler profile",
            "--profiler: 'profile': costs a server many times what cprofile costs: take that, or leave it out",
        ),
    ],
)
def test_what_is_gone_says_what_to_do_instead(arguments: str, sentence: str) -> None:
    """One sentence, exit code 2."""
    assert refused(UsageError, *arguments.split()) == f"{sentence}: see plaitd --help"


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("PLAIT_UMASK", "rw", "PLAIT_UMASK: 'rw': wanted an octal mask such as 022: correct the variable, or unset it"),
        ("PLAIT_NODAEMON", "2", "PLAIT_NODAEMON: '2': wanted yes or no: correct the variable, or unset it"),
        ("PLAIT_NODAEMON", "", "PLAIT_NODAEMON: '': wanted yes or no: correct the variable, or unset it"),
        (
            "PLAIT_LOG_LEVEL",
            "info 'x",
            'PLAIT_LOG_LEVEL: "info \'x": no closing quotation: correct the variable, or unset it',
        ),
        (
            "PLAIT_PIDFLE",
            "x",
            "PLAIT_PIDFLE: no such setting, did you mean PLAIT_PIDFILE?: correct the variable, or unset it",
        ),
    ],
)
def test_a_slip_in_the_environment_is_said(variable: str, text: str, sentence: str) -> None:
    """By the name of the variable; exit code 78."""
    assert refused(ConfigurationError, **{variable: text}) == sentence


def test_strangers_in_the_environment_are_left_alone() -> None:
    """Kubernetes sets such for a service called plait, and the descriptor for s6 is not a setting."""
    of(
        PLAIT_SERVICE_HOST="10.0.0.1",
        PLAIT_PORT="tcp://10.0.0.1:80",
        PLAIT_PORT_80_TCP_PROTO="tcp",
        PLAIT_NOTIFY_FD="3",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pidfile = 'x'", "plait.toml: pidfile: stands outside of a table: put it under [plaitd] or [app]"),
        ("[plaitd", "plait.toml: is not TOML (Expected ']' at the end of a table declaration (at end of document))"),
        (
            "[plaitd]\npidfle = 'x'",
            "plait.toml: plaitd.pidfle: no such setting, did you mean pidfile?: see plaitd --help",
        ),
        ("[plait]\nnodaemon = true", "plait.toml: [plait]: nobody reads this table, did you mean [plaitd]?"),
        ("[apps]\nport = 1", "plait.toml: [apps]: nobody reads this table, did you mean [app]?"),
        ("[plaitd]\nset = 'x'", "plait.toml: plaitd.set: no such setting: see plaitd --help"),
        ("[plaitd]\nspew = 'x'", "plait.toml: plaitd.spew: no such setting: see plaitd --help"),
        ("[plaitd]\numask = 22", "plait.toml: plaitd.umask: 22: wanted an octal mask in quotes, such as '022'"),
        ("[plaitd]\numask = '99'", "plait.toml: plaitd.umask: '99': wanted an octal mask such as 022"),
        ("[plaitd]\nnodaemon = 1", "plait.toml: plaitd.nodaemon: 1: wanted true or false"),
        ("[plaitd]\npidfile = true", "plait.toml: plaitd.pidfile: True: wanted a text in quotes"),
        (
            "[plaitd]\nallow = [1979-05-27]",
            "plait.toml: plaitd.allow: datetime.date(1979, 5, 27): wanted a text in quotes",
        ),
        (
            "[plaitd]\nstop_timeout = 'x'",
            "plait.toml: plaitd.stop_timeout: 'x': wanted a number of seconds, such as 30",
        ),
        (
            "[plaitd.pidfile]\nx = 1",
            "plait.toml: plaitd.pidfile: {'x': 1}: wanted a text in quotes",
        ),
    ],
)
def test_a_slip_in_the_file_is_said(text: str, sentence: str) -> None:
    """By the name of the file and of the key; exit code 78."""
    Path("plait.toml").write_text(text)
    assert refused(ConfigurationError).removesuffix(": correct the file") == sentence


def test_a_file_that_was_planted_is_not_read() -> None:
    """It could name code to run; who means it says so."""
    meant = "give --config plait.toml if it is yours, or --config= to leave it out"
    Path("plait.toml").write_text("[plaitd]\ntitle = 'mine'\n")
    assert of().title == "mine"
    Path("plait.toml").chmod(0o666)
    assert refused(ConfigurationError) == (
        f"plait.toml: can be written by everybody, and somebody may have planted it: {meant}"
    )
    assert of("--config", "plait.toml").title == "mine"
    assert of("--config=").title == ""
    Path("plait.toml").unlink()
    os.mkfifo("plait.toml")
    assert refused(ConfigurationError) == f"plait.toml: is not a file, and somebody may have planted it: {meant}"


@pytest.mark.root
def test_a_file_of_another_user_is_not_read() -> None:
    """Not even by root, who reads all."""
    Path("plait.toml").write_text("[plaitd]\ntitle = 'mine'\n")
    os.chown("plait.toml", 65534, 65534)
    assert refused(ConfigurationError).startswith("plait.toml: belongs to another user (uid 65534), and somebody may")
    assert of("--config", "plait.toml").title == "mine"


def test_a_plugin_may_have_a_table_that_looks_like_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refused is only what nobody reads; a table that looks like none of ours is for a plugin, here or elsewhere."""
    Path("plait.toml").write_text("[apps]\nport = 1\n[shop]\nport = 2")
    assert refused(ConfigurationError) == (
        "plait.toml: [apps]: nobody reads this table, did you mean [app]?: correct the file"
    )
    package = tmp_path / "acme-1.0.dist-info"
    package.mkdir()
    (package / "entry_points.txt").write_text("[plait.plugins]\napps = acme:apps\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert [item.path for item in of("--set", "apps.port=3").assignments] == [
        ("apps", "port"),
        ("shop", "port"),
        ("apps", "port"),
    ]


def test_a_file_that_cannot_be_read_is_said() -> None:
    """Asked for and not there, a folder, no text."""
    said = "cannot be read (No such file or directory): give the path of a TOML file"
    assert refused(ConfigurationError, "--config", "no.toml") == f"no.toml: {said}"
    Path("plait.toml").mkdir()
    assert refused(ConfigurationError, "--config", "plait.toml").startswith(
        "plait.toml: cannot be read (Is a directory)"
    )
    Path("plait.toml").rmdir()
    Path("plait.toml").write_bytes(b"\xff")
    assert refused(ConfigurationError).startswith("plait.toml: is not TOML ('utf-8' codec can't decode byte 0xff")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port=80", "--set port=80: wanted NAME.KEY=VALUE, such as app.port=80: see plaitd --help"),
        ("app.port", "--set app.port: wanted NAME.KEY=VALUE, such as app.port=80: see plaitd --help"),
        ("app.=1", "--set app.=1: wanted NAME.KEY=VALUE, such as app.port=80: see plaitd --help"),
        ("=", "--set =: wanted NAME.KEY=VALUE, such as app.port=80: see plaitd --help"),
        (
            "plaitd.pidfle=x",
            "--set plaitd.pidfle=x: plaitd.pidfle: no such setting, did you mean pidfile?: see plaitd --help",
        ),
        (
            "plait.umask=077",
            "--set plait.umask=077: nobody reads plait, did you mean plaitd?: see plaitd --help",
        ),
        (
            "plaitd.umask=x",
            "--set plaitd.umask=x: plaitd.umask: 'x': wanted an octal mask such as 022: see plaitd --help",
        ),
    ],
)
def test_a_slip_in_set_is_said(text: str, sentence: str) -> None:
    """It is part of the command line: exit code 2."""
    assert refused(UsageError, "--set", text) == sentence


def test_a_slip_of_set_in_the_environment_is_said_there() -> None:
    """It is not the command line that is wrong: exit code 78."""
    sentence = "PLAIT_SET: plaitd.umask=x: plaitd.umask: 'x': wanted an octal mask such as 022: see plaitd --help"
    assert refused(ConfigurationError, PLAIT_SET="plaitd.umask=x") == sentence


# --env-file -----------------------------------------------------------------------------------------------------------


def test_variables_of_a_file_are_added_for_the_application() -> None:
    """Where the environment has none of that name; comments, quotes and export as people write them."""
    Path("shop.env").write_text("# shop\nexport TOKEN='a b'\nHOME_PAGE=x # why\nKEPT=file\n\nPLAIT_TITLE=shop\n")
    settings = of("--env-file", "shop.env", KEPT="environment")
    assert (os.environ["TOKEN"], os.environ["HOME_PAGE"], os.environ["KEPT"]) == ("a b", "x", "environment")
    assert (settings.title, dict(settings.origins)["title"]) == ("shop", "PLAIT_TITLE in shop.env")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            None,
            "--env-file x.env: cannot be read (No such file or directory): give the path of a file with lines "
            "NAME=value",
        ),
        (b"\xff=1\n", "--env-file x.env: is not UTF-8 text: correct the file"),
        (b"A=1\nB='\n", "x.env:2: wanted NAME=value: correct the file"),
        (b"A=1\n\nfoo bar\n", "x.env:3: wanted NAME=value: correct the file"),
        (b"JUST_A_NAME\n", "x.env:1: wanted NAME=value: correct the file"),
        (b"A=x\0y\n", "x.env:1: wanted NAME=value: correct the file"),
        (
            b"PLAIT_UMASK=x\n",
            "PLAIT_UMASK in x.env: 'x': wanted an octal mask such as 022: correct the variable, or unset it",
        ),
    ],
)
def test_a_slip_in_a_file_of_variables_is_said(content: bytes | None, sentence: str) -> None:
    """By its line; nothing is added then."""
    if content is not None:
        Path("x.env").write_bytes(content)
    before = dict(os.environ)
    assert refused(ConfigurationError, "--env-file", "x.env") == sentence
    assert {name: os.environ[name] for name in os.environ if name != "PLAIT_UMASK"} == before
    where = "--env-file x.env (plait.toml)"
    if content is None:
        Path("plait.toml").write_text("[plaitd]\nenv_file = 'x.env'\n")
        assert refused(ConfigurationError) == sentence.replace("--env-file x.env", where)


def test_a_table_is_put_together_again() -> None:
    """What was said later lies over what was said before; and the words for where it was said are kept."""
    Path("plait.toml").write_text('[app]\nport = 80\ndb = { name = "shop", pool = 3 }\nflat = 1\n[web]\nx = 1\n')
    settings = of("--set", "app.db={pool = 10}", "--set", "app.flat.deep=2", "--set", "app.new=3")
    assert table_of(settings.assignments, "app") == (
        {"port": 80, "db": {"name": "shop", "pool": 10}, "flat": {"deep": "2"}, "new": "3"},
        {"app.db.pool": "--set app.db", "app.flat.deep": "--set app.flat.deep", "app.new": "--set app.new"},
    )
    assert table_of(settings.assignments, "web") == ({"x": 1}, {})
    assert table_of(settings.assignments, "none") == ({}, {})
