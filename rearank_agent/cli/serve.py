"""`serve`: a model served with vLLM, ready to rerank."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.console import print_line, print_note

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="A folder, or the name of a repository.", show_default=False)
    ],
    name: Annotated[
        str,
        typer.Option(
            help="Its name on the server.  \\[the last part of MODEL]", show_default=False
        ),
    ] = "",
    host: Annotated[str, typer.Option(help="The address it listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    vllm: Annotated[
        str, typer.Option(help="The vllm program of another environment.", show_default=False)
    ] = "",
    only_print: Annotated[bool, typer.Option("--print", help="Print the command alone.")] = False,
) -> None:
    """Serve a model with vLLM, with the settings this policy needs.

    Waits until the server answers, and prints the command that uses it. What
    follows -- is passed to vLLM, and overrides our settings except --name,
    --host and --port:

        rearank-agent serve Qwen/Qwen2.5-7B-Instruct --name qwen

        rearank-agent serve ./my-model -- --tensor-parallel-size 2
    """
    from rearank_agent.llm.serve import Server, shell_line, vllm_command

    if Path(model).is_dir():
        model = str(Path(model).absolute())  # valid from any other folder
    name = name or Path(model).name
    program = (vllm or "vllm") if only_print else vllm_command(vllm)
    server = Server(model, name, host, port, program, tuple(context.args))
    if only_print:
        print_line(shell_line(server.command))
        return

    note, more = _template_note(name, model)
    if note:
        print_note(f"note: {note}")
    if code := server.run(partial(_print_use, server.url, f"{name}{more}")):
        print_note(f"rearank-agent: vLLM ended with exit code {code}")
        raise typer.Exit(1)


def _print_use(url: str, name: str, seconds: float) -> None:
    print_line(f"ready after {seconds:.0f} s; Ctrl-C stops it. Use it with:")
    print_line()
    print_line(f"export VLLM_BASE_URL={url}")
    print_line(f"rearank-agent rerank QUERY FILE --policy vllm:{name}", flush=True)


def _template_note(name: str, model: str) -> tuple[str, str]:
    """What is known of the prompt template a model was trained with, and the option for it."""
    from rearank_agent.listwise.template import Template
    from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig, describe, template_hint

    if trained := PromptConfig.load(model):
        note = (
            f"{name} was trained with {describe(trained.options())}, and is asked so; on another "
            f"machine with --template {CONFIG_FILE}, a copy of {Path(model) / CONFIG_FILE}"
        )
        return note, ""
    hint = template_hint(name, model, Template.default())
    return hint, " --template rearank-7b" if hint else ""
