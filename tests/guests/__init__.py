"""Tests of guests."""

import pytest

# Their assertions are to say as much as those of the tests.
for name in ("bundled", "bundled_failing", "bundled_net", "bundled_talk", "bundled_web", "living"):
    pytest.register_assert_rewrite(f"{__name__}.{name}")
