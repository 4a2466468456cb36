"""The setup of language-model training: inputs, checks, progress and reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rearank_agent.cli import console
from rearank_agent.errors import InputError
from rearank_agent.extras import require
from rearank_training.cli.inputs import with_lists
from rearank_training.cli.lm_checks import check_model
from rearank_training.cli.lm_progress import note
from rearank_training.lm.settings import GRPOSettings, PromptOptions, SFTSettings

if TYPE_CHECKING:
    from rearank_training.lm.demonstrations import Demonstration
    from rearank_training.lm.dev import Dev
    from rearank_training.lm.model import Loaded
    from rearank_training.lm.prompts import Example


def require_extra() -> None:
    """Raise SetupError unless the packages of language-model training are installed."""
    require("training", "train", "torch", "transformers", "trl", "datasets")


@dataclass(frozen=True)
class Setup:
    """A loaded model and a run's folder; `inputs` is what the run depends on, as in run.json."""

    loaded: Loaded
    settings: SFTSettings | GRPOSettings
    out: Path
    checkpoint: Path | None
    inputs: dict[str, Any]

    def write_run_file(self) -> None:
        """Write run.json for a new run."""
        from rearank_training.lm.runs import write_run_file

        if not self.checkpoint:
            write_run_file(self.out, self.inputs)


def set_up(
    phase: str,
    model_options: tuple[str, PromptOptions, str],
    settings: SFTSettings | GRPOSettings,
    run_options: tuple[Path, bool],
    data: dict[str, Any],
) -> Setup:
    """Load a model for a phase, if the run's folder may be used.

    Args:
        phase: sft or grpo.
        model_options: a folder or repository, prompt options if it has no prompt config, device.
        settings: of the phase.
        run_options: the folder of the run, and whether it is resumed.
        data: what the run depends on beside model and settings.

    Raises:
        InputError: the folder holds another run, or the model carries another prompt config.
        SetupError: the model cannot be loaded, or there is no GPU.
    """
    from rearank_training.lm.model import device, load, quiet
    from rearank_training.lm.processes import process_count
    from rearank_training.lm.runs import find_checkpoint
    from rearank_training.lm.trl_settings import weights_type

    (model, prompt_options, wanted), (out, resume) = model_options, run_options
    where = device(wanted)
    config = check_model(model, prompt_options, settings, where)
    facts = config.options() | {"template": config.template.fingerprint, "device": where}
    facts |= {"phase": phase, "model": model, "processes": str(process_count())}
    inputs = facts | data | asdict(settings)
    del inputs["report_to"], inputs["minutes"]  # a run does not depend on them
    checkpoint = find_checkpoint(out, inputs, resume)
    quiet(settings.threads)
    with console.progress_bar(f"loading {model}"):
        loaded = load(model, config, where, weights_type(settings, where))
    return Setup(loaded, settings, out, checkpoint, inputs)


def rows_hash(rows: Path | None) -> str:
    """The hash of the rows' manifest; the path where there is none."""
    from rearank_agent.files import digest

    manifest = rows / "manifest.json" if rows else None
    return digest(manifest) if manifest and manifest.is_file() else str(rows)


def read_examples(rows: Path) -> list[Example]:
    """All rows of a folder."""
    from rearank_training.lm.prompts import example_of
    from rearank_training.rows.rows import read_rows

    with console.progress_bar("reading the rows"):
        found, passages = read_rows(rows)
    return [example_of(row, passages) for row in found]


def examples_with_signal(setup: Setup, rows: Path) -> list[Example]:
    """The rows of a folder that suit the goal and are not in their best order."""
    from rearank_training.lm.prompts import check_sizes
    from rearank_training.rows.rows import with_signal

    examples, config = read_examples(rows), setup.loaded.prompt_config
    lists = isinstance(setup.settings, GRPOSettings) and setup.settings.goal == "list"
    check_sizes(examples, config, lists)
    long = [one for one in examples if not lists or len(one.passages) > config.window]
    if len(long) < len(examples):
        note(f"{len(examples) - len(long):,} rows are no longer than a window, and left out")
    kept = with_signal(long)
    if not kept:
        raise InputError(f"{rows} has no signal: every set is in its best order already")
    if len(kept) < len(long):
        note(f"{len(long) - len(kept):,} rows are in their best order, and left out")
    return kept


