"""Every error that Strata raises on purpose, by whose fault it is.

    StrataError
    +-- OperatorError              what a person or a program asked for cannot be done
    |   +-- BadArguments           a command line, or a file of settings
    |   +-- BadUrl                 a forward URL, or the address of a source
    |   +-- AddressRefused         a forward URL that points into the machine's own network
    |   +-- NotAllowed             no login, a wrong login, or another user's stream
    |   +-- NotFound
    |   +-- Conflict               not in the state that the thing is in
    |   |   +-- NoPicture          nothing is on the air that could be shown
    |   |   +-- SenderBusy         it sends another stream
    |   |   +-- SenderOffline      nobody can be told to do anything there
    |   |   +-- SenderRefused      it was told, and said no
    |   +-- TooManyTries           wait a moment: somebody may be guessing
    +-- SenderError                the media from the field cannot be used
    |   +-- UnsupportedMedia       a codec that the container of a forward cannot carry
    |   +-- SourceUnavailable      a camera, a file or an address gives no picture
    +-- DestinationError           the other end of a forward
    |   +-- DestinationUnreachable
    |   +-- DestinationRefused
    |   +-- CertificateRefused     ours of theirs: nothing is sent to who cannot prove its name
    |   +-- DiskFull
    |   +-- TooSlow                it takes media, but less than there is
    |   +-- OverCap                the stream does not fit the egress cap so many times
    +-- ClientError                what the command line hears of a platform
    |   +-- PlatformRefused        it said no, and why
    |   +-- PlatformUnreachable    nobody answers there, or somebody else does
    |   +-- NotLoggedIn
    +-- HostError                  this machine
        +-- PortTaken
        +-- PartMissing            something that should be installed is not
        +-- NoCapacity             no port, or no host, is free
        +-- HostUnreachable        control and host have lost each other
        +-- StoreUnavailable       the database does not answer
        +-- WorkerFailed           a worker that did not start or died
        +-- EncoderUnavailable     nothing here can encode the picture
        +-- SlateUnavailable       nothing can be shown while media is missing
        +-- PictureUnavailable     what is on the air cannot be shown here

A message says what happened, what it means and what to do, and never carries a secret.
``code`` is stable and meant for programs; ``can_retry`` tells whether the same request
may work later without anyone changing anything.
"""

from __future__ import annotations

from typing import ClassVar


class StrataError(Exception):
    """Base of the tree. ``exit_status`` is what a command ends with (``EX_SOFTWARE``: ours)."""

    code: ClassVar[str] = "internal"
    can_retry: ClassVar[bool] = False
    exit_status: ClassVar[int] = 70

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else self.code


class OperatorError(StrataError):
    code = "bad_request"
    exit_status = 2


class BadArguments(OperatorError):
    code = "bad_arguments"


class BadUrl(OperatorError):
    code = "bad_url"


class AddressRefused(OperatorError):
    code = "address_refused"


class NotAllowed(OperatorError):
    code = "not_allowed"


class NotFound(OperatorError):
    code = "not_found"


class Conflict(OperatorError):
    code = "conflict"


class NoPicture(Conflict):
    code = "no_picture"


class SenderBusy(Conflict):
    code = "sender_busy"


class SenderOffline(Conflict):
    code = "sender_offline"


class SenderRefused(Conflict):
    code = "sender_refused"


class TooManyTries(OperatorError):
    """``wait_s``: how long until another is looked at."""

    code = "too_many_tries"
    can_retry = True

    wait_s: float = 1.0

    def __init__(self, message: str, wait_s: float = wait_s) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class SenderError(StrataError):
    code = "sender"


class UnsupportedMedia(SenderError):
    code = "unsupported_media"


class SourceUnavailable(SenderError):
    code = "source"
    can_retry = True


class DestinationError(StrataError):
    code = "destination"
    can_retry = True


class DestinationUnreachable(DestinationError):
    code = "unreachable"


class DestinationRefused(DestinationError):
    code = "refused"


class CertificateRefused(DestinationError):
    code = "certificate"
    can_retry = False


class DiskFull(DestinationError):
    code = "disk_full"
    can_retry = False


class TooSlow(DestinationError):
    code = "too_slow"


class OverCap(DestinationError):
    code = "over_cap"
    can_retry = False


class ClientError(StrataError):
    code = "client"
    exit_status = 1


class PlatformRefused(ClientError):
    code = "platform_refused"


class PlatformUnreachable(ClientError):
    code = "platform_unreachable"
    can_retry = True
    exit_status = 3


class NotLoggedIn(ClientError):
    code = "not_logged_in"
    exit_status = 3


class HostError(StrataError):
    code = "host"


class PortTaken(HostError):
    code = "port_taken"
    can_retry = True
    exit_status = 3

    def __init__(self, port: int) -> None:
        super().__init__(
            f"UDP port {port} is held by another program, so no sender could be received on it; "
            f"end that program (see: ss -ulpn 'sport = :{port}') or choose another port"
        )
        self.port = port


class PartMissing(HostError):
    code = "part_missing"
    exit_status = 4


class NoCapacity(HostError):
    code = "no_capacity"
    can_retry = True


class HostUnreachable(HostError):
    code = "host_unreachable"
    can_retry = True


class StoreUnavailable(HostError):
    code = "database_unavailable"
    can_retry = True


class WorkerFailed(HostError):
    code = "worker_failed"
    can_retry = True


class EncoderUnavailable(HostError):
    code = "encoder"


class SlateUnavailable(HostError):
    code = "slate_unavailable"


class PictureUnavailable(HostError):
    code = "picture_unavailable"
    can_retry = True
