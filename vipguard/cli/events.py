"""`vipguard events`: what happened on this node, when, and by which rule? The journal as a person reads it."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .app import App, pass_app

if TYPE_CHECKING:
    from vipguard.model.story import Story
    from vipguard.state.tail import Tail, Unread

POLL_S = 0.1
UNREAD_SHOWN = 3
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Entry = dict[str, Any]


class Moment(click.ParamType):
    """`2h` (ago), `10:00` (today), `2026-11-21`, `2026-11-21 10:00`, in local time. Its value is Unix time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        ago = re.findall(r"(\d+)([smhd])", text)
        try:
            if ago and "".join(map("".join, ago)) == text:
                return time.time() - sum(int(number) * _UNITS[unit] for number, unit in ago)
            if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?", text):
                text = f"{time.strftime('%Y-%m-%d')} {text.zfill(5) if len(text) < 5 else text}"
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is no time: write 2h for two hours ago, 10:00, or '2026-11-21 10:00'", param, ctx)


@click.command(name="events")
@click.option("--stories", "as_stories", is_flag=True, help="Each takeover, move, handback and rejoin as one story.")
@click.option("--rule", "patterns", multiple=True, metavar="NAME",
              help="Only this rule or event; a trailing * stands for any end. May be given several times.")  # fmt: skip
@click.option("--since", type=Moment(), metavar="TIME", help="Only from then on: 2h, 10:00, '2026-11-21 10:00'.")
@click.option("--until", type=Moment(), metavar="TIME", help="Only up to then.")
@click.option("-n", "--last", type=click.IntRange(1), metavar="N",
              help="Only the last N; of stories, a rejoin comes with the one before it.")  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--svg", metavar="FILE", help="Draw the last story, of those that are asked for, into FILE; - is stdout.")
@click.option("--mark", "marks", multiple=True, metavar="TIME=TEXT",
              help="A moment to draw that no journal knows, as Unix seconds. May be given several times.")  # fmt: skip
@click.option("--journal", "file", metavar="FILE",
              help="A journal copied from elsewhere, instead of this node's.")  # fmt: skip
@pass_app
def command(
    app: App, as_stories: bool, patterns: tuple[str, ...], since: float | None, until: float | None,
    last: int | None, follow: bool, as_json: bool, svg: str | None,
    marks: tuple[str, ...], file: str | None,
) -> int:  # fmt: skip
    """Show what happened on this node and why. Reads the journal itself: no agent is needed.

    Each node keeps its own journal: of a takeover, the new writer has the steps, the old one how it closed.

    \b
    For example:
      vipguard events --stories -n 1        the last takeover, trigger to loss
      vipguard events --since 2h
      vipguard events --rule 'takeover-*' --rule may-be-lost
      vipguard events --since '2026-11-21 10:00' --until 10:30
      vipguard events --follow --json
      vipguard events --since 10:00 --until 11:00 --svg failover.svg

    Exit codes: 0 told, also when nothing matches; 2 wrong usage or configuration; 3 the journal can't be read, or there
    is no story to draw.
    """
    from vipguard.state.tail import Tail

    if until is not None and follow:
        raise click.UsageError("--follow has no end: it does not go with --until.")
    if svg is not None and (follow or as_json):
        raise click.UsageError("--svg draws one story that is over: it goes neither with --follow nor with --json.")
    if marks and svg is None:
        raise click.UsageError("--mark is for the picture: it goes with --svg.")
    known = [_mark(text) for text in marks]
    node, path = "", file
    if path is None:
        policy = app.policy(secrets=False)
        node, path = policy.node, policy.paths.journal
    chosen = Chosen(patterns, since, until)
    tail = Tail(path)
    show = Shown(node, as_stories, as_json, chosen)
    try:
        if svg is not None:
            return _draw(tail, chosen, node, svg, known)
        return _run(tail, show, last, follow)
    except KeyboardInterrupt:
        if not follow:
            raise
        return 0
    finally:
        tail.close()


class Chosen:
    """Which entries and stories are asked for?"""

    def __init__(self, patterns: Sequence[str], since: float | None, until: float | None) -> None:
        self._patterns, self._since, self._until = patterns, since, until

    def at(self, at: float) -> bool:
        return (self._since is None or at >= self._since) and (self._until is None or at <= self._until)

    def named(self, names: Sequence[str] | frozenset[str]) -> bool:
        return not self._patterns or any(fnmatchcase(name, p) for p in self._patterns for name in names)

    def entry(self, entry: Entry) -> bool:
        return self.at(float(entry["at"])) and self.named((str(entry["what"]), str(entry.get("rule", ""))))

    def story(self, story: Story) -> bool:
        return self.at(story.at) and self.named(story.rules)


@dataclass(frozen=True, slots=True)
class Telling:
    """`say` prints it. `counts`: the last N are counted by these; the others come along."""

    say: Callable[[], None]
    counts: bool = True


def last_of(ready: Sequence[Telling], number: int) -> Sequence[Telling]:
    """From the Nth last that counts on; where none does, each does."""
    counted = [place for place, one in enumerate(ready) if one.counts] or list(range(len(ready)))
    return ready[counted[-number] :] if len(counted) >= number else ready


