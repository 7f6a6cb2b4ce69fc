"""The shelf of task families. A new family is a module with a `FAMILY`, its wordings, and a line here and in `mix.toml`."""

from __future__ import annotations

from netgpt.corpus.families import (
    alarms,
    arithmetic,
    book,
    config,
    enrich,
    explain,
    handover,
    intent,
    kpi,
    logs,
    priority,
    recall,
    reverse,
    route,
    state,
    tickets,
    timing,
    tools,
    unanswerable,
    views,
)
from netgpt.corpus.task import Family

FAMILIES: tuple[Family, ...] = (
    recall.TERMS,
    recall.PARAMETERS,
    book.FAMILY,
    route.FAMILY,
    reverse.FAMILY,
    arithmetic.FAMILY,
    kpi.FAMILY,
    logs.FAMILY,
    alarms.FAMILY,
    intent.FAMILY,
    config.FAMILY,
    tools.FAMILY,
    tickets.FAMILY,
    enrich.FAMILY,
    state.FAMILY,
    views.FAMILY,
    explain.FAMILY,
    unanswerable.FAMILY,
)
RESERVED: tuple[Family, ...] = (handover.FAMILY, timing.FAMILY, priority.FAMILY)  # never pretrained: what a network learns later
BY_NAME: dict[str, Family] = {family.name: family for family in (*FAMILIES, *RESERVED)}
