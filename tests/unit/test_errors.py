from __future__ import annotations

import pytest

from strata import errors
from strata.errors import StrataError


def tree(kind: type[StrataError] = StrataError) -> list[type[StrataError]]:
    below = [each for child in kind.__subclasses__() for each in tree(child)]
    return [each for each in (kind, *below) if each.__module__ == errors.__name__]


def drawn() -> dict[str, str]:
    """Each class of the picture in the module's docstring, with the one above it."""
    assert errors.__doc__ is not None
    parents: list[tuple[int, str]] = []
    found: dict[str, str] = {}
    for line in errors.__doc__.splitlines():
        name = line.replace("|", " ").replace("+--", "   ").strip().partition(" ")[0]
        if not isinstance(getattr(errors, name, None), type):
            continue
        indent = line.index(name)
        while parents and parents[-1][0] >= indent:
            parents.pop()
        found[name] = parents[-1][1] if parents else "Exception"
        parents.append((indent, name))
    return found


def test_the_picture_shows_the_tree_as_it_is() -> None:
    assert drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in tree()}


def test_codes_are_each_ones_own() -> None:
    codes = [kind.code for kind in tree()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", tree())
def test_codes_are_words_for_programs(kind: type[StrataError]) -> None:
    assert kind.code.isascii()
    assert kind.code.replace("_", "").islower()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.StrataError, 70),
        (errors.BadArguments, 2),
        (errors.BadUrl, 2),
        (errors.AddressRefused, 2),
        (errors.Conflict, 2),
        (errors.PortTaken, 3),
        (errors.PartMissing, 4),
        (errors.WorkerFailed, 70),
    ],
)
def test_exit_statuses(kind: type[StrataError], status: int) -> None:
    assert kind.exit_status == status


@pytest.mark.parametrize("kind", tree(errors.OperatorError))
def test_what_was_asked_wrongly_is_not_mended_by_asking_again(kind: type[StrataError]) -> None:
    assert not kind.can_retry or kind is errors.TooManyTries  # by waiting alone


@pytest.mark.parametrize(
    "kind",
    [
        errors.DestinationUnreachable,
        errors.DestinationRefused,
        errors.TooSlow,
        errors.PortTaken,
        errors.NoCapacity,
        errors.HostUnreachable,
        errors.WorkerFailed,
    ],
)
def test_what_may_pass_can_be_tried_again(kind: type[StrataError]) -> None:
    assert kind.can_retry


@pytest.mark.parametrize(
    "kind", [errors.PartMissing, errors.CertificateRefused, errors.DiskFull, errors.OverCap]
)
def test_what_somebody_must_mend_is_not_tried_again(kind: type[StrataError]) -> None:
    assert not kind.can_retry


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.CertificateRefused, "certificate"),
        (errors.DiskFull, "disk_full"),
        (errors.TooSlow, "too_slow"),
        (errors.OverCap, "over_cap"),
    ],
)
def test_the_end_of_a_forward_has_a_code_that_programs_know(
    kind: type[StrataError], code: str
) -> None:
    assert issubclass(kind, errors.DestinationError)
    assert kind("it ended").message == "it ended"
    assert kind().message == kind.code == code


def test_the_message_is_what_was_said() -> None:
    assert errors.NotFound("there is no stream").message == "there is no stream"
    assert errors.NotFound().message == "not_found"


def test_a_taken_port_says_which_and_what_to_do() -> None:
    error = errors.PortTaken(15002)
    assert error.port == 15002
    assert "UDP port 15002 is held by another program" in error.message
    assert "ss -ulpn 'sport = :15002'" in error.message
