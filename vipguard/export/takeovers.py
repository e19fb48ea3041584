"""What were the last takeovers? Each with its picture on a line of time, and the same as a table."""

from __future__ import annotations

from typing import Any

from ..model.story import REJOIN, Story, from_plain
from ..render import story_text as words
from ..render.palette import xml
from ..render.story_svg import NARROW, WIDE, story_part

_SIGNS = {"good": "✓", "odd": "!", "bad": "✕"}


def takeovers(told: list[Any] | str, node: str) -> str:
    """Newest first, the newest one open. `told` are stories by `as_plain`, or why there are none."""
    heading = f'<h2 id="h-stories">Last takeovers and moves on {xml(node)}</h2>\n'
    if isinstance(told, str):
        return f'{heading}<p class="card">Not seen: {xml(told)}</p>'
    stories = []
    for plain in told:
        try:
            stories.append(from_plain(plain))
        except ValueError:  # an agent of another version
            continue
    stories.sort(key=lambda story: story.at, reverse=True)
    if not stories:
        return f'{heading}<p class="card">None is in the end of this node\'s journal. Each node tells of its own.</p>'
    best = next((story for story in stories if story.steps and story.kind != REJOIN), stories[0])
    return heading + "".join(_story(story, node, story is best) for story in stories)


def _story(story: Story, node: str, is_open: bool) -> str:
    name = f"story-{int(story.at * 1000)}-{story.kind}"
    title = words.headline(story, node)
    tone = words.result_tone(story)
    rows = [("trigger", words.trigger(story), "")]
    rows += [(words.ms(step.after_ms), words.step(step), "" if step.level == "info" else "odd") for step in story.steps]
    rows.append(("result", words.result(story), tone))
    if (lost := words.loss(story)) is not None:
        rows.append(("loss", lost[0], lost[1]))
        if story.lost_gtids:
            rows.append(("GTIDs", story.lost_gtids, lost[1]))
    body = "".join(
        f'<tr role="row"><th role="rowheader" scope="row">{xml(label)}</th>'
        f'<td role="cell" class="{kind}">{_sign(kind)}{xml(text)}</td></tr>'
        for label, text, kind in rows
    )
    pictures = "".join(
        f'<div class="{kind}">{story_part(story, title, shape, f"{name}-{kind}")}</div>'
        for kind, shape in (("wide", WIDE), ("narrow", NARROW))
    ) if story.steps else ""  # fmt: skip
    return (
        f'<details id="{name}" class="card takeover"{" open" if is_open else ""}><summary id="s-{name}">'
        f'<span class="sign {tone}" aria-hidden="true">{_SIGNS[tone]}</span> '
        f'<time>{words.clock(story.at)[:-4]}</time> {xml(title)}</summary>'
        f'<div class="picture">{pictures}</div><table role="table" class="steps"><caption>The same in words</caption>'
        f'<tbody role="rowgroup">{body}</tbody></table></details>\n'
    )


def _sign(kind: str) -> str:
    return f'<span aria-hidden="true">{_SIGNS[kind]}</span> ' if kind else ""
