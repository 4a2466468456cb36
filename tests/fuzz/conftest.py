from helpers.mutations import RAN


def pytest_terminal_summary(terminalreporter):
    if RAN:  # not where others ran them, as with -n
        terminalreporter.write_line(f"{RAN.total():,} examples of {len(RAN)} targets")
