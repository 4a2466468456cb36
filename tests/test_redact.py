"""Secrets are struck out in every form in which a server may repeat them."""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent.redact import redact

KEYS = ["sk-very-secret", 'a"b\\c&d/e', "schlüssel é", "k+/=?~~~", "\u20ac\U0001f511 key'<>"]
FORMS = {
    "raw": lambda key: key,
    "bearer": lambda key: f"Bearer {key}",
    "percent": lambda key: quote(key, safe=""),
    "percent, small": lambda key: re.sub("%..", lambda one: one[0].lower(), quote(key)),
    "form": quote_plus,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON, UTF-8": lambda key: json.dumps(key, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda key: json.dumps(json.dumps(key)[1:-1])[1:-1],
    "JSON of others": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "Python": lambda key: repr(key)[1:-1],
    "bytes of Python": lambda key: repr(key.encode())[2:-1],
    "HTML": html.escape,
    "base64": lambda key: b64encode(key.encode()).decode(),
    "base64 for addresses": lambda key: urlsafe_b64encode(key.encode()).decode(),
    "base64 without its end": lambda key: b64encode(key.encode()).decode().rstrip("="),
    "base64, percent": lambda key: quote(b64encode(key.encode()).decode(), safe=""),
    "basic, no name": lambda key: "Basic " + b64encode(f":{key}".encode()).decode(),
    "basic, a name": lambda key: "Basic " + b64encode(f"me:{key}".encode()).decode(),
    "basic, as the name": lambda key: b64encode(f"{key}:".encode()).decode(),
    "bearer in base64": lambda key: b64encode(f"Bearer {key}".encode()).decode(),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_key_is_struck_out_in_every_form(monkeypatch, form, key):
    monkeypatch.setenv("ANY_API_KEY", f" {key}\n")
    shown = redact(f"wrong: <{form(key)}>, said the server")
    # of what stands before the key in base64, at most nine characters stay
    assert re.fullmatch(r"wrong: <(Bearer |Basic )?\w{0,9}\*\*\*(%3D)*>, said the server", shown)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(), st.binary())
@settings(deadline=None)
def test_no_base64_of_a_key_stays(key, before, after):
    key = f"sk-{key}-end"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rearank_agent.redact._added", {key})
        coded = b64encode(before + key.encode() + after).decode()
        assert redact(coded) == f"{coded[: len(before) * 8 // 6]}***"


def test_what_is_no_secret_stays(monkeypatch):
    monkeypatch.setenv("ANY_KEY", "k")
    monkeypatch.setenv("OTHER_TOKEN", "")
    monkeypatch.setenv("KEYBOARD", "qwerty")
    assert redact("a monkey with Bearer k, on qwerty") == "a monkey with Bearer ***, on qwerty"


def test_a_key_that_is_set_later_counts(monkeypatch):
    assert redact("a later-secret") == "a later-secret"
    monkeypatch.setenv("LATE_SECRET", "later-secret")
    assert redact("a later-secret") == "a ***"


def test_logins_and_keys_in_addresses():
    said = "http://me:hunter@22@h/v1?x=1&api_key=abc&other=2 and https://h?token=t"
    assert redact(said) == "http://***@h/v1?x=1&api_key=***&other=2 and https://h?token=***"
