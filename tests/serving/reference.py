"""What transformers makes of prompts, to compare a server's numbers with.

    python tests/serving/reference.py FOLDER < JSON

{"before": [text, ...], "query": text}: the mean log-probability of the query's tokens behind each.
{"prompts": [text, ...], "no": token, "yes": token}: the probability of yes, of these two.
Run by the interpreter of the vLLM environment, which has torch and transformers.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def likelihoods(model, words, given):
    for before in given["before"]:
        alone = words(before)["input_ids"]
        tokens = words(before + given["query"], return_tensors="pt")["input_ids"]
        same = [a == b for a, b in zip(alone, tokens[0].tolist(), strict=False)]
        first = same.index(False) if False in same else len(same)  # a blank joins the first word
        found = model(tokens).logits[0].log_softmax(-1)
        own = [found[i - 1, tokens[0, i]].item() for i in range(first, tokens.shape[1])]
        yield sum(own) / len(own)


def answers(model, words, given):
    pair = words.convert_tokens_to_ids([given["no"], given["yes"]])
    for prompt in given["prompts"]:
        logits = model(words(prompt, return_tensors="pt")["input_ids"]).logits[0, -1, pair]
        yield logits.softmax(-1)[1].item()


if __name__ == "__main__":
    given = json.load(sys.stdin)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    found = likelihoods if "before" in given else answers
    with torch.no_grad():
        print(json.dumps([*found(model, AutoTokenizer.from_pretrained(sys.argv[1]), given)]))
