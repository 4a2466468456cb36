"""`train push`: the card, and what the hub is asked for."""

import json
from types import SimpleNamespace

import httpx2
import huggingface_hub
import pytest
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
)

from rearank_agent import __version__
from rearank_agent.errors import InputError, SetupError
from rearank_training.model_card import lineage
from rearank_training.push import push
from rearank_training.run_report import read_run

ROWS = "5d" * 32
SFT = {
    "phase": "sft", "model": "Qwen/Qwen2.5-7B-Instruct", "rows": ROWS, "records": None,
    "teacher": "embedded", "steps": 200, "batch": 64, "rate": 1e-5, "seed": 0, "trl": [],
    "lora": 0, "qlora": False,
}  # fmt: skip
GRPO = {
    "phase": "grpo", "rows": "runs/private/rows", "dev": ["/home/me/dev"], "steps": 160,
    "prompts": 128, "kl": 0.0, "window": 20, "dev_queries": 50, "dev_depth": 20,
    "trl": ['loss_type="dapo"'], "template": "0a1b",
}  # fmt: skip
LOG = [
    {"phase": "grpo", "step": 0, "dev": {"a|b": 0.5, "c": 0.25}, "macro": 0.375, "mended": 0.5},
    {"phase": "grpo", "step": 20, "dev": {"a|b": 0.625, "c": 0.3}, "macro": 0.4625, "mended": 0.02},
    {"phase": "grpo", "step": 40, "dev": {"a|b": 0.5, "c": 0.3}, "macro": 0.4, "mended": 0.01},
]

CARD = f"""\
---
license: "apache-2.0"
base_model: "Qwen/Qwen2.5-7B-Instruct"
pipeline_tag: "text-ranking"
tags: [reranking, listwise, rearank-agent]
---

# mine

A language model that puts passages in the order of their relevance to a query: it is shown up to
20 at once, and replies with their numbers, best first. Trained by rearank-agent {__version__}.

| | |
|---|---|
| base model | Qwen/Qwen2.5-7B-Instruct |
| licence of the base model | apache-2.0 |
| imitation of embedded | steps 200, batch 64, rate 1e-05, lora 0, seed 0 |
| its rows, sha256 of the manifest | `{ROWS}` |
| reinforcement | steps 160, prompts 128, kl 0.0, trl ['loss_type="dapo"'] |

## Use

```
hf download me/mine --local-dir mine
rearank-agent serve mine --name mine
rearank-agent rerank QUERY FILE --policy vllm:mine
```

Prompt, window and length of replies are in `rearank.json`; it was not trained with others.

## Measured

nDCG@10 x100 on dev, at most 50 queries of each collection, their first 20 candidates; the model of step 20, 2% of whose replies were repaired.

| collection | before training | this model |
|---|---|---|
| a\\|b | 50.00 | 62.50 |
| c | 25.00 | 30.00 |

## Not measured

The figures above are of the queries that the best of 3 evaluations was chosen on, so
they are too high. Nothing else was measured: no test collection, no other language, no long lists,
no speed, and not whether passages that are written to mislead it do. `rearank-agent eval` measures
it on your data.
"""


def refusal(kind, status):
    response = httpx2.Response(status, request=httpx2.Request("POST", "https://hub/api"))
    return kind("no: hf_secret", response=response)


class Hub:
    """The hub's interface, in place of the library's.

    Attributes:
        models: private or not, by name.
        fails: raised by an upload.
    """

    def __init__(self):
        self.models, self.calls, self.fails = {}, [], None

    def model_info(self, name):
        if name not in self.models:
            raise refusal(RepositoryNotFoundError, 404)
        return SimpleNamespace(
            private=self.models[name], card_data=SimpleNamespace(license="apache-2.0")
        )

    def create_repo(self, name, private):
        self.calls.append(("create", name, private))

    def upload_folder(self, repo_id, folder_path, commit_message):
        if self.fails:
            raise self.fails
        files = {path.name: path.read_text() for path in folder_path.iterdir()}
        self.calls.append(("upload", repo_id, files))
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")


@pytest.fixture
def hub(monkeypatch):
    made = Hub()
    made.models["Qwen/Qwen2.5-7B-Instruct"] = False
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret")
    return made


