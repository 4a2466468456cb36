"""Checkpoints carry their prompt configuration: saved in full, read wherever a model is used."""

import json
from dataclasses import asdict, replace

import pytest

from helpers.stub import completion, shown
from rearank_agent import InputError, Passage, PolicyError, Reranker, SetupError, policy
from rearank_agent.listwise import build_prompt
from rearank_agent.listwise.template import Template
from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig, describe, template_hint
from rearank_agent.types import Task

DEFAULT = Template.default()
TEMPLATE = replace(DEFAULT, name="nano", system="You are a harsh judge.")
NANO = PromptConfig(TEMPLATE, think=False, window=4, cut=60, budget=512)
DESCRIBED = (
    f"template {TEMPLATE.fingerprint}, form order, think False, window 4, cut 60, budget 512"
)
PASSAGES = [f"passage {i} " + "word " * 30 for i in range(8)]
TASK = Task("run", "query", candidates=(Passage("a", "one"), Passage("b", "two")))


@pytest.fixture
def nano(tmp_path, stub, monkeypatch):
    """The folder of a model with a template of its own, which the stub serves."""
    folder = tmp_path / "nano"
    NANO.save(folder)
    stub.models = [{"id": "nano", "root": str(folder), "max_model_len": 32_768}]
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    return folder


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "passages.txt"
    path.write_text("\n".join(PASSAGES))
    return str(path)


def ask(run, lines, *more):
    return run("rerank", "query", lines, "--policy", "vllm:nano", "--no-cache", *more)


def template_file(folder, template):
    parts = asdict(template)
    last = {name: parts.pop(name) for name in ("think", "direct", "order", "scores", "again")}
    rows = [f"{name} = {json.dumps(part)}" for name, part in parts.items()]
    rows += ["[closing]", *(f"{name} = {json.dumps(part)}" for name, part in last.items())]
    (folder / "words.toml").write_text("\n".join(rows))
    return str(folder / "words.toml")


def test_the_configuration_is_saved_in_full(tmp_path):
    assert PromptConfig.load(tmp_path) is None
    NANO.save(tmp_path / "new")
    assert PromptConfig.load(tmp_path / "new") == PromptConfig.load(str(tmp_path / "new")) == NANO
    assert json.loads((tmp_path / "new" / CONFIG_FILE).read_text()) == {
        "format": 1, "fingerprint": TEMPLATE.fingerprint, "template": TEMPLATE.parts(), "form": "order",
        "think": False, "window": 4, "cut": 60, "budget": 512,
    }  # fmt: skip
    assert NANO.options() == {
        "template": TEMPLATE, "form": "order", "think": False, "window": 4, "cut": 60, "budget": 512
    }  # fmt: skip
    assert describe(NANO.options()) == DESCRIBED


def test_the_defaults_are_those_of_a_policy(stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    judge = policy("vllm:m")
    assert PromptConfig() == judge.config


@pytest.mark.parametrize("folder", ["", "org/model", "/", "no\0folder", "x" * 5000])
def test_a_server_s_root_need_not_be_a_folder_here(folder, tmp_path, monkeypatch):
    NANO.save(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert PromptConfig.load(folder) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 1}, "a window must hold 2 passages or more"),
        ({"window": "4"}, "window must not be '4'"),
        ({"budget": True}, "budget must not be True"),
        ({"cut": 12}, "a passage 40 characters"),
        ({"form": "prose"}, "the format must be order or scores, not 'prose'"),
        ({"words": "x"}, "missing or unknown: words"),
        ({"template": "nano"}, "template must not be 'nano'"),
        ({"template": {}}, "missing or unknown: again, direct,"),
        ({"template": asdict(TEMPLATE) | {"passage": "{text}"}}, "passage must hold {number}"),
        ({"template": asdict(TEMPLATE) | {"titled": "x"}}, "titled must hold {text} and {title}"),
        ({"template": asdict(TEMPLATE) | {"spaces": "joined"}}, "its template is nano:"),
        (
            {"template": asdict(DEFAULT)},
            f"its template is {DEFAULT.fingerprint}, not {TEMPLATE.fingerprint}",
        ),
    ],
)
def test_a_damaged_file_is_reported(tmp_path, change, said):
    NANO.save(tmp_path)
    path = tmp_path / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SetupError) as error:
        PromptConfig.load(tmp_path)
    assert str(error.value).startswith(f"{path} cannot be used: ")
    assert said in str(error.value)
    assert str(error.value).endswith("; put back the file that came with the weights")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\udcff"])
