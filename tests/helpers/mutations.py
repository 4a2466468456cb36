"""Strategies of odd inputs: valid ones that were cut, doubled, swapped and filled with junk.

`fuzz` is how tests/fuzz runs: the same few examples each time, or, with the environment variable
REARANK_TEST_EXAMPLES, that many new ones, each within ten seconds (`make fuzz`).
"""

import json
import os
from collections import Counter
from copy import deepcopy
from functools import wraps

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("REARANK_TEST_EXAMPLES", 0))
RAN = Counter()
"""The examples of each test that ran in this process."""

_SETTINGS = settings(
    max_examples=EXAMPLES or 30,
    derandomize=not EXAMPLES,
    deadline=10_000 if EXAMPLES else None,  # ms
    suppress_health_check=list(HealthCheck),
    phases=set(Phase) - {Phase.explain},
)
_MOST = 64 * 1024  # characters or bytes of an input


def deep(levels, leaf=None):
    """Lists within lists."""
    for _ in range(levels):
        leaf = [leaf]
    return leaf


HALF = "\ud800"
ODD = (
    None, True, False, 0, -1, 10**400, -(2**63) - 1, 1e308, 5e-324, float("nan"), float("inf"),
    "", " ", "\0", HALF, "\udc00", "\ufeff", "\r", "\x85", "\u2028", "a" * 5_000, "[1]", "NaN", [],
    {}, [[]], {"": None}, ["a", 1], {HALF: HALF}, deep(90), deep(101), deep(150),
)  # fmt: skip
"""Values that no reader expects; some of them are no JSON."""

JUNK = (
    "\0", "\r", "\n", "\r\n", "\t", " ", '"', "\\", "{", "}", "[", "]", ",", ":", "<", ">", "<!--",
    "<![", "]]>", "<!", "&#10;", "&#xD800;", "</", "/>", "\ufeff", "\u2028", "\x85", "\x1c",
    "\\ud800", "\\u0000", "null", "NaN", "-Infinity", "1e999", "1e-99999999999999999999", "9" * 5_000,
    "0.10000000000000000000001", "[" * 3_000, '{"a":' * 3_000, "```", "~~~", "# ", "===\n", "---\n",
    "[1]", "[0]", "[99999999]", "<think>", "</think>", "<answer>", "</answer>", " > ", "7/10", "90%",
    "\U0001f600", "e\u0301", "\u202e", "日本", "Ⅷ", "²", "١",
)  # fmt: skip
_RAW = (
    b"\xff",
    b"\xfe\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
)


@st.composite
def _changed(draw, given, junk):
    """A sequence after a few changes: parts of it are cut, doubled, swapped or replaced."""
    found = given
    for _ in range(draw(st.integers(1, 4))):
        a, b = sorted((draw(st.integers(0, len(found))), draw(st.integers(0, len(found)))))
        kind = draw(st.sampled_from(("cut", "keep", "repeat", "swap", "junk", "insert")))
        if kind == "cut":
            found = found[:a] + found[b:]
        elif kind == "keep":
            found = found[a:b]
        elif kind == "repeat":
            found = found[:a] + found[a:b] * draw(st.sampled_from((2, 3, 50, 2_000))) + found[b:]
        elif kind == "swap":
            found = found[b:] + found[a:b] + found[:a]
        else:
            found = found[:a] + draw(st.sampled_from(junk)) + found[b if kind == "junk" else a :]
        found = found[:_MOST]
    return found


def texts(*valid):
    """Texts: changes of valid ones, and any."""
    return st.one_of(*(_changed(one, JUNK) for one in valid), st.text(max_size=200))


def blobs(*valid):
    """Bytes: changes of valid ones, and any."""
    junk = (*(one.encode() for one in JUNK), *_RAW)
    return st.one_of(*(_changed(one, junk) for one in valid), st.binary(max_size=200))


def _places(value, path=()):
    """The paths of all values inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*path, key))


@st.composite
def values(draw, *valid, odd=ODD):
    """Values: valid ones with a few fields removed, doubled, swapped, or of another type."""
    value = json.loads(json.dumps(draw(st.sampled_from(valid))))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(value))
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        holder = value
        for key in path:
            holder = holder[key]
        kind = draw(st.sampled_from(("odd", "odd", "odd", "remove", "double", "other")))
        if kind == "odd":
            holder[last] = deepcopy(draw(st.sampled_from(odd)))
        elif kind == "remove":
            del holder[last]
        elif kind == "double" and isinstance(holder, list):
            holder.extend([holder[last]] * draw(st.sampled_from((1, 30))))
        else:
            holder[last] = json.loads(
                json.dumps(holder[draw(st.sampled_from(list(_keys(holder))))])
            )
    return value


def _keys(holder):
    return holder if isinstance(holder, dict) else range(len(holder))


@st.composite
def json_blobs(draw, *valid):
    """JSON of odd values, as one program or another writes it."""
    ascii_only, indent = draw(st.booleans()), draw(st.sampled_from((None, None, 1)))
    text = json.dumps(draw(values(*valid)), ensure_ascii=ascii_only, indent=indent)
    return text.encode(errors="surrogatepass")


def fuzz(*strategies):
    """Run a test on examples of these strategies, and count them."""

    def decorate(test):
        @wraps(test)
        def counted(*args, **kwargs):
            RAN[test.__name__] += 1
            return test(*args, **kwargs)

        return _SETTINGS(given(*strategies)(counted))

    return decorate
