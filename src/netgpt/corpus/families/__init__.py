"""The shelf of task families. A new family is a module with a `FAMILY` and a line here."""

from __future__ import annotations

from netgpt.corpus.families import alarms, arithmetic, intent, kpi
from netgpt.corpus.families.recall import recall_family
from netgpt.corpus.task import Family

FAMILIES: tuple[Family, ...] = (
    recall_family(name="terms", summary="3GPP and O-RAN abbreviations: expansion, abbreviation, role", file_name="terms.toml"),
    recall_family(name="parameters", summary="5QI, numerology, MCS, CQI, bands, resource grids, slice types", file_name="parameters.toml"),
    arithmetic.FAMILY,
    kpi.FAMILY,
    alarms.FAMILY,
    intent.FAMILY,
)
BY_NAME: dict[str, Family] = {family.name: family for family in FAMILIES}
