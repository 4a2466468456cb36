"""A server that gives the log-probabilities of prompts, as vLLM does; its tokens are words."""

import re

KNOWN, UNKNOWN = -0.5, -4.0
"""Log-probabilities of words that the passage has, and of others."""


def words(text):
    return re.findall(r"\s*\S+|\s+$", text)


def logprobs(prompt):
    """Words of the prompt are as probable as they stand in it before."""
    before, rows = set(), [None]
    for token in words(prompt):
        word = token.strip().lower().strip(".:")
        rows.append({"7": {"logprob": KNOWN if word in before else UNKNOWN, "rank": 1}})
        before.add(word)
    return rows


def vllm(path, body):
    """vLLM, with words for tokens, and one token before each prompt."""
    if path == "/tokenize":
        return 200, {"tokens": [hash(token) for token in words(body["prompt"])]}
    assert path == "/v1/completions"
    return 200, {"choices": [{"text": "x", "prompt_logprobs": logprobs(body["prompt"])}]}
