"""Answers of a rerank endpoint that scores documents by their length."""


def lengths(documents):
    return [round(len(text) / 100, 3) for text in documents]


def results(path, body):
    """Cohere's, Jina's, vLLM's, Infinity's, LiteLLM's shape, best first."""
    rows = [
        {"index": i, "relevance_score": score, "document": {"text": "not looked at"}}
        for i, score in enumerate(lengths(body["documents"]))
    ]
    rows.sort(key=lambda row: -row["relevance_score"])
    return 200, {"id": "x", "model": body["model"], "results": rows, "usage": {"total_tokens": 12}}
