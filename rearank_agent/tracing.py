"""OpenTelemetry spans, one per rerank and one per window, if the program has set up a tracer.

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
    """Whether spans may hold the text of queries and replies."""
    return os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT") == "true"


def recording() -> bool:
    """Whether the current span is recorded."""
    if "opentelemetry.trace" not in sys.modules:  # so no tracer is set up
        return False
    from opentelemetry import trace

    return trace.get_current_span().is_recording()


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[dict[str, Any]]:
    """A span around a block; what the block puts into the dictionary is added at its end."""
    added: dict[str, Any] = {}
    if "opentelemetry.trace" not in sys.modules:
        yield added
        return
    from opentelemetry import trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # no tracer
        yield added
        return
    initial = {f"rearank.{key}": value for key, value in attributes.items()}
    with trace.get_tracer("rearank-agent").start_as_current_span(name, attributes=initial) as span_:
        try:
            yield added
        finally:
            for key, value in added.items():
                span_.set_attribute(f"rearank.{key}", value)
