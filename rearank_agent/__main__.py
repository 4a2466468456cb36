"""The command line as a module: `python -m rearank_agent`."""

from rearank_agent.cli import main

main()