@pytest.fixture
def folder(tmp_path):
    policy = tmp_path / "grpo" / "policy"
    policy.mkdir(parents=True)
    (tmp_path / "sft" / "policy").mkdir(parents=True)
    (tmp_path / "sft" / "run.json").write_text(json.dumps(SFT))
    grpo = GRPO | {"model": str(tmp_path / "sft" / "policy")}
    (tmp_path / "grpo" / "run.json").write_text(json.dumps(grpo))
    text = "".join(json.dumps(line) + "\n" for line in LOG)
    (tmp_path / "grpo" / "log.jsonl").write_text(text)
    (policy / "config.json").write_text("{}")
    return tmp_path / "grpo"


def test_a_run_is_pushed_with_its_card_to_a_private_repository(folder, run, hub):
    code, out, err = run("train", "push", str(folder), "me/mine")
    assert (code, out) == (0, "https://hub/me/mine/commit/1\n")
    card = folder / "policy" / "README.md"
    assert err == f"note: the card {card} was made; read it before others do\n"
    assert hub.calls == [
        ("create", "me/mine", True),
        ("upload", "me/mine", {"config.json": "{}", "README.md": CARD}),
    ]


def test_a_card_that_is_there_is_uploaded_as_it_is(folder, run, hub):
    (folder / "policy" / "README.md").write_text("mine")
    hub.models["me/mine"] = True
    code, _, err = run("train", "push", str(folder), "me/mine")
    assert (code, "was there already, and is as it was" in err) == (0, True)
    assert hub.calls == [("upload", "me/mine", {"config.json": "{}", "README.md": "mine"})]


def test_nothing_becomes_public_unasked(folder, hub):
    hub.models["me/mine"] = False
    with pytest.raises(InputError, match="me/mine is there and public: give --public"):
        push(read_run(folder), folder / "policy", "me/mine", public=False)
    assert hub.calls == []
    push(read_run(folder), folder / "policy", "me/mine", public=True)
    push(read_run(folder), folder / "policy", "me/other", public=True)
    assert [call[:3] for call in hub.calls if call[0] == "create"] == [
        ("create", "me/other", False)
    ]


def test_a_base_model_on_this_disk_is_not_named_and_its_licence_not_guessed(folder, hub):
    (folder.parent / "sft" / "run.json").unlink()
    push(read_run(folder), folder / "policy", "me/mine", public=False)
    card = (folder / "policy" / "README.md").read_text()
    assert card.startswith('---\npipeline_tag: "text-ranking"\n')
    assert "| base model | a folder of whoever trained it |" in card
    assert "| licence of the base model | not known here: find it out before" in card
    assert str(folder.parent) not in card
    assert "private" not in card


def test_runs_are_followed_to_their_base_and_a_circle_ends(folder):
    assert [one["phase"] for one in lineage(read_run(folder))] == ["sft", "grpo"]
    (folder.parent / "sft" / "run.json").write_text(
        json.dumps(SFT | {"model": str(folder / "policy")})
    )
    assert [one["phase"] for one in lineage(read_run(folder))] == ["sft", "grpo"]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (refusal(HfHubHTTPError, 401), SetupError, "does not let you write me/mine: log in with"),
        (refusal(HfHubHTTPError, 403), SetupError, "does not let you write me/mine: log in with"),
        (refusal(HfHubHTTPError, 500), SetupError, "me/mine could not be uploaded: .*no"),
        (LocalTokenNotFoundError("x"), SetupError, "me/mine cannot be written without a token"),
        (HFValidationError("x"), InputError, "a repository is called OWNER/NAME, not 'me/mine'"),
        (httpx2.ConnectError("no way"), SetupError, "me/mine could not be uploaded: no way; the"),
    ],
)
def test_refusals_of_the_hub_are_a_line_without_the_token(folder, hub, run, error, kind, message):
    hub.fails = error
    with pytest.raises(kind, match=message):
        push(read_run(folder), folder / "policy", "me/mine", public=False)
    code, out, err = run("train", "push", str(folder), "me/mine")
    assert (code, out) == (2 if kind is InputError else 1, "")
    assert "hf_secret" not in err
    assert err.count("\n") == 1


def test_a_run_without_a_model_is_not_pushed(folder, hub):
    (folder / "policy" / "config.json").unlink()
    with pytest.raises(InputError, match="has no model to push: the run has no evaluation yet"):
        push(read_run(folder), folder / "policy", "me/mine", public=False)
