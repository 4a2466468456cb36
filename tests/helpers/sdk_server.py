"""An MCP server written with the official SDK: tools, a resource, a prompt, an elicitation."""

from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, ElicitationResult, MCPServer, Resolve
from pydantic import BaseModel

SHELF = ["Dogs bark.", "A flea jumps 20 cm.", "Cats sleep."]

server = MCPServer("shelf", version="1", log_level="WARNING")


class Row(BaseModel):
    """A thing on a shelf."""

    title: str
    text: str


class Shelf(BaseModel):
    """Which shelf."""

    name: str


async def which() -> Elicit[Shelf]:
    """Ask the host."""
    return Elicit("Which shelf?", Shelf)


@server.tool()
async def find(query: str, ctx: Context) -> list[Row]:
    """Find rows."""
    await ctx.report_progress(1, 1, "looked")
    return [Row(title=f"row {n}", text=text) for n, text in enumerate(SHELF)]


@server.tool()
async def seek(query: str, shelf: Annotated[ElicitationResult[Shelf], Resolve(which)]) -> str:
    """Find, once the host said where."""
    return f"{query}: {shelf.data.name}"


@server.resource("shelf://all")
def all_of_it() -> str:
    """The whole shelf."""
    return "\n".join(SHELF)


@server.prompt()
def ask(topic: str) -> str:
    """A question."""
    return f"What is {topic}?"


if __name__ == "__main__":
    server.run("stdio")
