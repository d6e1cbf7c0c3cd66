"""
Trio in a tree: services that are written in trio, in guest mode on the loop of the tree
"""

try:
    import trio as _trio
except ModuleNotFoundError as error:
    if error.name != "trio":
        raise
    from plait import ConfigurationError

    raise ConfigurationError("plait.guests.trio: needs the package trio: pip install plait[trio]") from None

from plait.guests.trio.service import TrioService, need

__all__ = ["TrioService", "need"]

del _trio
