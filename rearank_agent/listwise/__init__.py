"""Listwise prompts for a window of passages, and the parsing of replies.

Training, serving and evaluation use these three functions, so that what is rewarded is what is
served and what is measured (REARANK, arXiv 2505.20046, section 3).
"""

from rearank_agent.listwise.answer_format import write_reply
from rearank_agent.listwise.prompt import build_prompt
from rearank_agent.listwise.reply import parse_reply

__all__ = ["build_prompt", "parse_reply", "write_reply"]