def test_a_file_that_is_no_json_object_is_reported(tmp_path, text):
    (tmp_path / CONFIG_FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SetupError, match="cannot be used: "):
        PromptConfig.load(tmp_path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_file_of_another_version_is_reported(tmp_path, version):
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"format": version, "more": "than is known"}))
    with pytest.raises(SetupError, match=r"another version .*here 1\); use the release"):
        PromptConfig.load(tmp_path)


def test_values_out_of_range_are_refused():
    with pytest.raises(InputError, match="a window must hold 2"):
        PromptConfig(window=1)


def test_only_the_published_model_gets_a_hint():
    assert "--template rearank-7b" in template_hint("rearank", "le723z/Rearank-7B", DEFAULT)
    assert (
        template_hint("rearank", "le723z/Rearank-7B", TEMPLATE)
        == template_hint("m", "org/model", DEFAULT)
        == ""
    )


def test_a_model_is_prompted_as_it_was_trained(run, stub, nano, lines):
    code, out, err = ask(run, lines)
    assert code == 0
    assert len(out.splitlines()) == 8
    own = describe({k: v for k, v in NANO.options().items() if k != "form"})
    assert [line for line in err.splitlines() if line.startswith("note: vllm")] == [
        f"note: vllm:nano is asked as it was trained: {own}"
    ]
    system, opening, _, first, *_, last = stub.bodies[0]["messages"]
    assert system["content"] == TEMPLATE.system
    assert "with 4 passages" in opening["content"]
    assert len(first["content"]) < 70
    assert "Do not explain." in last["content"]
    assert stub.bodies[0]["max_tokens"] == 512
    assert len(stub.bodies) > 1, "windows of four"


def test_the_default_template_and_sizes_need_no_note(run, stub, nano, lines):
    PromptConfig().save(nano)
    code, _, err = ask(run, lines)
    assert (code, "note: vllm" in err) == (0, False)


def test_options_the_fingerprint_shows_are_allowed(run, stub, nano, lines):
    replace(NANO, think=True).save(nano)
    _, _, err = ask(run, lines, "--no-think")
    assert "Do not explain." in stub.bodies[0]["messages"][-1]["content"]
    assert "think" not in err.splitlines()[0]
    assert ask(run, lines, "--template", template_file(nano, TEMPLATE), "--format", "order")[0] == 0
    assert stub.bodies[-1]["max_tokens"] == 512, "the rest is still the model's own"


def test_a_model_trained_for_scores_is_asked_for_scores(run, stub, nano, lines):
    replace(NANO, form="scores").save(nano)
    stub.script = lambda body: completion("<answer>[1] 1, [2] 2, [3] 3, [4] 4</answer>")
    assert ask(run, lines)[0] == 0
    assert "a score to every passage" in stub.bodies[0]["messages"][-1]["content"]
    code, out, err = ask(run, lines, "--format", "order")
    assert (code, out) == (2, "")
    assert "form scores, and would be asked with " in err


