"""
What was seen to go wrong with twistd does not go wrong under plaitd: each weakness of the list, by its number.

The tests run real ``.tac`` files: `test_weak_starts.py`, `test_weak_running.py` and `test_weak_stops.py` have most of
them.  Where a host can do nothing about it, the documentation says so.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
STARTS = "guests/test_weak_starts.py::"
RUNNING = "guests/test_weak_running.py::"
STOPS = "guests/test_weak_stops.py::"

#: Its number, what was seen, and what shows that it is not so here: tests, as ``file::name`` below ``tests/``, or the
#: beginning of a sentence, as ``page: words`` below ``docs/``.
WEAKNESSES: dict[str, tuple[str, ...]] = {
    "1": (
        "a failed start: a truncated line; what started before is never stopped",
        f"{STARTS}test_a_failed_start_is_told_whole",
    ),
    "2": ("the same in the foreground: nothing on standard error", f"{STARTS}test_a_failed_start_is_told_whole"),
    "3": ("a start that fails later: exit code 0, and it runs on", f"{STARTS}test_a_failed_start_is_told_whole"),
    "4": ("an async start never runs", f"{STARTS}test_an_async_start_runs_and_is_waited_for"),
    "5": (
        "sys.exit, os._exit in a start: the parent hangs",
        f"{STARTS}test_an_exit_in_a_start_does_not_hang_the_starter",
    ),
    "6": ("no right to become a user: the parent hangs", f"{STARTS}test_who_may_not_become_root_is_told_so"),
    "7": ("a user without a passwd entry: KeyError", f"{STARTS}test_a_user_may_be_only_a_number"),
    "8": (
        "a file that cannot be loaded: said twice, with a traceback",
        f"{STARTS}test_a_file_that_is_broken_is_one_sentence",
        f"{STARTS}test_a_file_that_is_not_there_is_one_sentence",
        f"{STARTS}test_a_bare_service_will_do",
    ),
    "9": ("five starts at once: five daemons, one pidfile", f"{STARTS}test_of_five_starts_at_once_one_wins"),
    "10": (
        "a stop that never ends",
        f"{STOPS}test_a_stop_that_never_ends_costs_its_deadline_and_is_named",
        f"{STOPS}test_a_trigger_that_never_ends_costs_its_deadline_and_is_named",
        f"{STOPS}test_a_second_signal_hurries_a_stop_that_never_ends",
    ),
    "11": ("errors of a stop are lost", f"{STOPS}test_errors_of_a_stop_are_told"),
    "12": ("TERM while it starts: dead at once", f"{STOPS}test_a_stop_in_the_middle_of_a_start_takes_it_back"),
    "13": ("port in use, found by the service: a deaf daemon", f"{STARTS}test_a_port_in_use_is_told_whole"),
    "14": ("port in use: cut in the middle of a word", f"{STARTS}test_a_port_in_use_is_told_whole"),
    "15": (
        "a failed call of a timer: never again",
        f"{RUNNING}test_the_failed_call_of_a_timer_is_told_and_the_timer_lives",
    ),
    "16": ("sys.exit in a callback: ignored", f"{RUNNING}test_sys_exit_stops_in_order_with_its_code"),
    "17": ("an exception in a delayed call", f"{RUNNING}test_an_error_that_nobody_handles_is_told"),
    "17a": (
        "sys.exit in an asyncio callback: nothing is stopped",
        f"{RUNNING}test_sys_exit_stops_in_order_with_its_code",
    ),
    "18": (
        "USR1 kills where the log is standard output, or a logger of its own",
        f"{RUNNING}test_no_signal_kills_it_whatever_its_log_is",
    ),
    "19": ("mv and USR1: the old file is written on", f"{RUNNING}test_a_log_that_was_moved_is_opened_again"),
    "20": ("no rotation after a change of user", f"{RUNNING}test_the_log_is_opened_again_by_another_user"),
    "21": ("HUP and QUIT kill", f"{RUNNING}test_it_is_stopped_in_order"),
    "22": ("INT is ignored in a background job", f"{RUNNING}test_it_is_stopped_in_order"),
    "23": (
        "a process name in a virtual environment: cannot start",
        f"{STARTS}test_a_process_name_is_the_title_in_a_virtual_environment_too",
    ),
    "24": ("a process name loses passed sockets", f"{STARTS}test_a_process_name_loses_no_passed_socket"),
    "25": (
        "chroot: pidfile fails, hangs without /dev/null",
        f"{STARTS}test_another_root_works_with_the_default_pidfile",
    ),
    "26": ("a stale pid blocks the start", f"{STARTS}test_a_stale_pid_does_not_block"),
    "27": ("TERM as process 1", f"{RUNNING}test_as_process_1_it_stays_and_stops"),
    "28": (
        "a broken plugin: a traceback for every command",
        "guests/test_plugins.py::test_a_broken_one_is_in_nobodys_way",
    ),
    "29": ("a full device: silence", f"{RUNNING}test_a_full_device_is_told"),
    "30": (
        "a thread of a pool: waited for",
        f"{STOPS}test_a_thread_of_the_reactor_does_not_hold_the_end",
        "how-to/run-a-tac.md: A thread of the reactor's pool cannot be ended from outside",
    ),
    "31": ("child processes outlive their monitor", f"{STOPS}test_the_children_of_a_monitor_end_with_it"),
    "32": ("stopped and started again: deaf", f"{RUNNING}test_a_port_that_is_started_again_is_not_deaf"),
    "33": (
        "a connection lost while it is prepared: stuck",
        f"{RUNNING}test_a_connection_lost_while_it_is_prepared_is_told",
        "how-to/run-a-tac.md: A `ClientService` whose connection is lost while it is being prepared",
    ),
    "34": (
        "the other runner: the log of a failed start is lost, no privileged start",
        f"{STARTS}test_plait_run_tells_of_a_failed_start",
    ),
}


@cache
def functions_of(name: str) -> set[str]:
    """Return the functions at the top of a file of tests."""
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_list_is_whole() -> None:
    """Each number from 1 to 34 is there, and 17a."""
    assert sorted(WEAKNESSES, key=lambda number: (int(number.rstrip("a")), number)) == list(WEAKNESSES)
    assert set(WEAKNESSES) == {str(number) for number in range(1, 35)} | {"17a"}


@pytest.mark.parametrize("number", WEAKNESSES)
def test_each_weakness_has_its_test(number: str) -> None:
    """Each test that is named exists, and each sentence stands in the documentation."""
    _, *shown = WEAKNESSES[number]
    assert shown
    for each in shown:
        file, is_test, name = each.partition("::")
        if is_test:
            assert name in functions_of(file), each
        else:
            page, _, words = each.partition(": ")
            assert words in " ".join((DOCS / page).read_text(encoding="utf-8").split()), each
