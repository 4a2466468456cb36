"""What training a language model needs around it: what is read, checked and told."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rearank_agent.cli.output import progress_bar, progress_line
from rearank_agent.errors import InputError, require
from rearank_training.cli.inputs import with_lists
from rearank_training.lm.settings import GRPOSettings, PromptOptions, SFTSettings

if TYPE_CHECKING:
    from rearank_training.lm.callbacks import Dev, Watch
    from rearank_training.lm.demonstrations import Demonstration
    from rearank_training.lm.model import Loaded
    from rearank_training.lm.prompts import Example


def require_extra() -> None:
    """Raise SetupError unless what trains language models is installed."""
    require("training", "train", "torch", "transformers", "trl", "datasets")


@dataclass(frozen=True)
class Start:
    """What both phases begin with: a model, and a folder that may be used."""

    loaded: Loaded
    settings: SFTSettings | GRPOSettings
    out: Path
    checkpoint: Path | None
    told: dict[str, Any]

    def claim(self) -> None:
        """Write down in the folder what a new run depends on."""
        from rearank_training.lm.runs import claim

        if not self.checkpoint:
            claim(self.out, self.told)


def begin(
    phase: str,
    of: tuple[str, PromptOptions, str],
    settings: SFTSettings | GRPOSettings,
    into: tuple[Path, bool],
    taught: dict[str, Any],
) -> Start:
    """Load a model for a phase, if its folder may be used.

    Args:
        of: a folder or repository, words for a model that carries none, and the device.
        into: the folder of the run, and whether it goes on.
        taught: what the run depends on beside model and settings.

    Raises:
        InputError: the folder holds another run, or the model carries other words.
        SetupError: the model cannot be loaded, or there is no GPU.
    """
    from rearank_training.lm.model import device, load, quiet
    from rearank_training.lm.runs import begin

    (model, words, wanted), (out, resume) = of, into
    asked, where = words.of(model), device(wanted)
    about = asked.asking() | {"template": asked.template.fingerprint, "device": where}
    about |= {"phase": phase, "model": model, "processes": os.environ.get("WORLD_SIZE", "1")}
    told = about | taught | asdict(settings)
    checkpoint = begin(out, told, resume)
    quiet(settings.threads)
    with progress_bar(f"loading {model}"):
        loaded = load(model, asked, where)
    return Start(loaded, settings, out, checkpoint, told)


def rows_hash(rows: Path | None) -> str:
    """What tells rows from others."""
    from rearank_agent.files import digest

    manifest = rows / "manifest.json" if rows else None
    return digest(manifest) if manifest and manifest.is_file() else str(rows)


def read_examples(rows: Path) -> list[Example]:
    """All rows of a folder."""
    from rearank_training.lm.prompts import example_of
    from rearank_training.rows.rows import read_rows

    with progress_bar("reading the rows"):
        some, passages = read_rows(rows)
    return [example_of(row, passages) for row in some]


def examples_with_signal(start: Start, rows: Path) -> list[Example]:
    """The rows of a folder that have a better order than their own, and suit the goal."""
    from rearank_training.lm.prompts import check_sizes
    from rearank_training.rows.rows import with_signal

    some = read_examples(rows)
    whole = isinstance(start.settings, GRPOSettings) and start.settings.goal == "list"
    check_sizes(some, start.loaded.words, whole)
    kept = with_signal(some)
    if not kept:
        raise InputError(f"{rows} has no signal: every set is in its best order already")
    if len(kept) < len(some):
        _note(f"{len(some) - len(kept):,} rows are in their best order, and left out")
    return kept


def fitting_ones(start: Start, some: list[Example], what: str = "prompts") -> list[Example]:
    """Those whose prompts fit; what does not, and what is shown cut, is told."""
    from rearank_training.lm.prompts import fitting_examples
    from rearank_training.lm.sampler import Sampler

    words, most = start.loaded.words, start.settings.prompt_tokens
    voice = Sampler(start.loaded.model, start.loaded.tokenizer, words)
    with progress_bar(f"measuring the {what}"):
        kept, counts = fitting_examples(some, words, lambda prompt: len(voice.tokens(prompt)), most)
    if counts["long"]:
        _note(f"{counts['long']:,} {what} are longer than {most} tokens, and left out")
    if counts["cut"]:
        _note(f"{counts['cut']:,} {what} show a passage cut at {words.cut} characters")
    return kept


def demonstrations(
    start: Start, rows: Path | None, records: list[Path], teacher: str, quotes: bool
) -> list[Demonstration]:
    """What is imitated; what the model could not say is left out."""
    from rearank_agent.policies.registry import policy
    from rearank_training.lm.demonstrations import of_policy, of_rankings
    from rearank_training.lm.prompts import check_sizes

    window = start.loaded.words.window
    with progress_bar("writing the replies to learn"):
        found = (
            list(of_policy(read_examples(rows), policy(teacher), quotes, start.settings.seed))
            if rows
            else [one for path in records for one in of_rankings(path, window, quotes)]
        )
    if not found:
        raise InputError("there is no reply to learn: every record was mended, or has one passage")
    check_sizes([lesson.shown for lesson in found], start.loaded.words, whole=False)
    fits = {id(one) for one in fitting_ones(start, [lesson.shown for lesson in found])}
    budget, tokenizer = start.loaded.words.budget, start.loaded.tokenizer
    kept = [
        one
        for one in found
        if id(one.shown) in fits and len(tokenizer(one.reply)["input_ids"]) < budget
    ]
    if not kept:
        raise InputError(f"every reply is longer than {budget} tokens: raise --budget")
    if len(kept) < len(fits):
        _note(f"{len(fits) - len(kept):,} replies are longer than {budget} tokens, and left out")
    return kept


def read_dev(names: list[str], start: Start, learned: list[str]) -> Dev:
    """What is chosen by, without the queries that are learned from."""
    from rearank_agent.data.load import load_collections
    from rearank_training.lm.callbacks import Dev, dev_example
    from rearank_training.rows.heldout import held_out

    how = start.settings
    with progress_bar("reading the dev collections"):
        listed = with_lists(load_collections(names), how.dev_depth)
    judged, dropped = held_out(listed, how.dev_queries, how.dev_depth, how.seed, learned)
    if dropped:
        _note(f"{dropped} dev queries are in what is learned, and left out of dev")
    lists = [dev_example(one) for one in judged]
    fit = {id(one) for one in fitting_ones(start, lists, "dev prompts")}
    pairs = zip(judged, lists, strict=True)
    return Dev([one for one, list_ in pairs if id(list_) in fit], start.loaded.words)


def wrote_launcher(processes: int, device: str, out: Path) -> bool:
    """Write what starts several processes, if they are wanted and this is none of them."""
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return False
    from rearank_training.lm.launch import launch_files
    from rearank_training.lm.model import device as device_of

    print(f"start it with: bash {launch_files(out, processes, device_of(device), sys.argv[1:])}")
    return True


@contextmanager
def interruptible(out: Path) -> Iterator[None]:
    """Say how to go on after an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nstopped; --resume goes on from the last checkpoint in {out}", file=sys.stderr)
        raise