class Shown:
    """Turns entries into what is printed: one by one, or gathered into stories."""

    def __init__(self, node: str, as_stories: bool, as_json: bool, chosen: Chosen) -> None:
        from vipguard.model.story import Stories

        self._node, self._json, self._chosen = node, as_json, chosen
        self._stories = Stories() if as_stories else None
        self.count = 0

    def feed(self, entry: Entry) -> list[Telling]:
        """What is to be printed now that this entry is here."""
        self.count += 1
        if self._stories is None:
            return [Telling(lambda: self._entry(entry))] if self._chosen.entry(entry) else []
        return self._told(self._stories.feed(entry))

    def open(self) -> list[Telling]:
        """Stories without an end: they are told all the same when nothing more is to come."""
        return self._told(self._stories.open) if self._stories is not None else []

    def _told(self, stories: Sequence[Story]) -> list[Telling]:
        from vipguard.model.story import REJOIN

        def telling(story: Story) -> Telling:
            return Telling(lambda: self._story(story), story.kind != REJOIN)

        return [telling(story) for story in stories if self._chosen.story(story)]

    def _entry(self, entry: Entry) -> None:
        from .events_text import entry_text

        click.echo(json.dumps(entry) if self._json else entry_text(entry))

    def _story(self, story: Story) -> None:
        from vipguard.model.story import as_plain

        from .events_text import story_text

        click.echo(json.dumps(as_plain(story, self._node)) if self._json else story_text(story, self._node))


def _run(tail: Tail, show: Shown, last: int | None, follow: bool) -> int:
    entries, unread = _split(_poll(tail))
    if not follow:
        more, torn = _split(tail.leftover())
        entries, unread = entries + more, unread + torn
    ready = [told for entry in entries for told in show.feed(entry)]
    ready += [] if follow else show.open()
    for told in last_of(ready, last) if last else ready:
        told.say()
    _complain(unread)
    if not tail.there and not entries:
        word = "it is waited for" if follow else "an agent writes it when something happens: is this the right node?"
        click.echo(f"vipguard: there is no journal at {tail.path}; {word}", err=True)
        if not follow:
            return 3
    elif not ready and not follow:
        what = f"nothing of the {show.count} events in {tail.path} is what you asked for" if show.count else (
            f"the journal {tail.path} has no event yet")  # fmt: skip
        click.echo(f"vipguard: {what}", err=True)
    while follow:
        sys.stdout.flush()
        time.sleep(POLL_S)
        entries, unread = _split(_poll(tail))
        for entry in entries:
            for told in show.feed(entry):
                told.say()
        _complain(unread)
    return 0


def _mark(text: str) -> tuple[float, str]:
    at, equals, words = text.partition("=")
    try:
        if equals and math.isfinite(float(at)):
            return float(at), words
    except ValueError:
        pass
    raise click.UsageError(f"{text!r} is no mark: write the moment in Unix seconds, = and what it was.")


def _draw(tail: Tail, chosen: Chosen, node: str, file: str, marks: Sequence[tuple[float, str]]) -> int:
    """The last story, and not a rejoin unless there is nothing else: it goes on beside what matters more."""
    from vipguard.errors import CouldNotDo
    from vipguard.model.story import REJOIN, stories
    from vipguard.render.story_svg import Mark, story_svg
    from vipguard.render.story_text import headline

    entries, unread = _split([*_poll(tail), *tail.leftover()])
    found = [story for story in stories(entries) if chosen.story(story)]
    best = [story for story in found if story.kind != REJOIN] or found
    _complain(unread)
    if not best:
        raise CouldNotDo(f"no story in {tail.path} is what you asked for; nothing was drawn", refused=True)
    story, title = best[-1], headline(best[-1], node)
    picture = story_svg(story, node, title, [Mark(round((at - story.at) * 1000, 1), text) for at, text in marks])
    if file == "-":
        click.echo(picture, nl=False)
        return 0
    try:
        Path(file).write_text(picture, encoding="utf-8")
    except OSError as exc:
        raise CouldNotDo(f"cannot write {file}: {exc.strerror or exc}", refused=True) from exc
    click.echo(f"{file}: {title}")
    return 0


def _poll(tail: Tail) -> list[Entry | Unread]:
    from vipguard.errors import CouldNotLook

    try:
        return tail.poll()
    except OSError as exc:
        remedy = "run it as root" if isinstance(exc, PermissionError) else "see whether it is a file"
        raise CouldNotLook(f"cannot read the journal {tail.path}: {exc.strerror}; {remedy}") from exc


def _split(read: Sequence[Mapping[str, Any] | Unread]) -> tuple[list[Entry], list[Unread]]:
    entries = [dict(one) for one in read if isinstance(one, Mapping)]
    return entries, [one for one in read if not isinstance(one, Mapping)]


def _complain(unread: Sequence[Unread]) -> None:
    """On stderr: the entries stay what programs can read."""
    for line in _first(unread):
        click.echo(f"vipguard: {line}", err=True)


def _first(unread: Sequence[Unread]) -> Iterator[str]:
    for one in unread[:UNREAD_SHOWN]:
        yield f"{one}; everything else is shown"
    if len(unread) > UNREAD_SHOWN:
        yield f"{len(unread) - UNREAD_SHOWN} more lines are no entries either"