def test_the_published_model_is_asked_by_its_template(run, stub, lines, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    assert ask(run, lines, "--template", "rearank-7b")[0] == 0
    (body,) = stub.bodies
    assert (body["temperature"], body["repetition_penalty"], body["max_tokens"]) == (0, 1, 2048)
    published = build_prompt(
        "query",
        [Passage(str(i), text.strip()) for i, text in enumerate(PASSAGES)],
        template=Template.load("rearank-7b"),
    )
    assert body["messages"] == list(published.messages)


SIZES = {"window": 8, "cut": 100, "budget": 700}


@pytest.mark.parametrize(
    ("trained", "given", "window", "cut", "budget"),
    [
        (False, (), 8, 100, 700),
        (True, (), 4, 60, 512),
        (False, ("--cut", "50"), 8, 50, 700),
        (True, ("--window", "2", "--cut", "50", "--budget", "9"), 2, 50, 9),
    ],
)
def test_an_option_wins_over_the_model_and_that_over_the_template(
    run, stub, nano, lines, tmp_path, trained, given, window, cut, budget
):
    if not trained:
        (nano / CONFIG_FILE).unlink()
    path = template_file(tmp_path, replace(TEMPLATE, **SIZES))
    code, _, err = ask(run, lines, "--template", path, "--no-think", *given)
    assert code == 0, err
    body = stub.bodies[0]
    assert f"with {window} passages" in body["messages"][1]["content"]
    assert (
        cut - len("word word ") <= len(body["messages"][3]["content"].removeprefix("[1] ")) <= cut
    )
    assert body["max_tokens"] == budget


def test_sizes_are_no_other_template():
    resized = replace(TEMPLATE, **SIZES)
    assert (resized, resized.fingerprint) == (TEMPLATE, TEMPLATE.fingerprint)
    assert (resized.cut, PromptConfig.of(resized).cut) == (100, 100)
    assert PromptConfig.of(resized, cut=80, window=None) == PromptConfig(
        resized, "order", True, 8, 80, 700
    )
    assert PromptConfig.of() == PromptConfig()
    other = replace(TEMPLATE, cut_at="character")
    assert (other != TEMPLATE, other.fingerprint != TEMPLATE.fingerprint) == (True, True)


@pytest.mark.parametrize("how", ["format", "words"])
def test_another_template_than_a_model_s_own_is_refused(run, stub, nano, lines, how):
    other = (
        ("--format", "scores") if how == "format" else ("--template", template_file(nano, DEFAULT))
    )
    code, out, err = ask(run, lines, *other)
    asked = (TEMPLATE, "scores") if how == "format" else (DEFAULT, "order")
    assert (code, out, stub.bodies) == (2, "", [])
    assert err == (
        f"rearank-agent: the model was trained with template {TEMPLATE.fingerprint}, form order, and "
        f"would be asked with template {asked[0].fingerprint}, form {asked[1]}; leave out "
        "--template and --format, or serve a copy without rearank.json to try it\n"
    )


def test_a_damaged_checkpoint_is_refused(run, stub, nano, lines):
    (nano / CONFIG_FILE).write_text("{")
    code, out, err = ask(run, lines)
    assert (code, out, stub.bodies) == (1, "", [])
    assert f"{nano / CONFIG_FILE} cannot be used: " in err


def test_a_server_that_is_down_fails_later(run, lines, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", "http://127.0.0.1:9/v1")
    code, out, err = ask(run, lines, "--deadline", "20")
    assert (code, len(out.splitlines())) == (3, 8)
    assert "is asked as it was trained" not in err
    assert "failed" in err


def test_a_server_on_another_machine_wants_the_file(run, stub, nano, lines, tmp_path):
    here = tmp_path / "copy"
    nano.rename(here)
    code, _, err = ask(run, lines)
    assert (code, "is asked as it was trained" in err) == (0, False)
    assert stub.bodies[0]["messages"][0]["content"] == DEFAULT.system
    for given in (here, here / CONFIG_FILE):
        assert ask(run, lines, "--template", str(given))[0] == 0
        assert stub.bodies[-1]["messages"][0]["content"] == TEMPLATE.system
        assert "Do not explain." in stub.bodies[-1]["messages"][-1]["content"]
        assert stub.bodies[-1]["max_tokens"] == 512
    code, _, err = ask(run, lines, "--template", str(here), "--format", "scores")
    assert code == 2
    assert f"{here} is of a model that gives order, not scores; leave out --format" in err
    code, _, err = ask(run, lines, "--template", str(tmp_path))
    assert code == 1
    assert f"{tmp_path / CONFIG_FILE} cannot be read: No such file" in err


def test_the_doctor_shows_how_a_model_was_trained(run, stub, nano, tmp_path):
    code, out, _ = run("doctor", "--policy", "vllm:nano", "--json")
    report = json.loads(out)
    assert (code, report["trained with"]) == (0, DESCRIBED)
    assert (
        f"direct words={TEMPLATE.fingerprint} format=1 tokens=512 cut=60" in report["fingerprint"]
    )
    assert "4 passages" in report
    code, out, _ = run(
        "doctor", "--policy", "vllm:nano", "--json", "--template", template_file(tmp_path, DEFAULT)
    )
    assert code == 1
    assert "leave out --template" in json.loads(out)["problem"]
    (nano / CONFIG_FILE).write_text('{"format": 2}')
    code, out, _ = run("doctor", "--policy", "vllm:nano", "--json")
    assert code == 1
    assert "another version" in json.loads(out)["problem"]


async def test_in_python_another_template_fails(stub, nano):
    ranking = await Reranker("vllm:nano").rerank("query", PASSAGES)
    assert [ranked.passage.text for ranked in ranking.passages] == PASSAGES
    assert (ranking.partial, stub.bodies) == (True, [])
    fault = ranking.faults[0]
    assert (fault.kind, fault.detail) == (
        "failed",
        f"PolicyError: the model was trained with template {TEMPLATE.fingerprint}, form order, and "
        f"would be asked with template {DEFAULT.fingerprint}, form order; start this program again "
        "while the model is served, or in Python: policy('vllm:nano', "
        f"**PromptConfig.load({str(nano)!r}).options())",
    )


async def test_in_python_a_model_s_own_template_is_looked_up_once(stub, nano):
    judge = policy("vllm:nano", **PromptConfig.load(nano).options())
    ranking = await Reranker(judge, schedule="sliding:4:2").rerank("query", PASSAGES)
    assert {fault.kind for fault in ranking.faults} <= {"cut"}
    assert (len(stub.bodies), stub.lookups) == (3, 1)


async def test_in_python_another_format_or_a_damaged_file_fails(stub, nano):
    options = PromptConfig.load(nano).options()
    judge = policy("vllm:nano", **options | {"form": "scores"})
    with pytest.raises(PolicyError, match=r"form order, and would be asked with .* form scores"):
        await judge.judge(TASK, (0, 1))
    (nano / CONFIG_FILE).write_text('{"format": 2}')
    judge = policy("vllm:nano", **options)
    with pytest.raises(PolicyError, match="another version"):
        await judge.judge(TASK, (0, 1))
    assert stub.bodies == []


async def test_a_folder_that_cannot_be_read_here_is_not_checked(stub, nano):
    (nano / CONFIG_FILE).unlink()
    reply = await policy("vllm:nano").judge(TASK, (0, 1))
    assert reply.order == (1, 0)


@pytest.mark.parametrize(("window", "usual"), [(20, "sliding:20:10"), (5, "sliding:5:2")])
def test_an_evaluation_prompts_as_trained(run, nano, tmp_path, window, usual):
    replace(NANO, window=window).save(nano)
    out = tmp_path / "out"
    code, _, err = run(
        "eval", "examples/harbour", "--policy", "vllm:nano", "--limit", "1", "--out", str(out)
    )
    assert code == 0, err
    (one,) = out.rglob("vllm*/manifest.json")
    system = json.loads(one.read_text())["system"]
    assert system["schedule"] == usual
    assert f"order direct words={TEMPLATE.fingerprint}" in system["policy"]


def test_an_evaluation_of_the_published_model(run, stub, tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    options = ["--policy", "vllm:rearank-7b", "--template", "rearank-7b", "--limit", "1"]
    code, _, err = run("eval", "examples/harbour", *options, "--out", str(tmp_path))
    assert code == 0, err
    (one,) = tmp_path.rglob("vllm*/manifest.json")
    system = json.loads(one.read_text())["system"]
    assert system["schedule"] == "sliding:20:10"
    words = Template.load("rearank-7b").fingerprint
    assert f"order think words={words} format=1 tokens=2048 cut=400" in system["policy"]
    assert [shown(body) for body in stub.bodies] == [20, 20, 16]


def test_votes_and_cached_replies_are_prompted_as_trained_too(run, stub, nano, lines):
    code, _, err = run("rerank", "query", lines, "--policy", "vllm:nano", "--votes", "2")
    assert (code, err.count("note: vllm:nano is asked as it was trained")) == (0, 1)
    assert {body["messages"][0]["content"] for body in stub.bodies} == {TEMPLATE.system}
