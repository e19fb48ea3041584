"""All commands and options, walked: an example and the exit codes in each help, one sentence for each error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from vipguard.cli import main

PAGE = Path(__file__).parents[2] / "docs/exit-codes.md"
#: They need no configuration: a lab makes its own, the others read what they are given.
WITHOUT_CONFIG = ("lab", "completion", "import-mmm")
#: Arguments without which a command would complain of these and of nothing else.
WORDS = {"check": ["alive"], "completion": ["bash"], "import-mmm": ["/nonexistent/mmm.conf"], "lab enter": ["db1"]}


def _walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if path:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _walk(found, (*path, name))


ALL = dict(_walk(main.cli))
LEAVES = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}
RUNNABLE = {n: c for n, c in ALL.items() if not isinstance(c, click.Group) or c.invoke_without_command}


def _help(name: str) -> str:
    command, context = ALL[name], click.Context(main.cli, info_name="vipguard")
    for word in name.split():
        context = click.Context(command, parent=context, info_name=word)
    return command.get_help(context)


def _codes(text: str) -> set[int]:
    """Of the help's sentence: `0 moved, 1 it went back; 2 …`."""
    found = re.search(r"Exit codes: (.*?)\n\n", text + "\n\n", re.DOTALL)
    assert found, text
    return {int(number) for number in re.findall(r"(?:^|[,;:.] )(\d)\b", " ".join(found[1].split()))}


def _page() -> dict[str, set[int]]:
    rows = re.findall(r"^\| `([^`]+)` \| ([\d ]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: {int(code) for code in codes.split()} for name, codes in rows}


@pytest.mark.parametrize("name", ALL)
def test_each_help_has_an_example_and_names_the_exit_codes(name: str) -> None:
    text = _help(name)
    assert re.search(rf"^ +(\S+ )?vipguard {name}\b", text.partition("Usage")[2], re.MULTILINE), f"no example:\n{text}"
    assert "Exit codes:" in text
    assert max(map(len, text.splitlines())) <= 80, "a terminal has 80 columns"


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_page_of_exit_codes_is_complete(name: str) -> None:
    page = _page()
    assert name in page, f"docs/exit-codes.md does not have {name}"
    assert _codes(_help(name)) <= page[name] <= _codes(_help(name)) | {2, 3}


@pytest.mark.parametrize(
    ("words", "said"),
    [(("status", "--interval", "x"), "'x' is no number"), (("events", "-n", "1.5"), "'1.5' is no whole number"),
     (("switchover", "--at-most-ms", "0"), "0 is not in the range x>=1")],
)  # fmt: skip
def test_what_is_no_number_is_called_so(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*words]) == 2
    assert said in capsys.readouterr().err


def test_the_page_has_nothing_that_is_not_there() -> None:
    assert set(_page()) == set(RUNNABLE)


@pytest.mark.parametrize("name", ALL)
def test_each_option_says_what_it_is_for(name: str) -> None:
    for param in ALL[name].params:
        if isinstance(param, click.Option) and not param.hidden:
            assert param.help or param.name in ("nodes", "name", "flavor"), f"{name} {param.opts}"


def _one_sentence(capsys: pytest.CaptureFixture[str], begins: str = "vipguard: ") -> str:
    said = capsys.readouterr().err
    assert said.startswith(begins) and said.count("\n") == 1 and said.endswith("\n"), said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("name", sorted(set(LEAVES) - {"check", "hook", "lab enter"}))
def test_an_unknown_option_is_one_sentence_that_tells_where_help_is(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` says it as a plugin; `hook` takes keepalived's words and `lab enter` another program's as they are."""
    assert main.run([*name.split(), "--no-such-option"]) == main.EXIT_OPERATOR
    said = _one_sentence(capsys)
    assert "--no-such-option" in said and f"see `vipguard {name} --help`" in said


@pytest.mark.parametrize("name", [n for n in ALL if isinstance(ALL[n], click.Group)])
def test_an_unknown_command_is_one_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*name.split(), "no-such-command"]) == main.EXIT_OPERATOR
    assert "no-such-command" in _one_sentence(capsys)


BROKEN = {
    "missing": None,
    "a directory": "",
    "no TOML": "cluster = [",
    "no text": "\x00\xff",
    "unknown key": 'clutser = "x"\n',
    "empty": "# nothing\n",
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", sorted(n for n in RUNNABLE if n.split()[0] not in WITHOUT_CONFIG))
def test_a_configuration_that_is_no_good_is_one_sentence(
    name: str, broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    file = tmp_path / "vipguard.toml"
    if broken == "a directory":
        file.mkdir()
    elif (text := BROKEN[broken]) is not None:
        file.write_bytes(text.encode("latin-1"))
    code = main.run(["--config", str(file), *name.split(), *WORDS.get(name, [])])
    if name == "check":  # a plugin speaks on stdout
        said = capsys.readouterr()
        assert code == 3 and said.out.startswith("ALIVE UNKNOWN - ") and said.err == ""
    elif name == "doctor":  # it is what doctor looks for
        assert code == 2 and "do: " in capsys.readouterr().out
    else:
        assert code in (2, 3)
        assert str(file) in _one_sentence(capsys)


def test_what_nobody_expected_is_one_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command
    def command() -> None:
        raise KeyError("surprise\nin two lines")

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: command)
    assert main.run(["status"]) == main.EXIT_FAILED
    assert "KeyError" in (said := _one_sentence(capsys)) and "VIPGUARD_DEBUG=1" in said
    monkeypatch.setenv("VIPGUARD_DEBUG", "1")
    assert main.run(["status"]) == main.EXIT_FAILED
    assert "Traceback" in capsys.readouterr().err


def test_a_full_output_is_one_sentence() -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "vipguard", "completion", "bash"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 3 and done.stderr.startswith("vipguard: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_completes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", shell]) == 0
    assert f"_VIPGUARD_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_bash_is_told_the_commands_and_options() -> None:
    def complete(*words: str) -> list[str]:
        env = {"_VIPGUARD_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        argv = [sys.executable, "-P", "-c", "from vipguard.cli.main import main; main()"]
        done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=True, timeout=60)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("vipguard", "ev") == ["events"]
    assert "--stories" in complete("vipguard", "events", "--")


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command
    def command() -> None:
        click.echo(click.style("red", fg="red"), color=None)
        raise click.exceptions.Exit(int(click.get_current_context().color is False))

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: command)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main.run(["status"]) == 0
    monkeypatch.setenv("NO_COLOR", "1")
    assert main.run(["status"]) == 1
