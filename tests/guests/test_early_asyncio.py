"""What a Twisted application gives to asyncio before there is a loop is not lost; if it must be, that is said."""

from __future__ import annotations

from tests.guests.tac import start, write
from tests.system.daemon import Place
from tests.system.places import FORMS

#: A task that is made while the file is loaded, and another in the privileged part of the start.
EARLY = """
import asyncio

class Early(service.Service):
    name = "early"

    def privilegedStartService(self):
        self.task = asyncio.get_event_loop().create_task(speak("privileged"))

async def speak(what):
    await runs
    print(what, "runs in the one loop:", asyncio.get_running_loop() is reactor._asyncioEventloop)
    if what == "privileged":
        tell("spoke")

runs = asyncio.get_event_loop().create_future()
reactor.callWhenRunning(runs.set_result, None)
kept = asyncio.get_event_loop().create_task(speak("loading"))
add(Early())
"""


@FORMS
def test_a_task_that_was_made_before_there_was_a_loop_runs(place: Place, daemonize: bool) -> None:
    """What was given to ``asyncio.get_event_loop()`` runs in the same loop as everything else."""
    write(place, EARLY)
    ended = start(place, daemonize).stop()
    assert ended.code == 0
    for what in ("loading", "privileged"):
        assert f"{what} runs in the one loop: True" in ended.output


def test_where_another_loop_was_asked_for_it_is_said_what_is_lost(place: Place) -> None:
    """A loop of another kind cannot run what was given to asyncio's: the log says so, with what to do."""
    write(place, EARLY)
    ended = start(place, False, "--reactor=uvloop").stop()
    assert ended.code == 0
    assert (
        "#warning] the application used asyncio's event loop before uvloop was there: what it gave to it (2 tasks) "
        "does not run: do it when the reactor runs, or leave out --reactor"
    ) in ended.output
    assert "runs in the one loop" not in ended.output
