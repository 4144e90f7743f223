"""The URL of a destination: what a person writes, and the key that they are given. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from strata.errors import BadUrl
from strata.secrets import REDACTED, redact_url
from strata.wire import forward_url

PLACEHOLDER: Final = "{key}"

AS_GIVEN: Final = "/?&=:@!$'()*+,;~%"
"""What the key of an RTMP server may hold beside letters and digits. Facebook's has options of
its own (``FB-1-0-Abc?s_bl=1``): it goes to the server as it was given, as encoders do it."""

_PROBE: Final = "0probe0of0the0place0of0the0key0"


@dataclass(frozen=True, slots=True)
class DestinationUrl:
    """
    Attributes:
        template: the URL as it was written; ``{key}`` in it is where the key goes.
        key: None where it needs none, or stands in the URL itself.
    """

    template: str = field(repr=False)
    key: str | None = field(default=None, repr=False)

    @property
    def whole(self) -> str:
        """The forward URL."""
        return _fill(self.template, self.key)

    @property
    def shown(self) -> str:
        """As it may be shown."""
        return redact_url(self.whole)

    def changed(self, template: str, key: str | None) -> DestinationUrl:
        """After an edit.

        Args:
            key: None: the one there is goes on where the new URL has a place for it. The URL as
                it is shown means the one there is.
        """
        if template == self.shown:
            template = self.template
            if self.key is None and key is not None:
                raise BadUrl(
                    f"{self.shown} has its key in it, so it is not known where another goes; "
                    "write the URL anew, without the key"
                )
        if key is None and self.key is not None and _takes_key(template, self.template):
            key = self.key
        return made(template, key)


def made(template: str, key: str | None) -> DestinationUrl:
    """The URL of a destination that people have given.

    Raises:
        BadUrl: it is none, or there is no place for the key, or it would be shown there.
    """
    found = DestinationUrl(template, key)
    if REDACTED in template:
        raise BadUrl("the URL holds **** in the place of its key; write the key itself")
    if key is None and PLACEHOLDER in template:
        raise BadUrl(f"{_shown(template)} has a place for a key; give the key, too")
    if key is not None:
        _check_key(key)
        if PLACEHOLDER not in template and not _is_rtmp(template):
            raise BadUrl(
                f"{_shown(template)} has no place for the key; write {{key}} into the URL where "
                "it belongs, such as srt://host:port?passphrase={key}"
            )
        if _PROBE in redact_url(_fill(template, _PROBE)):
            raise BadUrl(
                "the key would be shown where {key} stands; only the end of the path and what "
                "follows the question mark are hidden"
            )
    forward_url.parse(found.whole)
    return found


def _takes_key(template: str, before: str) -> bool:
    if PLACEHOLDER in template:
        return True
    # One segment more than before holds a new key.
    return _is_rtmp(template) and _is_rtmp(before) and _depth(template) <= _depth(before)


def _depth(url: str) -> int:
    return len([each for each in urlsplit(url).path.split("/") if each and each != PLACEHOLDER])


def _fill(template: str, key: str | None) -> str:
    if key is None:
        return template
    if not _is_rtmp(template):
        return template.replace(PLACEHOLDER, quote(key, safe=""))
    key = quote(key, safe=AS_GIVEN)
    if PLACEHOLDER in template:
        return template.replace(PLACEHOLDER, key)
    path, mark, query = template.partition("?")
    return f"{path.rstrip('/')}/{key.lstrip('/')}{mark}{query}"


def _is_rtmp(url: str) -> bool:
    return url.startswith(("rtmp://", "rtmps://"))


def _check_key(key: str) -> None:
    if not key.strip("/") or not key.isprintable() or " " in key or "#" in key:
        raise BadUrl("the key holds blanks or characters that no key has; copy it once more")


def _shown(template: str) -> str:
    shown = redact_url(template.replace(PLACEHOLDER, _PROBE))
    return "the URL" if shown == REDACTED else shown
