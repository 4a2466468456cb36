"""`rearank-agent eval` end to end, from its command line."""

import json
import re
from math import log2
from pathlib import Path

import ir_measures
import pytest
from starlette.responses import JSONResponse

from helpers.small import QRELS, QUERIES, beir
from helpers.stub import backwards, completion
from rearank_agent.data.beir import read_folder
from rearank_agent.extras import install_line
from rearank_evals.cli.options import SystemOptions

HARBOUR = str(Path(__file__).parents[2] / "examples/harbour")


def values(folder):
    return json.loads((folder / "report.json").read_text())


def details(folder):
    return json.loads((folder / "details.json").read_text())


def test_the_example_with_two_policies(run, tmp_path):
    out = tmp_path / "out"
    names = ("--policy", "first-stage", "--policy", "lexical")
    code, stdout, err = run("eval", HARBOUR, *names, "--out", str(out))
    assert code == 0, err
    lines = stdout.splitlines()
    assert lines[0] == "harbour: 12 queries, BM25, english, the first 100"
    assert [line.split()[0] for line in lines[1:4]] == ["system", "first-stage", "lexical"]
    assert all(len(line) <= 80 for line in lines)
    assert "harbour, lexical: 12 of 12 queries, nDCG@10 " in err
    assert err.rstrip().endswith(f"report: {out / 'report.html'}")
    report = values(out)
    assert list(report) == ["harbour"]
    assert list(report["harbour"]) == ["first-stage", "lexical"]
    assert list(report["harbour"]["lexical"]) == ["nDCG@10", "RR@10", "R@100", "Judged@10"]
    assert report["harbour"]["lexical"]["Judged@10"] == 1.0
    made = {path.name for path in out.iterdir()}
    assert made == {"report.json", "details.json", "report.md", "report.html", "harbour"}


def test_the_values_are_those_of_ir_measures_on_the_written_files(run, tmp_path):
    out = tmp_path / "out"
    assert run("eval", HARBOUR, "--policy", "lexical", "--out", str(out))[0] == 0
    qrels = list(ir_measures.read_trec_qrels(str(out / "harbour/qrels.txt")))
    written = list(ir_measures.read_trec_run(str(out / "harbour/lexical/run.txt")))
    wanted = [ir_measures.parse_measure(name) for name in ("nDCG@10", "RR@10", "R@100")]
    official = ir_measures.calc_aggregate(wanted, qrels, written)
    reported = values(out)["harbour"]["lexical"]
    assert {str(m): v for m, v in official.items()} == pytest.approx(
        {name: reported[name] for name in ("nDCG@10", "RR@10", "R@100")}, abs=1e-12
    )


def test_details_hold_everything_but_the_values(run, tmp_path):
    out = tmp_path / "out"
    how = (
        "--policy",
        "lexical",
        "--policy",
        "embedded",
        "--limit",
        "4",
        "--shuffle",
        "2",
        "--depth",
        "20",
    )
    assert run("eval", HARBOUR, *how, "--blend", "0.3", "--out", str(out))[0] == 0
    found = details(out)
    assert found["baseline"] == "first-stage"
    assert re.fullmatch(r"rearank-agent eval \S+ --policy lexical .*", found["command"])
    about = found["collections"]["harbour"]
    assert (about["queries"], about["passages"], about["depth"]) == (4, 60, 20)
    assert about["published"] == []
    assert about["notes"] == ["queries chosen: 4 of 12"]
    assert list(about["systems"]) == ["first-stage", "lexical", "embedded"]
    first, embedded = about["systems"]["first-stage"], about["systems"]["embedded"]
    assert (first["against"], first["wins"], first["shuffled"]) == (None, [], None)
    assert (embedded["schedule"], embedded["blend"]) == ("whole", 0.3)
    assert embedded["alone"].keys() == embedded["intervals"].keys() == set(found["measures"])
    test = embedded["against"]["nDCG@10"]
    assert (test["n"], test["small"]) == (4, True)
    assert test["wins"] + test["ties"] + test["losses"] == 4
    assert len(embedded["wins"]) == test["wins"]
    assert embedded["rationale"] == {"coverage": 1.0, "groundedness": 1.0, "agreement": None}
    assert [fault["kind"] for fault in embedded["faults"]] == ["instruction"]
    assert embedded["shuffled"]["k"] == 2
    assert set(found["files"]) >= {"harbour/qrels.txt", "harbour/embedded/shuffle-2/run.txt"}
    assert found["manifests"]["harbour/embedded"]["system"]["blend"] == 0.3
    html = (out / "report.html").read_text()
    assert html[:15].lower() == "<!doctype html>"


