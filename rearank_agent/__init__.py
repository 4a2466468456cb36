"""A reasoning reranker that any LLM agent can call.

from rearank_agent import Reranker

ranking = Reranker().rerank_sync("query", ["some passage", "another one"])
for ranked in ranking.passages:
    print(ranked.rank, ranked.id, ranked.score, ranked.evidence)
"""

from rearank_agent import schedules
from rearank_agent.errors import InputError, PolicyError, RearankError, SetupError
from rearank_agent.policies.protocol import Policy
from rearank_agent.policies.registry import policy
from rearank_agent.reranker import Reranker
from rearank_agent.types import (
    Fault,
    Passage,
    Quote,
    Ranked,
    Ranking,
    Rationale,
    Reply,
    Step,
    Task,
    Usage,
)

__version__ = "0.1.0"

__all__ = [
    "Fault",
    "InputError",
    "Passage",
    "Policy",
    "PolicyError",
    "Quote",
    "Ranked",
    "Ranking",
    "Rationale",
    "RearankError",
    "Reply",
    "Reranker",
    "SetupError",
    "Step",
    "Task",
    "Usage",
    "policy",
    "schedules",
]
