"""OpenTelemetry spans: one a rerank and one a window, for whoever has set a tracer up.

Without one nothing is imported and nothing is written. Queries and replies stay out of the
spans unless OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT is "true".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["content_wanted", "recording", "span"]


def content_wanted() -> bool:
    """Whether spans may hold the words of queries and replies."""
    return os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT") == "true"


def recording() -> bool:
    """Whether somebody records the current span."""
    if "opentelemetry.trace" not in sys.modules:  # nobody can have set up a tracer
        return False
    from opentelemetry import trace

    return trace.get_current_span().is_recording()


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[dict[str, Any]]:
    """A span around a block; what the block puts into the dictionary is added at its end."""
    found: dict[str, Any] = {}
    if "opentelemetry.trace" not in sys.modules:
        yield found
        return
    from opentelemetry import trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # nobody has
        yield found
        return
    given = {f"rearank.{key}": value for key, value in attributes.items()}
    with trace.get_tracer("rearank-agent").start_as_current_span(name, attributes=given) as open_:
        try:
            yield found
        finally:
            for key, value in found.items():
                open_.set_attribute(f"rearank.{key}", value)
