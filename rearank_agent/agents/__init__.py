"""The reranker inside pydantic-ai agents: a toolset, a capability, and a wrapper of other tools.

agent = Agent("openai:gpt-5", capabilities=[Rerank(Reranker(), Library([Path("docs")]))])
agent = Agent("openai:gpt-5", toolsets=[Reranked(their_search, tool="search", query_arg="query")])
"""

from rearank_agent.extras import require

require("rearank_agent.agents", "llm", "pydantic_ai")

from rearank_agent.agents.toolset import Rerank, rerank_toolset  # noqa: E402
from rearank_agent.agents.wrapper import Reranked  # noqa: E402

__all__ = ["Rerank", "Reranked", "rerank_toolset"]
