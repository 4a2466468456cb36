import json
from dataclasses import replace

import pytest

from benchmarks import paper_embedded as study
from benchmarks.made import harbour
from benchmarks.paper_embedded import Arm, Lab, gathered, plot, table
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.rows.augment import Augmentation, augment


def test_a_made_collection_is_the_same_twice_and_shares_no_boat():
    east = harbour("east", slice(0, 4))
    assert harbour("east", slice(0, 4)) == east
    assert (len(east.queries), len(east.corpus)) == (20, 80)
    assert not east.queries.keys() & harbour("west", slice(4, 8)).queries.keys()


def test_the_arms():
    small = study.small()
    assert [str(arm) for arm in small.arms] == [
        "15 reinforced",
        "15 supervised",
        "45 reinforced",
        "45 supervised",
        "all reinforced",
        "all supervised",
        "45 reinforced, without augmentation",
        "45 reinforced, without filter",
        "45 reinforced, without relative reward",
    ]


def test_what_an_arm_leaves_out():
    recipe = EmbeddedSettings(steps=7, windows=3, passages=9)
    arm = Arm(45, "reinforced")
    assert arm.augmentation(2) == Augmentation(sets=12, seed=2, limit=45)
    assert arm.recipe(recipe, 2) == replace(recipe, warm_steps=0, seed=2, every=7)
    settings = Arm(45, "supervised").recipe(recipe, 2)
    assert (settings.warm_steps, settings.steps) == (7, 0)
    assert (settings.warm_queries, settings.warm_passages) == (3, 9)
    one = augment(study.small().train, Arm(5, "reinforced", "augmentation").augmentation(0))
    assert {row.ranks for row in one.rows} == {tuple(range(1, 21))}
    assert not Arm(5, "reinforced", "filter").augmentation(0).filtered
    assert Arm(5, "reinforced", "relative reward").recipe(recipe, 0).reward == "ndcg"


@pytest.fixture
def tiny(base, monkeypatch):
    """Two sizes, one seed more than needed, two steps."""
    monkeypatch.setattr(study, "packaged", lambda: base)
    recipe = EmbeddedSettings(steps=2, windows=1, samples=4, tokens=16, threads=1)
    return replace(study.small(), sizes=(3,), ablated=3, recipe=recipe, dev_queries=4, depth=5)


def test_a_study_goes_on_where_it_was(tiny, tmp_path, monkeypatch, capsys):
    found = gathered(Lab(tiny, tmp_path))
    assert list(found["arms"]) == [str(arm) for arm in tiny.arms]
    assert len(list(tmp_path.glob("*/values.json"))) == 1 + 2 * len(tiny.arms)
    kept = tmp_path / "3-supervised-seed-1" / "values.json"
    kept.unlink()
    trained = []
    train = Lab._trained
    monkeypatch.setattr(Lab, "_trained", lambda *args: trained.append(args[1:3]) or train(*args))
    assert gathered(Lab(tiny, tmp_path)) == found
    assert trained == [(Arm(3, "supervised"), 1)], "and from its last checkpoint"
    assert "3-supervised-seed-1" in capsys.readouterr().err


def test_the_table_and_the_plot_of_figures(tmp_path):
    one = {"mean": 61.2, "seeds": 0.31, "gain": 1.2, "interval": [0.1, 2.3]}
    arm = {"arm": {"method": "reinforced"}, "0.0": one, "0.3": one | {"gain": -0.5}}
    found = {"untrained": {"0.0": 60, "0.3": 61}, "dev_queries": 40, "arms": {"45 reinforced": arm}}
    assert table(found).splitlines()[2:] == [
        "| learned from | b=0.0 | gain (95%) | b=0.3 | gain (95%) |",
        "|---|---|---|---|---|",
        "| nothing | 60.00 |  | 61.00 |  |",
        "| 45 reinforced | 61.20 +- 0.31 | +1.20 (+0.10 to +2.30)"
        " | 61.20 +- 0.31 | -0.50 (+0.10 to +2.30) |",
    ]
    plot(found).savefig(tmp_path / "plot.svg")
    assert "45 reinforced" in (tmp_path / "plot.svg").read_text()


def test_a_filter_that_is_off_keeps_everything():
    (made,) = study.small().train
    rows = augment([made], replace(Arm(5, "reinforced", "filter").augmentation(0), sets=3)).rows
    assert len(rows) == 15
    kept = augment([made], Augmentation(sets=3, limit=5)).rows
    assert len(kept) < 15
    assert json.dumps(sorted(row.initial < 0.1 for row in rows)).count("true")