def fitting_ones(setup: Setup, examples: list[Example], what: str = "prompts") -> list[Example]:
    """Those whose prompts fit; notes how many do not, and how many have truncated passages."""
    from rearank_training.lm.prompts import fitting_examples
    from rearank_training.lm.sampler import Sampler

    config, max_tokens = setup.loaded.prompt_config, setup.settings.prompt_tokens
    sampler = Sampler(setup.loaded.model, setup.loaded.tokenizer, config)
    with console.progress_bar(f"measuring the {what}"):
        kept, counts = fitting_examples(examples, config, sampler.tokens, max_tokens)
    if counts["long"]:
        note(f"{counts['long']:,} {what} are longer than {max_tokens} tokens, and left out")
    if counts["cut"]:
        note(f"{counts['cut']:,} {what} have a passage truncated at {config.cut} characters")
    return kept


def read_demonstrations(
    setup: Setup, rows: Path | None, records: list[Path], teacher: str, quotes: bool
) -> list[Demonstration]:
    """The demonstrations of a teacher or of records whose prompts and replies fit."""
    from rearank_agent.policies.registry import policy
    from rearank_training.lm.demonstrations import (
        JUDGEMENTS,
        policy_demonstrations,
        record_demonstrations,
    )
    from rearank_training.lm.prompts import check_sizes

    config, tokenizer = setup.loaded.prompt_config, setup.loaded.tokenizer
    with console.progress_bar("writing the demonstrations"):
        if rows:
            graded = teacher == JUDGEMENTS
            lessons = partial(
                policy_demonstrations,
                think=config.think,
                cut=config.cut,
                template=config.template,
                by_grade=graded,
            )
            judge = policy("lexical" if graded else teacher)
            found = [*lessons(read_examples(rows), judge, quotes, setup.settings.seed)]
        else:
            taken = partial(
                record_demonstrations, quotes=quotes, seed=setup.settings.seed, think=config.think
            )
            found = [one for path in records for one in taken(path, config.window)]
    if not found:
        raise InputError("no reply to learn: every record was repaired, or has one passage")
    check_sizes([one.example for one in found], config, lists=False)
    ids = {id(one) for one in fitting_ones(setup, [one.example for one in found])}
    fitting = [one for one in found if id(one.example) in ids]
    kept = [one for one in fitting if len(tokenizer(one.reply)["input_ids"]) < config.budget]
    if not kept:
        raise InputError(f"every reply is longer than {config.budget} tokens: raise --budget")
    if len(kept) < len(fitting):
        note(f"{len(fitting) - len(kept):,} replies exceed {config.budget} tokens: left out")
    return kept


def read_dev(names: list[str], setup: Setup, trained_on: list[str]) -> Dev:
    """The dev queries, without those that are trained on."""
    from rearank_agent.data.load import load_collections
    from rearank_training.lm.dev import Dev, dev_example
    from rearank_training.rows.heldout import held_out

    settings, depth = setup.settings, setup.settings.dev_depth
    with console.progress_bar("reading the dev collections"):
        listed = with_lists(load_collections(names), depth)
    queries, dropped = held_out(listed, settings.dev_queries, depth, settings.seed, trained_on)
    if dropped:
        note(f"{dropped} dev queries are trained on, and left out of dev")
    examples = [dev_example(one) for one in queries]
    fit = {id(one) for one in fitting_ones(setup, examples, "dev prompts")}
    pairs = zip(queries, examples, strict=True)
    return Dev([one for one, example in pairs if id(example) in fit], setup.loaded.prompt_config)


@contextmanager
def interruptible(out: Path) -> Iterator[None]:
    """Print how to resume after an interrupt, if there is a checkpoint."""
    try:
        yield
    except KeyboardInterrupt:
        if any(out.glob("checkpoint-*")):
            console.print_note(f"stopped; --resume goes on from the last checkpoint in {out}")
        raise


def report(best: dict[str, Any], out: Path) -> None:
    """Print the best evaluation as JSON, and how to serve the model."""
    from rearank_training.lm.callbacks import POLICY_FOLDER
    from rearank_training.lm.processes import is_first_process

    if is_first_process():
        console.print_json({"step": best["step"], **best["dev"], "macro": best["macro"]})
        console.print_note(f"serve it: rearank-agent serve {out / POLICY_FOLDER} --name NAME")
