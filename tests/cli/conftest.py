"""What tests of the command line share with those of whole programs."""

from __future__ import annotations

from tests.system.places import place as place
