"""
What holds for every test of a guest.
"""

from __future__ import annotations

from twisted.internet import tcp

# The first port that listens makes Twisted open a descriptor, which it keeps: no test is to be blamed for it.
tcp._reservedFD.reserve()
