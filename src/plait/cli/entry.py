"""
Where the program plaitd begins: before anything is imported.
"""

from __future__ import annotations

import gc


def plaitd() -> int:
    """Run ``plaitd``; return its exit code."""
    # What a program imports stays for good: looking for garbage among it would cost a tenth of the start.  The runner
    # puts it out of the collector's sight and turns the collector on again.
    gc.disable()
    from plait.cli.plaitd import main

    return main()