def test_embedded_alone_does_not_see_the_order_of_its_candidates(run, tmp_path):
    out = tmp_path / "out"
    how = (
        "--policy",
        "embedded",
        "--blend",
        "0",
        "--limit",
        "3",
        "--shuffle",
        "3",
        "--depth",
        "20",
    )
    assert run("eval", HARBOUR, *how, "--out", str(out))[0] == 0
    one = details(out)["collections"]["harbour"]["systems"]["embedded"]
    own = values(out)["harbour"]["embedded"]["nDCG@10"]
    assert one["shuffled"] == {"k": 3, "means": [own] * 3, "spread": 0.0, "correlation": 1.0}
    assert one["alone"] is None


def test_the_same_command_again_ranks_nothing_and_prints_the_same(run, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = ("eval", HARBOUR, "--policy", "lexical", "--out", str(out))
    code, stdout, _ = run(*command)
    report = values(out)
    monkeypatch.setattr(
        "rearank_agent.policies.lexical.Lexical._judge", lambda *_: pytest.fail("asked")
    )
    assert run(*command)[:2] == (code, stdout)
    assert values(out) == report


def test_a_mismatch_is_refused_with_what_differs(run, tmp_path):
    out = str(tmp_path / "out")
    assert run("eval", HARBOUR, "--policy", "lexical", "--out", out)[0] == 0
    code, stdout, err = run("eval", HARBOUR, "--policy", "lexical", "--out", out, "--depth", "20")
    assert (code, stdout) == (2, "")
    assert "depth was 100 and is 20" in err
    assert "Give another --out, or delete that folder" in err


def test_without_out_every_command_has_its_own_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    beir(tmp_path / "fleas")
    for how in ("0",), ("1",), ("1", "--json", "--at-once", "3"):
        assert run("eval", "fleas", "--policy", "lexical", "--blend", *how)[0] == 0
    assert len(list((tmp_path / "runs").glob("fleas-*"))) == 2


def test_json_is_the_report(run, tmp_path):
    out = tmp_path / "out"
    code, stdout, _ = run("eval", HARBOUR, "--policy", "lexical", "--json", "--out", str(out))
    assert code == 0
    assert json.loads(stdout) == values(out)


def test_several_collections_and_their_mean(run, tmp_path):
    beir(tmp_path / "fleas")
    out = tmp_path / "out"
    names = (HARBOUR, str(tmp_path / "fleas"))
    code, stdout, err = run("eval", *names, "--policy", "lexical", "--out", str(out))
    assert code == 0, err
    report = values(out)
    assert list(report) == ["harbour", "fleas"]
    mean = (report["harbour"]["lexical"]["nDCG@10"] + report["fleas"]["lexical"]["nDCG@10"]) / 2
    assert details(out)["macro"]["lexical"]["value"] == pytest.approx(mean, abs=1e-12)
    assert f"mean of 2 collections, lexical: {100 * mean:.2f} (" in stdout


def test_measures_and_the_baseline_can_be_named(run, tmp_path):
    out = tmp_path / "out"
    how = ("--measure", "RR(rel=2)@10", "--measure", "P@5", "--baseline", "lexical")
    code, stdout, err = run("eval", HARBOUR, "--policy", "lexical", *how, "--out", str(out))
    assert code == 0, err
    assert list(values(out)["harbour"]["lexical"]) == ["RR(rel=2)@10", "P@5"]
    assert "against lexical" in stdout
    against = details(out)["collections"]["harbour"]["systems"]["first-stage"]["against"]
    assert list(against) == ["RR(rel=2)@10", "P@5"]


def test_chosen_queries(run, tmp_path):
    ids = tmp_path / "ids"
    ids.write_text("q3\nq1\n\n")
    out = tmp_path / "out"
    folder = str(beir(tmp_path / "fleas"))
    assert (
        run("eval", folder, "--policy", "lexical", "--queries", str(ids), "--out", str(out))[0] == 0
    )
    assert (out / "fleas/qrels.txt").read_text().split("\n")[0] == "q1\t0\tjump\t2"
    assert details(out)["collections"]["fleas"]["queries"] == 2


def test_a_trec_run_as_the_first_stage(run, tmp_path):
    path = tmp_path / "mine"
    path.write_text("".join(f"{q} Q0 {p} 1 1 x\n" for q, p in (("q1", "bees"), ("q3", "host"))))
    out = tmp_path / "out"
    how = ("--first-stage", str(path), "--policy", "lexical", "--out", str(out))
    assert run("eval", str(beir(tmp_path / "fleas")), *how)[0] == 0
    about = details(out)["collections"]["fleas"]
    assert about["first_stage"] == "mine"
    assert about["notes"][-1] == "queries without candidates, counted as 0: 1"
    values_ = about["systems"]["first-stage"]["per_query"]["nDCG@10"]
    assert (values_["q1"], values_["q2"]) == (0.0, 0.0)
    best = 2 + 1 / log2(3) + 1 / log2(4)  # of q3: host has grade 2, rats and gone have 1
    assert values_["q3"] == pytest.approx(2 / best, abs=1e-9)


def test_a_trec_run_for_each_collection(run, tmp_path):
    for name, best in (("a", "host"), ("b", "bees")):
        beir(tmp_path / name)
        (tmp_path / f"{name}.run").write_text(f"q1 Q0 {best} 1 1 x\n")
    runs = [one for name in "ab" for one in ("--first-stage", str(tmp_path / f"{name}.run"))]
    folders = [str(tmp_path / name) for name in "ab"]
    out = tmp_path / "out"
    assert run("eval", *folders, *runs, "--policy", "lexical", "--out", str(out))[0] == 0
    found = details(out)["collections"]
    assert [found[name]["first_stage"] for name in "ab"] == ["a.run", "b.run"]
    code, _, err = run("eval", *folders, *runs[:2], "--policy", "lexical")
    assert code == 2
    assert "every collection needs a first-stage run of its own, in their order (a, b): 1" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere",), "nowhere"),
        ((HARBOUR, "--policy", "nobody"), "no policy is called 'nobody'"),
        ((HARBOUR, "--policy", "lexical", "--policy", "lexical"), "lexical is named twice"),
        ((HARBOUR, "--measure", "Quality"), "no measure is called 'Quality'"),
        ((HARBOUR, "--measure", "P@0"), "cannot be computed here (its cutoff is below 1)"),
        ((HARBOUR, "--measure", "RBP"), "no measure is called 'RBP', or it cannot be computed"),
        ((HARBOUR, "--baseline", "lexical"), "must be one of the systems: first-stage, embedded"),
        ((HARBOUR, "--bm25", "klingon"), "no language 'klingon'"),
        ((HARBOUR, "--first-stage", "nowhere"), "nowhere cannot be read"),
        ((HARBOUR, HARBOUR), "named twice"),
        ((HARBOUR, "--queries", "nowhere"), "nowhere cannot be read"),
        (("compare", "nowhere"), "nowhere holds no report"),
        (("verify", "nowhere"), "cannot be read"),
        ((HARBOUR, "--queries", "/dev/null"), "no query of harbour was chosen"),
        ((HARBOUR, "--blend", "inf"), "the blend must be a number"),
    ],
)
def test_bad_input_is_one_clear_line(run, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("eval", *args)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists(), "nothing was begun"


def test_a_policy_that_fails_is_in_the_mean_and_in_the_report(run, tmp_path, stub, monkeypatch):
    def fail(body):
        asked = body["messages"][1]["content"]
        refusal = JSONResponse({"error": {"message": "out of memory"}}, 400)
        return refusal if QUERIES["q1"] in asked else backwards(body)

    stub.script = fail
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    out = tmp_path / "out"
    folder = str(beir(tmp_path / "fleas"))
    code, stdout, err = run("eval", folder, "--policy", "vllm:down", "--out", str(out))
    assert code == 3, err
    one = details(out)["collections"]["fleas"]["systems"]["vllm:down"]
    assert (one["schedule"], one["partial"]) == ("sliding:20:10", 1)
    assert (one["faults"][0]["kind"], one["faults"][0]["queries"]) == ("failed", 1)
    assert "out of memory" in one["faults"][0]["detail"]
    first = details(out)["collections"]["fleas"]["systems"]["first-stage"]["per_query"]
    assert one["per_query"]["nDCG@10"]["q1"] == first["nDCG@10"]["q1"]
    assert len(one["per_query"]["nDCG@10"]) == 3
    assert "vllm:down: queries with faults: failed 1" in stdout
    assert "out of memory" in (out / "report.md").read_text()


def test_a_policy_that_always_fails_has_no_figure(run, tmp_path, stub, monkeypatch):
    stub.script = lambda body: JSONResponse({"error": {"message": "out of memory"}}, 400)
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    folder = str(beir(tmp_path / "fleas"))
    out = tmp_path / "out"
    code, stdout, err = run("eval", folder, "--policy", "vllm:down", "--out", str(out))
    assert (code, stdout) == (1, "")
    assert "vllm:down failed on 3 queries in a row" in err
    assert "0 of 3 are done; the same command resumes from there" in err
    assert not (out / "report.json").exists()


def test_a_policy_without_one_readable_reply_has_no_figure(run, tmp_path, stub, monkeypatch):
    stub.script = lambda body: completion("I would rather not say.")
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    out = tmp_path / "out"
    folder = str(beir(tmp_path / "fleas"))
    args = ("eval", folder, "--policy", "vllm:mute", "--policy", "lexical", "--out", str(out))
    code, stdout, err = run(*args)
    assert code == 3, err
    assert "nDCG@10" not in next(line for line in err.splitlines() if "vllm:mute" in line)
    assert set(values(out)["fleas"]) == {"first-stage", "lexical"}
    (note, *_) = details(out)["collections"]["fleas"]["notes"]
    assert note.startswith("vllm:mute has no figure: it gave no order for any query")
    assert " ".join(note.split()) in " ".join(stdout.split())
    assert note in (out / "report.md").read_text()
    code, stdout, err = run("eval", "verify", str(out))
    assert (code, err) == (0, ""), stdout
    code, _, err = run(*args, "--baseline", "vllm:mute")
    assert (code, "cannot be compared with on fleas" in err) == (2, True)


def test_a_model_is_measured_with_its_costs_and_rationales(run, tmp_path, stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    out = tmp_path / "out"
    folder = str(beir(tmp_path / "fleas", lists={q: ["bees", "jump", "host"] for q in QUERIES}))
    code, _, err = run("eval", folder, "--policy", "vllm:back", "--out", str(out))
    assert code == 0, err
    one = details(out)["collections"]["fleas"]["systems"]["vllm:back"]
    assert one["policy"].startswith("vllm:back order think ")
    assert one["cost"]["calls"] == one["cost"]["turns"] == 1
    assert one["cost"]["prompt_tokens"] == 100
    assert one["rationale"]["coverage"] == pytest.approx(1 / 3)
    assert one["wins"][0]["rationale"] == "[1] is the worst."
    assert (out / "fleas/vllm%3Aback/run.txt").read_text().split("\t")[2] == "host"
    assert len(stub.bodies) == 3, "cached replies are not used without --cache"


def test_verify_finds_what_was_changed(run, tmp_path):
    out = tmp_path / "out"
    folder = str(beir(tmp_path / "fleas"))
    assert run("eval", folder, "--policy", "lexical", "--out", str(out))[0] == 0
    code, stdout, _ = run("eval", "verify", str(out))
    assert code == 0
    assert all(line.startswith("ok ") for line in stdout.splitlines())
    assert "our nDCG@10 equals the official one on 3 of 3 queries" in stdout
    written = out / "fleas/lexical/run.txt"
    text = written.read_text()
    written.write_text(text.replace("jump", "host_", 1))
    code, stdout, _ = run("eval", "verify", str(out))
    assert code == 1
    bad = [line for line in stdout.splitlines() if line.startswith("BAD")]
    assert bad[0] == "BAD  fleas/lexical/run.txt has changed"
    assert "2 of 3 records agree with the run" in bad[2]
    assert re.search(r"nDCG@10 0\.\d+, reported 0\.\d+", bad[3])
    assert "BAD  details.json is not reproduced: collections, files" in bad
    assert "BAD  report.html is not reproduced" in bad
    written.unlink()
    assert "run.txt is not there" in run("eval", "verify", str(out))[1]
    written.write_text(text)
    code, stdout, err = run("eval", "verify", str(out))
    assert (code, err) == (0, ""), stdout


def test_verify_finds_a_report_that_was_edited(run, tmp_path):
    out = tmp_path / "out"
    folder = str(beir(tmp_path / "fleas"))
    assert run("eval", folder, "--policy", "lexical", "--out", str(out))[0] == 0
    found = details(out)
    found["collections"]["fleas"]["systems"]["lexical"]["against"]["nDCG@10"]["p"] = 0.01
    (out / "details.json").write_text(json.dumps(found))
    stdout = run("eval", "verify", str(out))[1]
    assert "BAD  details.json is not reproduced: collections" in stdout
    assert "ok   report.md is reproduced" in stdout, "it is made from the recomputed details"
    (out / "report.md").write_text("better")
    assert "BAD  report.md is not reproduced" in run("eval", "verify", str(out))[1]
    written = (out / "report.html").read_text()
    (out / "report.html").write_text(written.replace("lexical", "best"))
    assert "BAD  report.html is not reproduced" in run("eval", "verify", str(out))[1]
    found["files"] = {}
    (out / "details.json").write_text(json.dumps(found))
    assert "BAD  0 of 0 files have their recorded hash" in run("eval", "verify", str(out))[1]


def test_shuffles_that_were_not_asked_for_do_not_count(run, tmp_path):
    out = tmp_path / "out"
    how = ("--policy", "lexical", "--out", str(out))
    folder = str(beir(tmp_path / "fleas"))
    assert run("eval", folder, *how, "--shuffle", "2")[0] == 0
    assert details(out)["collections"]["fleas"]["systems"]["lexical"]["shuffled"]["k"] == 2
    (out / "fleas/lexical/shuffle-2/run.txt").unlink()
    assert run("eval", folder, *how)[0] == 0
    assert details(out)["collections"]["fleas"]["systems"]["lexical"]["shuffled"] is None


@pytest.mark.parametrize("grade", [-2, -1])
def test_grades_below_zero_are_not_relevant(run, tmp_path, grade):
    out = tmp_path / "out"
    qrels = {q: {"jump": 2, "eggs": grade, "host": grade, "bees": -1} for q in QUERIES}
    folder = str(beir(tmp_path / "fleas", qrels=qrels))
    assert run("eval", folder, "--policy", "lexical", "--out", str(out))[0] == 0
    code, stdout, _ = run("eval", "verify", str(out))
    assert code == 0, stdout


def test_compare_puts_systems_side_by_side(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = str(beir(tmp_path / "fleas"))
    for name, how in (("a", ()), ("b", ("--blend", "1")), ("c", ("--policy", "embedded"))):
        policy = how if "--policy" in how else ("--policy", "lexical", *how)
        assert run("eval", folder, *policy, "--out", name)[0] == 0
    code, _, err = run("eval", "compare", "a", "b", "c", "--baseline", "lexical (a)")
    assert code == 0, err
    (compared,) = (tmp_path / "runs").iterdir()
    report = values(compared)
    assert list(report["fleas"]) == ["first-stage", "lexical (a)", "lexical (b)", "embedded"]
    assert report["fleas"]["lexical (a)"] == values(tmp_path / "a")["fleas"]["lexical"]
    assert run("eval", "verify", str(compared))[0] == 0
    assert run("eval", "compare", "a", "b", "--out", "a")[0] == 2
    for away in "xy":
        (tmp_path / away).mkdir()
    (tmp_path / "a").rename(tmp_path / "x/run")
    (tmp_path / "b").rename(tmp_path / "y/run")
    assert run("eval", "compare", "x/run", "y/run", "c", "--out", "all")[0] == 0
    names = ["first-stage", "lexical (x/run)", "lexical (y/run)", "embedded"]
    assert list(values(tmp_path / "all")["fleas"]) == names
    qrels = QRELS | {"q1": {"jump": 1}}
    beir(tmp_path / "fleas", qrels=qrels)
    assert run("eval", folder, "--policy", "lexical", "--out", "d")[0] == 0
    code, _, err = run("eval", "compare", "x/run", "d")
    assert code == 2
    assert "different queries or judgements of fleas" in err


def test_compare_says_where_candidates_differ(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = str(beir(tmp_path / "fleas"))
    for name, depth in (("a", "100"), ("b", "1")):
        how = ("--policy", "lexical", "--depth", depth, "--out", name)
        assert run("eval", folder, *how)[0] == 0
    _, stdout, err = run("eval", "compare", "a", "b", "--baseline", "first-stage (a)")
    stdout = " ".join(stdout.split())
    assert "candidates of first-stage (a), lexical (a): BM25, english, the first 100" in stdout, err
    assert "candidates of first-stage (b), lexical (b): BM25, english, the first 1 (" in stdout


def test_without_the_extra_it_names_the_line_that_installs_it(run, monkeypatch):
    monkeypatch.setattr("rearank_agent.extras.find_spec", lambda name: None)
    code, _, err = run("eval", HARBOUR)
    assert (code, install_line("eval") in err) == (1, True)


def test_out_is_a_file(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run("eval", HARBOUR, "--policy", "lexical", "--out", str(tmp_path / "file"))
    assert code == 1
    assert re.search(r"collection\.json cannot be written: ", err)
    assert "Traceback" not in err


def test_a_measure_that_is_0_for_every_order_is_noted(run, tmp_path):
    folder = str(beir(tmp_path / "fleas", qrels={q: {"jump": 1} for q in QUERIES}))
    how = ("--policy", "lexical", "--measure", "AP(rel=2)", "--out", str(tmp_path / "out"))
    assert "AP(rel=2) is 0 whatever the order" in run("eval", folder, *how)[1]


def test_names_are_shown_as_they_are(run, tmp_path):
    folder = str(beir(tmp_path / "[red]x:y:"))
    code, stdout, err = run("eval", folder, "--policy", "lexical", "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert stdout.startswith("[red]x:y:: 3 queries")


def test_help_shows_all_three(run):
    code, out, _ = run("eval", "--help")
    assert code == 0
    assert "eval compare" in out
    assert "eval verify" in out
    assert run("eval")[1].strip() == out.strip()
    for command in ("compare", "verify"):
        assert run("eval", command, "--help")[0] == 0


def test_the_names_of_the_small_collection_hold(tmp_path):
    assert list(read_folder(beir(tmp_path)).queries) == list(QUERIES)


def test_a_model_s_options_are_for_the_models_alone():
    def of(*names, **more):
        options = SystemOptions(policy=list(names), no_think=True, **more)
        return [options._options_of(name) for name in names]

    assert of("vllm:a", "cross-encoder:b", "lexical") == [{"think": False}, {}, {}]
    assert of("likelihood:vllm:a", "vllm:b") == [{}, {"think": False}]
    assert of("cross-encoder:b", "lexical") == [{"think": False}] * 2, "both refuse it"
