"""Limits on JSON before it is parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.errors import InputError
from rearank_mcp import json_limits
from rearank_mcp.json_limits import MAX_VALUES, check_values

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a,[{"\\]}\u00e9', max_size=9)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=30,
)


def counted(value):
    """Containers, and values beside the first of each."""
    inside = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    if inside is None:
        return 0
    return 1 + max(0, len(inside) - 1) + sum(map(counted, inside))


@given(VALUES, st.integers(1, 40), st.booleans())
def test_values_are_counted_outside_strings(value, most, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_limits, "MAX_VALUES", most)
        for message in (text, text.encode()):
            if counted(value) >= most:
                with pytest.raises(InputError, match="values or more"):
                    check_values(message)
            else:
                check_values(message)


@pytest.mark.parametrize(
    ("message", "refused"),
    {
        "empty strings": (b"[" + b'"",' * MAX_VALUES + b'""]', True),
        "open brackets": (b"[" * MAX_VALUES, True),
        "commas in a string": (b'["' + b"," * 5_000_000 + b'"]', False),
        "a string without an end": (b'["' + b'\\",' * 2_000_000, False),
        "an odd quote": (b'"' * 4_000_001 + b"," * MAX_VALUES, False),
        "ends in a backslash": (b'["' + b"," * MAX_VALUES + b"\\", False),
    }.values(),
)
def test_hostile_messages_are_read_once(message, refused):
    """A pattern that goes back would take minutes on these, not milliseconds."""
    if refused:
        with pytest.raises(InputError):
            check_values(message)
    else:
        check_values(message)
