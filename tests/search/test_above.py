"""The titles of chunks of code and tables."""

from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.search.above import definitions_above, header_above, prose_above
from rearank_agent.search.titles import headings

PYTHON = """\
import os

class Pump(Base):
    size = 1

    @property
    def rate(
        self, hours: int
    ) -> float:
        if hours:
            return 1

    async def stop(self): ...
    other = 2

def main():
    x = 1
if x:
    y = 2
"""


def titles(text, above):
    lines = [number for number, line in enumerate(text.split("\n")) if line]
    return {line: title for line in lines if (title := above(line))}


def test_python():
    assert titles(PYTHON, definitions_above(PYTHON)) == {
        **dict.fromkeys([3, 5, 6, 8, 12, 13], "class Pump"),
        **dict.fromkeys([7, 9, 10], "class Pump > def rate"),
        16: "def main",
    }


def test_braces():
    text = """\
public final class Pump extends Base {
\tprivate static int rate(int hours, List<Hour> all) throws WetException {
\t\tif (hours > 1) {
\t\t\treturn 2;
\t\t}
\t}
}
int main(void)
{
    return 0;
}
export async function stop(now) {
  await x();
}
func (p *Pump) Stop() error {
\treturn nil
}
"""
    rate = "public final class Pump extends Base > private static int rate"
    assert titles(text, definitions_above(text)) == {
        **dict.fromkeys([1, 5], "public final class Pump extends Base"),
        **dict.fromkeys([2, 3, 4], rate),
        9: "int main",
        12: "export async function stop",
        15: "func (p *Pump) Stop",
    }


SIGNATURES = """\
static int
pump_rate (struct pump *pump,
           int hours)
{
#define MOST 9
    if (hours > MOST)
    {
        goto fail;
    }
fail:
    return 0;
}

Pump::Pump(int hours)
    : hours_(hours),
      rate_(0) {
  start();
}

int stop(int now);
WARM(pump)
void rinse()
{
    x();
}
"""
CALLS = """\
exports.stop = async (now) => {
  await x();
};
const rate: (hours: number) => Rate<Pump> = (hours) => {
  return 1;
};
const pump = {
  rinse: function (twice) {
    x();
  },
  fill({ hours, rain }) {
    x();
  },
};
test("a pump", () => {
  x();
});
if (wet)
{
  synchronized (pump) {
    new Pump(1) {
      x();
"""


def test_signatures_of_several_lines_and_braces_on_a_line_of_their_own():
    assert titles(SIGNATURES, definitions_above(SIGNATURES)) == {
        **dict.fromkeys([5, 6, 7, 8, 10], "pump_rate"),
        16: "Pump::Pump",
        23: "void rinse",
    }


def test_a_function_that_is_an_argument_and_a_block_are_no_definitions():
    assert titles(CALLS, definitions_above(CALLS)) == {
        1: "exports.stop",
        4: "const rate",
        8: "rinse",
        11: "fill",
    }


def test_tables():
    assert titles("a,b\n1,2\n3,4", header_above("a,b\n1,2\n3,4")) == {1: "a,b", 2: "a,b"}
    text = "# Pumps\n\n| hour | rain |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n\nor | so\n\na | b\n---|---\n1 | 2"
    assert titles(text, prose_above(text, headings(text))) == {
        **dict.fromkeys([2, 7, 9], "Pumps"),
        **dict.fromkeys([3, 4, 5], "Pumps > hour | rain"),
        **dict.fromkeys([10, 11], "Pumps > a | b"),
    }


LINES = [
    "class A:",
    "  def b(c):",
    "    if d:",
    "\tint e(f) {",
    "",
    ")",
    "}",
    "x = 1",
    "   | a | b |",
    "|--|---|",
]


@given(st.lists(st.sampled_from(LINES), max_size=20).map("\n".join))
def test_every_line_has_a_title_and_what_is_not_indented_has_none(text):
    above = definitions_above(text)
    for number, line in enumerate(text.split("\n")):
        assert isinstance(prose_above(text, headings(text))(number), str)
        if line.strip() and line[0] not in " \t)}":
            assert above(number) == ""