def report(best: dict[str, Any], out: Path) -> None:
    """Draw the curves, and print the best look as JSON."""
    from rearank_training.lm.callbacks import POLICY_FOLDER
    from rearank_training.lm.runs import is_first_process
    from rearank_training.plots import plot_lm

    if is_first_process():
        plot_lm(out)
        print(json.dumps({"step": best["step"], **best["dev"], "macro": best["macro"]}))
        print(f"serve it: rearank-agent serve {out / POLICY_FOLDER} --name NAME", file=sys.stderr)


def _note(told: str) -> None:
    from rearank_training.lm.runs import is_first_process

    if is_first_process():
        print(f"note: {told}", file=sys.stderr)


def watch(steps: int) -> Watch:
    """A line for every look at dev; between them the last step, where there is a terminal."""
    began = monotonic()

    def watch(line: dict[str, Any]) -> None:
        if line.get("equal") == 1:
            _note(f"step {line['step']}: all replies to a prompt are worth the same; no signal")
        terminal, told = sys.stderr.isatty(), f"{line['phase']} {line['step']}/{steps}: "
        if "macro" in line:
            told += f"dev nDCG@10 {100 * line['macro']:.2f}, {line['mended']:.0%} mended"
        elif "loss" not in line:
            told += f"measuring dev, {line['queries']} queries ..."
        elif terminal or line["step"] % 50 == 0:
            worth = f", reward {line['reward']:.3f}" if "reward" in line else ""
            told += f"loss {line['loss']:.3f}{worth}, {monotonic() - began:.0f} s"
        else:
            return
        progress_line(told, lasting="macro" in line)

    return watch
