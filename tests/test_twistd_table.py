"""
What twistd does that is worth having, row by row: which test shows that it is here, or which page says why it is not.

`ROWS` are the behaviours of twistd that are kept, improved or added to, in the order in which a person meets them; what
belongs to running Twisted's own applications, to looking after what runs, and to reloading is not among them.
`OPTIONS` are those of its command line, each with its line in the how-to.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from plait.runner.command_line import options_of
from tests.system.daemon import PLAITD

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
PAGE = "how-to/from-twistd.md"


@dataclass(frozen=True)
class Row:
    """
    One behaviour in our words, and what is done about it.

    *shown* are tests, as ``file::function`` below ``tests/``; *why* is ``page#heading`` below ``docs/``, where it says
    in what plait differs and why; *later* says what is still missing, for a row that has nothing else.
    """

    what: str
    verdict: str
    shown: tuple[str, ...] = ()
    why: str = ""
    later: str = ""


def keep(what: str, *shown: str, why: str = "", later: str = "") -> Row:
    return Row(what, "keep", shown, why, later)


def improve(what: str, *shown: str, why: str = "", later: str = "") -> Row:
    return Row(what, "improve", shown, why, later)


def add(what: str, *shown: str, why: str = "", later: str = "") -> Row:
    return Row(what, "add", shown, why, later)


ROWS = [
    # Services
    keep(
        "services form a tree, have names, and come and go while it runs",
        "tree/test_application.py::test_walk_gives_every_path",
        "tree/test_steering.py::test_add_comes_last_and_a_failed_one_is_dropped",
        "tree/test_steering.py::test_remove_stops_and_forgets",
    ),
    improve(
        "a service goes to another parent wholly or not at all, its stop awaited",
        "tree/test_steering.py::test_apply_of_random_values_gives_exactly_the_new_tree",
        why=f"{PAGE}#What stood in a `.tac`",
    ),
    keep(
        "children start in the order in which they were given",
        "tree/test_supervisor.py::test_start_waits_for_ready_and_stop_is_the_exact_reverse",
    ),
    improve(
        "a start is waited for, of plain functions as well as of async ones",
        "tree/test_supervisor.py::test_start_waits_for_ready_and_stop_is_the_exact_reverse",
        "services/test_task.py::test_a_thread_with_a_context_says_ready_itself",
        "system/test_weaknesses.py::test_a_start_that_fails_later_has_failed",
        why=f"{PAGE}#Start and stop",
    ),
    improve(
        "a failed start is taken back, in reverse, and its cause is told",
        "tree/test_supervisor.py::test_a_failed_start_rolls_back_and_names_path_and_cause",
        "system/test_weaknesses.py::test_a_failed_start_is_told_whole",
    ),
    improve(
        "to start what runs changes nothing; who comes or goes during a start disturbs nobody",
        "tree/test_steering.py::test_start_by_hand_of_what_lives_changes_nothing_and_of_what_waits_starts_it_now",
        "tree/test_tree_machine.py::test_random_operations_agree_with_the_model",
    ),
    improve(
        "a stop goes in reverse, each is waited for, within its time",
        "tree/test_supervisor.py::test_start_waits_for_ready_and_stop_is_the_exact_reverse",
        "system/test_signals.py::test_each_service_has_its_own_time",
    ),
    improve(
        "errors of a stop are told with the path of the service",
        "system/test_weaknesses.py::test_errors_while_stopping_are_told",
        "tree/test_supervisor.py::test_errors_while_stopping_do_not_stop_the_stopping",
    ),
    keep(
        "what needs root, a low port, is done before root is given up",
        "system/test_process_privileges.py::test_a_daemon_binds_as_root_and_serves_as_nobody",
        why=f"{PAGE}#Start and stop",
    ),
    # Loading
    keep(
        "the variable `application` of a Python file is run; a bare service or a factory will do",
        "runner/test_loader.py::test_an_application_a_group_or_what_makes_one",
        "runner/test_loader.py::test_a_bare_service_is_wrapped",
    ),
    improve(
        "the file has a real module name, and its errors show the user's own line",
        "runner/test_loader.py::test_a_file_is_a_module_of_its_name",
        "runner/test_loader.py::test_errors_show_the_users_own_line",
        why=f"{PAGE}#What stood in a `.tac`",
    ),
    improve(
        "the folder of the file can be put on the path",
        "runner/test_loader.py::test_the_folder_of_a_file_can_be_imported_from",
        why=f"{PAGE}#What stood in a `.tac`",
    ),
    # The daemon
    keep(
        "a daemon forks twice, leaves its session, and has /dev/null",
        "system/test_process_daemon.py::test_a_daemon_lets_go_of_what_its_starter_had",
        "system/test_process_daemon.py::test_a_daemon_has_left_the_terminal_for_good",
        why=f"{PAGE}#Daemons",
    ),
    improve(
        "the starter hears of readiness and of failure, whole, and never waits for a daemon that died",
        "system/test_process_daemon.py::test_a_failure_is_told_by_the_parent",
        "system/test_process_daemon.py::test_a_long_text_arrives_whole",
        "system/test_weaknesses.py::test_an_exit_in_a_start_does_not_hang_the_starter",
    ),
    keep(
        "the command ends with 0 only when all has started",
        "system/test_process_daemon.py::test_the_parent_waits_until_the_daemon_is_ready",
        "system/test_process_daemon.py::test_the_port_answers_when_the_parent_returns",
    ),
    improve(
        "there is no pidfile in the foreground unless it is asked for",
        "system/test_plaitd.py::test_the_foreground_has_no_pidfile_unless_asked",
        why=f"{PAGE}#The pidfile",
    ),
    improve(
        "a lock says whether one runs, whatever number is in the file",
        "system/test_process_pidfile.py::test_of_fifty_starts_at_once_one_wins",
        "system/test_process_pidfile.py::test_a_number_that_was_given_to_somebody_else_does_not_block",
        "system/test_weaknesses.py::test_a_zombie_in_the_pidfile_does_not_block",
        why=f"{PAGE}#The pidfile",
    ),
    improve(
        "the pidfile is removed only if it is still ours, and the log says where it cannot be",
        "system/test_process_pidfile.py::test_a_pidfile_that_was_replaced_is_left",
        "process/test_pidfile.py::test_a_file_that_may_not_be_removed_is_emptied",
    ),
    keep(
        "a pidfile that was left behind is in nobody's way",
        "system/test_process_pidfile.py::test_a_stale_pidfile_never_blocks",
        "system/test_process_pidfile.py::test_a_killed_daemon_does_not_block",
    ),
    keep(
        "a daemon's umask is 077, for its log as well",
        "system/test_plaitd.py::test_a_daemon_has_let_go_of_its_starter",
        "process/test_prepare.py::test_in_the_foreground_the_mask_stays",
    ),
    keep(
        "user and group by name or number, groups always set, numbers without an entry too",
        "system/test_process_privileges.py::test_a_named_user_gets_its_own_groups_and_no_way_back",
        "system/test_drop.py::test_every_thread_of_a_daemon_is_exactly_who_it_should_be",
        "system/test_weaknesses.py::test_a_user_may_be_only_a_number",
        "system/test_log_place.py::test_a_log_in_a_folder_of_roots_is_made_for_the_user",
        why=f"{PAGE}#Another user",
    ),
    keep(
        "--euid changes the effective numbers only",
        "system/test_drop.py::test_euid_changes_only_the_effective_numbers",
    ),
    keep(
        "--chroot, with the default pidfile and before the folder is entered",
        "system/test_jail.py::test_a_daemon_lives_in_an_empty_folder",
    ),
    keep(
        "pidfile and log are relative to where they were typed",
        "process/test_prepare.py::test_paths_mean_what_they_meant_where_they_were_typed",
        "system/test_plaitd.py::test_a_daemon_has_let_go_of_its_starter",
    ),
    # Signals
    keep(
        "TERM and INT stop it in order; INT ends it by that signal, as process 1 with 130",
        "system/test_signals.py::test_it_is_stopped_in_order",
        "system/test_signals.py::test_a_shell_notices_that_it_was_interrupted",
        "system/test_plaitd.py::test_as_process_1_it_stays_and_stops",
        why=f"{PAGE}#Exit status",
    ),
    improve(
        "a second signal hurries, a third ends it at once",
        "system/test_signals.py::test_a_second_signal_hurries",
        "system/test_signals.py::test_a_third_signal_ends_it_at_once",
    ),
    improve(
        "a signal before the loop runs is heard, and takes the start back",
        "system/test_signals.py::test_a_stop_is_right_at_any_moment_of_the_start",
        "system/test_weaknesses.py::test_a_stop_in_the_middle_of_a_start_takes_it_back",
    ),
    improve(
        "HUP opens the log again, and kills nobody",
        "system/test_signals.py::test_the_log_is_opened_again",
        "system/test_signals.py::test_no_other_signal_ends_it_by_accident",
        why=f"{PAGE}#Signals",
    ),
    improve(
        "USR1 opens a log again that was moved, and is never fatal",
        "system/test_signals.py::test_the_log_is_opened_again",
        "system/test_signals.py::test_no_other_signal_ends_it_by_accident",
        why=f"{PAGE}#Signals",
    ),
    improve(
        "USR2 says where every task is",
        "system/test_signals.py::test_usr2_shows_where_every_task_is",
        "system/test_debugging.py::test_usr2_shows_every_stack",
    ),
    improve(
        "-b runs it under pdb, only when asked to",
        "system/test_debugging.py::test_the_debugger_is_there_before_anything_runs",
        "system/test_debugging.py::test_ctrl_c_comes_back_wherever_it_is",
    ),
    keep(
        "-p, --profiler and --savestats profile the run",
        "system/test_debugging.py::test_a_profile_is_written_when_it_is_stopped",
        "system/test_debugging.py::test_statistics_are_saved_for_pstats",
    ),
    # Logs
    keep(
        "--syslog and --prefix, with levels mapped and the name of the logger kept",
        "runner/test_syslog_daemon.py::test_a_message_has_priority_time_tag_and_text",
        "system/test_logs.py::test_rsyslog_gets_what_is_logged",
    ),
    keep(
        "the format of a line: time, [system#level], text, a TAB before further lines",
        "runner/test_formats.py::test_a_text_line_is_as_twistd_writes_it",
        "runner/test_formats.py::test_further_lines_begin_with_a_tab",
        why=f"{PAGE}#Logs",
    ),
    improve(
        "JSON is one plain line, its level a name and a number, its traceback text",
        "runner/test_formats.py::test_a_json_line_has_the_fixed_fields_first",
        "runner/test_formats.py::test_severity_numbers_are_opentelemetrys",
        "runner/test_formats.py::test_json_has_the_traceback_as_text",
        why=f"{PAGE}#Logs",
    ),
    keep(
        "what is printed is logged, unfinished lines too, and the descriptors stay what they are",
        "runner/test_logs.py::test_what_is_printed_becomes_records",
        "runner/test_logs.py::test_a_captured_stream_has_the_descriptor_of_the_old_one",
    ),
    improve(
        "the standard library's logging is what is logged",
        "runner/test_logs.py::test_records_reach_the_file_with_the_path_of_their_service",
        why=f"{PAGE}#Logs",
    ),
    improve(
        "a log is opened again by signal, also by another user",
        "runner/test_logs.py::test_reopening_follows_a_rename",
        "system/test_weaknesses.py::test_the_log_is_opened_again_by_another_user",
    ),
    improve(
        "a log rotates by size or time, with a bound on what is kept",
        "runner/test_rotation.py::test_by_size_the_newest_are_kept_whole",
        "runner/test_rotation.py::test_by_day_each_day_has_its_file",
        "runner/test_rotation.py::test_a_file_that_cannot_be_renamed_goes_on",
        "system/test_logs.py::test_logrotate_rotates_it",
    ),
    keep(
        "--logger names what makes the handler",
        "runner/test_log_settings.py::test_a_handler_of_ones_own_gets_the_records",
        "runner/test_log_settings.py::test_one_that_gives_no_handler_is_refused",
    ),
    # The command line
    improve(
        "words are completed in bash, zsh and fish",
        "runner/test_completion.py::test_every_option_is_offered_behind_its_program",
        "system/test_installed.py::test_a_plugin_of_another_package_is_completed",
    ),
    keep(
        "-r chooses the loop, --help-reactors says which can be used",
        "system/test_reactors.py::test_a_loop_does_all_that_plait_needs",
        "system/test_reactors.py::test_help_reactors_is_printed",
    ),
    keep(
        "options may be shortened, and short ones be put together",
        "runner/test_sources.py::test_its_spellings_mean_what_they_meant",
    ),
    improve(
        "a wrong option is said on standard error, with the nearest one and exit code 2",
        "runner/test_settings.py::test_a_slip_is_said_with_what_was_probably_meant",
        "system/test_errors.py::test_one_sentence_and_its_code",
        why=f"{PAGE}#Exit status",
    ),
    keep(
        "plugins are sub-commands with options of their own",
        "system/test_plugins.py::test_it_shows_in_help_and_nothing_is_imported_for_that",
        "system/test_plugins.py::test_it_runs_as_its_options_say",
        why=f"{PAGE}#Plugins",
    ),
    # Endpoints
    keep(
        "endpoint strings mean what they mean in Twisted, and wrong ones are one sentence",
        "test_endpoints.py::test_a_listening_text_means_what_it_means_in_twisted_or_is_documented",
        "test_endpoints.py::test_a_connecting_text_means_what_it_means_in_twisted_or_is_documented",
        "test_endpoints.py::test_a_wrong_listening_text_is_refused_in_one_sentence",
        "test_sockets.py::test_a_descriptor_is_taken_by_its_number",
        "test_sockets.py::test_reuseport_lets_two_processes_bind",
    ),
    improve(
        "sockets of systemd need no names",
        "test_sockets.py::test_the_variables_of_systemd_are_read_once",
        "test_sockets.py::test_systemd_sockets_are_found_by_index_and_by_name",
    ),
    improve(
        "a place that cannot be had fails the start, whoever opens it",
        "system/test_weaknesses.py::test_a_port_in_use_is_told_whole",
        "system/test_weaknesses.py::test_a_port_that_a_service_cannot_have_is_told",
    ),
    # Kinds of services
    improve(
        "a call that fails is told, and the next one comes, or the service fails; by the monotonic clock",
        "services/test_schedule.py::test_a_failed_run_is_an_event_and_an_error_and_the_next_one_comes",
        "services/test_schedule.py::test_a_failed_run_fails_the_service_when_told_to",
        "services/test_schedule.py::test_the_wall_clock_does_not_matter",
    ),
    keep(
        "the first call comes at the start, or when it is told to",
        "services/test_schedule.py::test_begins_where_it_is_told_to",
    ),
    keep(
        "a connection is kept open with growing pauses, prepared, bounded at its stop, and tells its states",
        "services/test_connection.py::test_calls_the_handler_with_a_connection_and_again_when_it_was_lost",
        "services/test_connection.py::test_a_loss_while_it_is_prepared_is_a_failed_attempt",
        "services/test_connection.py::test_a_refused_login_closes_the_connection_and_waits_longer_each_time",
        "services/test_connection.py::test_a_stop_is_bounded_when_the_other_end_does_not_read",
    ),
    improve(
        "children are waited for, inherit the environment, tell their exit status, and end with all that came of them",
        "system/test_program_life.py::test_it_gets_our_environment_with_additions",
        "system/test_program_life.py::test_death_by_any_signal_is_noticed_at_once",
        "system/test_program_stop.py::test_nothing_that_came_of_it_survives",
        "system/test_program_stop.py::test_one_that_ignores_its_signal_is_killed_after_its_grace",
    ),
    # What it never had
    add(
        "an application chooses its exit status",
        "system/test_plaitd.py::test_an_application_may_stop_itself",
        "system/test_weaknesses.py::test_sys_exit_stops_in_order_with_its_code",
        "system/test_exit_codes.py::test_each_way_to_end_has_its_exit_code",
        why=f"{PAGE}#Exit status",
    ),
    add(
        "a manager is told when it is ready, and when it stops",
        "system/test_plaitd.py::test_under_systemd_it_stays_and_says_so",
        "system/test_plaitd.py::test_under_s6_it_stays_and_says_so",
    ),
    add(
        "each service has a policy of restarts, and groups escalate",
        "tree/test_supervisor.py::test_the_otp_table",
        "tree/test_supervisor.py::test_escalation_lets_the_parent_decide",
        "system/test_plaitd.py::test_a_tree_that_gives_up_ends_it_with_70",
    ),
]

#: How twistd spells its options, and whether plaitd refuses them.
OPTIONS = {
    "-n --nodaemon": "",
    "-y --python": "",
    "-f --file": "",
    "-s --source": "",
    "-o --no_save": "",
    "-e --encrypted": "refused",
    "-l --logfile": "",
    "--logger": "",
    "--syslog": "",
    "--prefix": "",
    "--pidfile": "",
    "-d --rundir": "",
    "--chroot": "",
    "-u --uid": "",
    "-g --gid": "",
    "--euid": "",
    "--umask": "",
    "--originalname": "",
    "-r --reactor": "",
    "--help-reactors": "",
    "-b --debug": "",
    "-p --profile": "",
    "--profiler": "",
    "--savestats": "",
    "--spew": "refused",
    "--version": "",
    "--help": "",
}


@cache
def functions_of(name: str) -> set[str]:
    """Return the functions at the top of a file of tests."""
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@cache
def headings_of(page: str) -> set[str]:
    """Return the headings of a page of the documentation."""
    return set(re.findall(r"^#+ (.+)$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_each_behaviour_is_shown_or_explained(row: Row) -> None:
    """Each row has a test that exists, or a heading that exists, or says what is missing, and then has nothing else."""
    assert bool(row.shown or row.why) != bool(row.later)
    for test in row.shown:
        file, _, name = test.partition("::")
        assert name.startswith("test_")
        assert name in functions_of(file), test
    if row.why:
        page, _, heading = row.why.partition("#")
        assert heading in headings_of(page)


def test_the_table_is_whole() -> None:
    """As many as there were to keep, to improve and to add."""
    assert [row.what for row in ROWS if row.verdict not in ("keep", "improve", "add")] == []
    assert len({row.what for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_of_twistd_is_in_the_how_to(option: str) -> None:
    """With all of its spellings in the left column, and what it is here in the next one."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| .*\|$", (DOCS / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
    spellings = option.split()
    (found,) = [right for left, right in rows if set(spellings) <= set(re.findall(r"--?[\w-]+", left))]
    assert found.startswith("refused") == (OPTIONS[option] == "refused")


#: Run by itself: which options twistd has, the long ones with "=" where they take a value, as getopt wants them.
ASK = "from twisted.scripts._twistd_unix import ServerOptions as S; o = S(); print(o.shortOpt, *o.longOpt)"


def test_every_option_of_twistd_is_known_and_takes_a_value_where_it_does_there() -> None:
    """Of the newest Twisted, whichever options that has; each is in the table, and is here or is refused by name."""
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    short, *long = done.stdout.split()
    theirs = {f"--{name.removesuffix('=')}": name.endswith("=") for name in long}
    theirs |= {f"-{letter}": follows == ":" for letter, follows in pairwise(f"{short} ") if letter != ":"}
    ours = {flag: option for option in options_of("plaitd") for flag in option.flags}
    assert theirs == {flag: not ours[flag].is_flag for flag in theirs if flag in ours}
    assert set(theirs) == {flag for spellings in OPTIONS for flag in spellings.split()}
    refused = {flag for spellings, what in OPTIONS.items() if what for flag in spellings.split()}
    assert refused == {flag for flag in theirs if ours[flag].dropped}


def test_an_option_that_is_here_has_all_spellings_of_twistd() -> None:
    """Where `--help` names one spelling of twistd's, it names the others."""
    done = subprocess.run([PLAITD, "--help"], capture_output=True, text=True, check=True)
    ours = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout))
    for option in OPTIONS:
        spellings = set(option.split())
        assert not spellings & ours or spellings <= ours, option
    assert {"-n", "--nodaemon", "--no-daemon"} <= ours
