"""Images and sounds in results, as the model APIs take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentd.core.tools import JSON, Media
from agentd.loop.results import told
from agentd.loop.wire import Block, Frame


def response_output(block: Block, inline: bool) -> JSON:
    """Return the output of a Responses call: text, or with `inline` text and images."""
    images = _images([block]) if inline else []
    if not images:
        return told(block)
    parts: list[JSON] = [{"type": "input_text", "text": told(block)}]
    return parts + _shown(images)


def response_message(blocks: Sequence[Block]) -> Frame | None:
    """Return the message that shows the images of results that could not hold them."""
    images = _images(blocks)
    if not images:
        return None
    parts: list[JSON] = [{"type": "input_text", "text": _caption(blocks)}]
    return {"role": "user", "content": parts + _shown(images)}


def chat_message(blocks: Sequence[Block]) -> Frame | None:
    """Return the message that shows the images and sounds of results, whose own messages hold text only."""
    parts: list[JSON] = [{"type": "text", "text": _caption(blocks)}]
    for media in _media(blocks):
        if media.kind == "image":
            parts.append({"type": "image_url", "image_url": {"url": _url(media)}})
        else:
            sound: Frame = {"data": media.data, "format": _format(media)}
            parts.append({"type": "input_audio", "input_audio": sound})
    return {"role": "user", "content": parts} if len(parts) > 1 else None


def _shown(images: Iterable[Media]) -> list[JSON]:
    return [{"type": "input_image", "image_url": _url(image), "detail": "auto"} for image in images]


def _caption(blocks: Sequence[Block]) -> str:
    names = [block.called.name for block in blocks if block.called and block.answer and block.answer.media]
    return f"What {', '.join(names)} gave, in order:"


def _media(blocks: Iterable[Block]) -> list[Media]:
    return [media for block in blocks if block.answer is not None for media in block.answer.media]


def _images(blocks: Iterable[Block]) -> list[Media]:
    return [media for media in _media(blocks) if media.kind == "image"]


def _url(media: Media) -> str:
    return f"data:{media.mime_type};base64,{media.data}"


def _format(media: Media) -> str:
    kind = media.mime_type.partition(";")[0].rpartition("/")[2].removeprefix("x-")
    return "mp3" if kind == "mpeg" else kind
