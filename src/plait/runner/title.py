"""
The title of the process: what ps and top show in place of the command line.
"""

from __future__ import annotations

#: Where Linux keeps the short name of a process, and how many bytes of one it takes.
SHORT_NAME = "/proc/self/comm"
LONGEST = 15


def set_title(text: str) -> str:
    """
    Show *text* as the title of this process; return a sentence for the log when that is only done in part, or empty.

    The package ``setproctitle`` replaces the whole command line.  Without it, only the short name can be set.
    """
    text = text.encode("utf-8", "replace").decode()
    try:
        import setproctitle
    except ImportError:
        pass
    else:
        setproctitle.setproctitle(text)
        return ""
    short = text.encode()[:LONGEST].decode("utf-8", "ignore")
    try:
        with open(SHORT_NAME, "w", encoding="utf-8") as file:
            file.write(short)
    except OSError as error:
        return f"--title={text}: cannot be shown ({error.strerror}): pip install plait[title]"
    return f"--title={text}: shown as {short!r}, and only where ps shows COMM: pip install plait[title]"
