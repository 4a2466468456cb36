"""What an agent gains: a scripted agent asks its tools questions about this project.

The agent calls `search` once and reads the result. Measured are the tokens this adds to its
context (WordPiece tokens of what the model is sent), and whether a passage of a file with the answer
is among the first three: for ten questions in the project's terms, and for ten in other words.

    python -m benchmarks.agent
"""

import asyncio
import tempfile
from pathlib import Path

from pydantic_ai import Agent, FunctionToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from tokenizers import Tokenizer

import rearank_agent
from benchmarks.questions import IN_OTHER_WORDS, QUESTIONS, checkout
from rearank_agent import Reranker
from rearank_agent.agents import Reranked, rerank_toolset
from rearank_agent.search.fill import fill
from rearank_agent.search.library import Library

TOKENIZER = Path(rearank_agent.__file__).parent / "weights" / "tokenizer.json"


def main() -> None:
    """Print tokens and hits of plain search results, reranked ones, and our search."""
    count = Tokenizer.from_file(str(TOKENIZER))
    count.no_truncation()
    with tempfile.TemporaryDirectory() as folder:
        root = checkout(Path(folder) / "checkout")
        library = Library([root], Path(folder) / "cache")
        index, missing, _ = library.without_vectors()
        fill(library.vectors.passages, index, missing)
        by_words = Library([root], Path(folder) / "cache", by_meaning=False)
        reranker = Reranker()

        def search(query: str) -> list[dict[str, str]]:
            """Search the files."""
            found = by_words.search(query, 10).passages
            return [{"place": passage.place, "text": passage.text} for passage in found]

        def search_50(query: str) -> list[dict[str, str]]:
            """Search the files."""
            found = by_words.search(query, 50).passages
            return [{"place": passage.place, "text": passage.text} for passage in found]

        search_50.__name__ = "search"
        ways = {
            "plain search, 10 passages": (FunctionToolset([search]), {}),
            "plain search, 50 passages": (FunctionToolset([search_50]), {}),
            "Reranked(search of 50), best 10": (Reranked(FunctionToolset([search_50]), reranker=reranker), {}),
            "Reranked(search of 50), best 3": (Reranked(FunctionToolset([search_50]), reranker=reranker, top_k=3), {}),
            "our search, 10 lines": (rerank_toolset(reranker, library), {"top_k": 10}),
            "our search, 3 lines": (rerank_toolset(reranker, library), {"top_k": 3}),
        }  # fmt: skip
        print(f"{'tokens':>8}{'first 3':>10}{'in other words: tokens':>25}{'first 3':>10}")
        for name, (toolset, arguments) in ways.items():
            for questions in (QUESTIONS, IN_OTHER_WORDS):
                measuring = measured(questions, toolset, arguments, root, count)
                tokens, ranks = asyncio.run(measuring)
                hits = sum(0 < rank <= 3 for rank in ranks)
                width = 8 if questions is QUESTIONS else 25
                print(f"{tokens / len(ranks):{width},.0f}{hits:4} of {len(ranks)}", end="")
            print(f"  {name}")


async def measured(questions, toolset, arguments, root, count):
    """The tokens in the context, and for every question the rank of the first passage with the answer."""
    total, ranks = 0, []
    for question, files in questions.items():
        agent = Agent(FunctionModel(script({"query": question} | arguments)), toolsets=[toolset])
        run = await agent.run(question)
        parts = (part for message in run.all_messages() for part in message.parts)
        (result,) = (part for part in parts if isinstance(part, ToolReturnPart))
        total += len(count.encode(result.model_response_str(), add_special_tokens=False).ids)
        content = result.content
        items = content if isinstance(content, list) else content.ranking
        places = [item["place"] if isinstance(item, dict) else item.place for item in items]
        answers = tuple(f"{root / name}:" for name in files)
        hits = (rank for rank, place in enumerate(places, 1) if place.startswith(answers))
        ranks.append(next(hits, 0))
    return total, ranks


def script(arguments):
    """A scripted model: searches once, then answers."""

    def answer(messages, _):
        if len(messages) > 1:
            return ModelResponse([TextPart("done")])
        return ModelResponse([ToolCallPart("search", arguments)])

    return answer


if __name__ == "__main__":
    main()
