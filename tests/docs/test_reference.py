"""What the reference says of endpoints, signals and the log is what the code does."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import plait
from plait import Endpoint
from plait.grammar import CONNECTING, LISTENING
from plait.runner.command import Command
from plait.runner.formats import Text
from plait.runner.json_lines import JSONLines
from plait.runner.plugins import describe_plugin
from plait.runner.reactors import KNOWN
from plait.runner.signals import OTHERS, STOPPING

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def read(name: str) -> str:
    """Return the text of a page."""
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def read_section(name: str, title: str) -> str:
    """Return the section *title* of a page."""
    return read(name).partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def find_words(forms: dict[str, str]) -> set[str]:
    """Return all words that *forms* take."""
    return {word for takes in forms.values() for word in re.findall(r"\w+", takes)}


EXAMPLES = [
    (connects, text)
    for connects, title in ((False, "Listening"), (True, "Connecting"))
    for row in re.findall(r"^\| (`.+?) \|", read_section("endpoints", title), re.MULTILINE)
    for text in re.findall(r"`(.+?)`", row)
]


@pytest.mark.parametrize(("connects", "text"), EXAMPLES)
def test_an_endpoint_in_the_reference_can_be_read(connects: bool, text: str) -> None:
    """Each example is an endpoint, and is one again when it is written out."""
    read_endpoint = Endpoint.connecting if connects else Endpoint.listening

    assert read_endpoint(str(read_endpoint(text))) == read_endpoint(text)


def test_every_form_of_an_endpoint_has_an_example() -> None:
    """The reference shows each form, to listen and to connect; datagrams cannot be connected to."""
    shown = {(connects, text.partition(":")[0]) for connects, text in EXAMPLES}
    forms = {(False, form) for form in LISTENING} | {(True, form) for form in CONNECTING}

    assert forms - shown == {(True, "udp"), (True, "udp6"), (True, "unixgram")}


def test_every_word_of_an_endpoint_is_explained() -> None:
    """What the grammar takes stands in the table of words, and nothing else does."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", read_section("endpoints", "The words"), re.MULTILINE)
    explained = {word for row in rows for word in re.findall(r"\w+", row)}

    assert explained == find_words(LISTENING) | find_words(CONNECTING)


def test_every_kind_of_service_has_its_section() -> None:
    """Each service that `import plait` offers, but for groups, has a section with its fields."""
    kinds = {
        name
        for name in plait.__all__
        if isinstance(kind := getattr(plait, name), type) and issubclass(kind, plait.Service)
    } - {"Service", "Group", "Application"}

    titles = set(re.findall(r"^## (\w+)$", read("services"), re.MULTILINE))
    assert titles == kinds
    assert set(re.findall(r"{fields-table} (\w+)", read("services"))) == kinds | {"Service"}


def test_every_event_loop_is_in_the_reference() -> None:
    """The table has each name that is known, with the words of ``--help-reactors``."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", read_section("plaitd", "Event loops"), re.MULTILINE))
    assert list(rows) == list(KNOWN)
    for name, says in KNOWN.items():
        assert set(re.findall(r"\w+", says)) <= set(re.findall(r"\w+", rows[name])), name


def test_every_kind_of_service_can_be_described_as_data() -> None:
    """The page about data has a table of each kind, of groups, and of the policies in them."""
    kinds = set(re.findall(r"{fields-table} (\w+)", read("services"))) | {"Group", "Application", "Limit", "Backoff"}

    assert set(re.findall(r"{data-table} (\w+)", read("description"))) == kinds


def test_every_signal_is_in_the_reference() -> None:
    """The table of signals has each that plaitd hears, in the README as well."""
    for text in (read("plaitd"), (REFERENCE.parents[1] / "README.md").read_text(encoding="utf-8")):
        found = {word for row in re.findall(r"^\| ([A-Z0-9, ]+) \|", text, re.MULTILINE) for word in row.split(", ")}

        assert {number.name.removeprefix("SIG") for number in (*STOPPING, *OTHERS)} <= found


def test_the_fields_of_a_line_of_json_are_in_the_reference() -> None:
    """What `--log-format json` writes by itself is listed."""
    record = logging.LogRecord("shop", logging.INFO, "shop.py", 1, "text", (), None)
    page = read("logs")

    assert [name for name in json.loads(JSONLines()(record, "shop/web")) if f"`{name}`" not in page] == []


def test_the_line_of_text_in_the_reference_is_what_is_written() -> None:
    """The example of a line differs from a real one in its time only."""
    record = logging.LogRecord("shop.web", logging.INFO, "shop.py", 1, "sold", (), None)
    record.item = "a pear"
    record.count = 3
    (shown,) = re.findall(r"^\d{4}-\d\d-\d\dT\S+ (\[.+)$", read_section("plaitd", "The log"), re.MULTILINE)

    assert Text()(record, "shop/web").decode().partition(" ")[2].rstrip("\n") == shown


#: What a run knows beside its settings.
OF_THE_RUN = ("called", "arguments", "assignments", "origins")


def test_every_setting_is_a_word_of_the_command_line() -> None:
    """No option of plaitd is missing from its page, whose table is made of them."""
    from plait.runner.settings import Settings

    assert "{settings-table} plaitd" in read("plaitd")
    assert all(item.metadata for item in fields(Settings) if item.name not in OF_THE_RUN)


@pytest.mark.parametrize("name", ["portforward", "procmon"])
def test_a_plugin_in_the_reference_is_as_its_help_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has what ``plaitd NAME --help`` prints on a screen of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    assert f"```text\n{describe_plugin(name).make_help()}```" in read_section("plugins", name)


def test_the_how_to_about_plugins_shows_the_help_of_its_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands there as the help of the plugin is what it would print."""
    monkeypatch.setenv("COLUMNS", "80")
    page = (REFERENCE.parent / "how-to" / "write-a-plugin.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)

    assert f"```text\n{Command.of(names['greet'], 'greet').make_help()}```" in page


def test_the_detailed_operation_has_every_exit_status() -> None:
    """Each status of the table is met at some step, and no step has one that is not in the table."""
    table = set(re.findall(r"^\| (\d+) \|", read_section("plaitd", "Exit status"), re.MULTILINE))
    steps = read_section("plaitd", "Detailed operation")

    assert {"0", *re.findall(r": (\d+)\b", steps)} == table
    assert [int(number) for number in re.findall(r"^(\d+)\. ", steps, re.MULTILINE)] == list(range(1, 27))
