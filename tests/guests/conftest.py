"""
What holds for every test of a guest.
"""

from __future__ import annotations

from twisted.internet import tcp

from tests.system.places import peer as peer
from tests.system.places import place as place
from tests.system.places import public as public

# The first port that listens makes Twisted open a descriptor, which it keeps: no test is to be blamed for it.
tcp._reservedFD.reserve()
