"""Asking a panel as its half in the browser does."""

from __future__ import annotations

from typing import Any

from strata.dashboard.panel import Panel


async def ask(one: Panel, what: str, **args: Any) -> Any:
    """The answer; it is not refused."""
    result, problem = await one._answer(what, args)
    assert problem is None, problem
    return result


async def refused(one: Panel, what: str, **args: Any) -> str:
    """Why it is refused."""
    result, problem = await one._answer(what, args)
    assert result is None
    assert problem is not None
    return problem
