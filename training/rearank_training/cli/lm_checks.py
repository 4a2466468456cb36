"""What is checked before a model is loaded, so that nothing is loaded in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rearank_agent.cli.console import print_note, progress_bar
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.cli.lm_progress import note
from rearank_training.lm.settings import GRPOSettings, PromptOptions, SFTSettings

__all__ = ["Inputs", "check_model", "check_teacher"]

_LARGE = 1_000_000_000
"""Parameters above which a model is worth a better teacher than an encoder."""


@dataclass(frozen=True)
class Inputs:
    """What a command reads beside the model: rows, records, or both, and dev collections."""

    rows: Path | None
    dev: Sequence[str]
    records: Sequence[Path] = ()

    def check(
        self,
        model: str,
        prompt_options: PromptOptions,
        settings: SFTSettings | GRPOSettings,
        processes: int,
        device: str,
    ) -> None:
        """Check all that several processes will read, in one and without the weights.

        Raises:
            InputError: an input cannot be read, or the settings do not go together.
            SetupError: a package is missing, or the model cannot be loaded.
        """
        from rearank_agent.data.load import load_collections
        from rearank_training.lm.demonstrations import record_demonstrations
        from rearank_training.lm.prompts import check_sizes, example_of
        from rearank_training.rows.rows import read_rows

        config = check_model(model, prompt_options, settings, device, processes)
        with progress_bar("reading the inputs"):
            load_collections(list(self.dev))
            for path in self.records:
                list(record_demonstrations(path, config.window, quotes=False))
            if self.rows:
                found, passages = read_rows(self.rows)
                lists = isinstance(settings, GRPOSettings) and settings.goal == "list"
                check_sizes((example_of(row, passages) for row in found), config, lists)


def check_model(
    model: str,
    prompt_options: PromptOptions,
    settings: SFTSettings | GRPOSettings,
    device: str,
    processes: int | None = None,
) -> PromptConfig:
    """Check all but a model's weights; gives its prompt config.

    Args:
        model: a folder, or the name of a repository.
        prompt_options: its prompt options if it has no prompt config.
        settings: of the run.
        device: cpu or cuda.
        processes: that train together; None for those of this run.

    Raises:
        InputError: it is asked for scores, has another prompt config, or the settings do not go
            together.
        SetupError: it cannot be loaded, or a package is missing.
    """
    from rearank_training.lm.checks import check_run
    from rearank_training.lm.model import has_plain_chat, load_tokenizer, parameter_count

    config = prompt_options.config_of(model)
    check_run(settings, config, device, processes)
    if has_plain_chat(load_tokenizer(model)):
        note(f"{model} has no chat template of its own: turns are plain text, a blank line between")
    parameter_count(model)
    return config


def check_teacher(model: str, teacher: str) -> None:
    """Print a note where a large model would learn a small policy's orders."""
    from rearank_training.lm.model import parameter_count
    from rearank_training.lm.processes import is_first_process

    count = parameter_count(model)
    weak = teacher.partition(":")[0] in ("embedded", "lexical")
    if count > _LARGE and weak and is_first_process():
        print_note(
            f"note: {model} has {count / 1e9:.1f} billion parameters, and is taught the orders of "
            f"{teacher}, a weaker policy. Stronger: the replies of a larger model, --records FILE "
            "of eval or of rerank --json (docs/training.md); or no imitation, train grpo alone"
        )
