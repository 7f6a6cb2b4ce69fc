"""Which nodes may answer a model name, best first: a pure function of what the door knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from netgpt.core.chance import digest64
from netgpt.core.errors import ModelNotFound, NodeUnreachable, NotSupported, PrivacyRefused
from netgpt.core.spelling import did_you_mean
from netgpt.models.grammar import Grammar
from netgpt.network.member import Member, may_ask
from netgpt.node.session import PRIVACY_LEVELS, may_see_content

AUTO, CASCADE, ROUTE = "auto", "cascade", "route"
TIER_OF_MODEL = {"netgpt-device": "device", "netgpt-edge": "edge", "netgpt-cloud": "cloud"}
PENALTIES, PENALTIES_SINCE = ("presence_penalty", "frequency_penalty", "logit_bias"), 2  # and the protocol version that brought them
MODEL_NAMES = (*TIER_OF_MODEL, AUTO, CASCADE, ROUTE)


def serving_nodes(model: str, members: Sequence[Member], *, entry: Member, privacy: str, needs: Collection[str] = ()) -> list[Member]:
    """Members that may answer `model` for a request that entered at `entry`, best first.

    A tier's name is answered by that tier alone; `auto` by the largest model that is up, then the next
    smaller; `cascade` by the smallest, then the next larger, and `route` chooses among them in that order. A device's own model answers for
    its own user only: another device is never asked from a device's door. Among equals the least loaded goes first, then the name decides.

    Args:
        needs: capabilities that the request asks for; a node that states not to have one is left out.

    Raises:
        ModelNotFound: no such model name.
        PrivacyRefused: the name's tier may not see content of this privacy level, or none is up that may, while others are.
        NodeUnreachable: no node that could answer is up.
        NotSupported: none of those that are up has what the request needs.
    """
    if model not in MODEL_NAMES:
        raise ModelNotFound(f"no model {model!r}", hint=did_you_mean(model, MODEL_NAMES), param="model")
    tier = TIER_OF_MODEL.get(model)
    if tier is not None and not may_see_content(privacy, tier):
        raise _forbidden(model, tier, privacy)
    able = [member for member in members if _may_serve(member, tier, entry, privacy)]
    up = [member for member in able if member.state == "ready"]
    if not up:
        _refuse_forbidden(members, tier, entry, privacy)
        raise NodeUnreachable(f"no node that serves {model!r} is up", hint="see which nodes are up: netgpt ps", param="model")
    fit = [member for member in up if not set(needs) & _lacks(member)]
    if not fit:
        lacking = next(name for name in sorted(needs) if any(name in _lacks(member) for member in up))
        named = ", ".join(repr(member.id) for member in up)
        raise NotSupported(
            f"no node that serves {model!r} gives {lacking}: {named} cannot", hint=f"leave out {lacking}, or ask another model", param=lacking
        )
    return sorted(fit, key=lambda member: _preference(member, entry, smallest_first=model in (CASCADE, ROUTE)))


def _forbidden(model: str, tier: str, privacy: str) -> PrivacyRefused:
    """A tier is named that may not see the content: the refusal names the nearest that may, and the level that would do."""
    nearest = max((name for name, other in TIER_OF_MODEL.items() if may_see_content(privacy, other)), key=list(TIER_OF_MODEL).index)
    level = next(level for level in PRIVACY_LEVELS if may_see_content(level, tier))
    hint = f"ask {nearest!r} or {AUTO!r}, or raise the privacy level to {level!r}"
    return PrivacyRefused(f"model {model!r} runs in the {tier}, which {privacy!r} forbids", hint=hint, param="privacy")


def _refuse_forbidden(members: Sequence[Member], tier: str | None, entry: Member, privacy: str) -> None:
    """Where nodes are up that only the privacy level forbids: name the nearest, and the level that admits it."""
    forbidden = [member for member in members if member.state == "ready" and _may_serve(member, tier, entry, PRIVACY_LEVELS[-1])]
    if not forbidden:
        return
    level, nearest = min(
        ((next(level for level in PRIVACY_LEVELS[1:] if may_see_content(level, member.tier)), member) for member in forbidden),
        key=lambda found: (PRIVACY_LEVELS.index(found[0]), found[1].id),
    )
    raise PrivacyRefused(
        f"no node is up that may see {privacy!r} content; the nearest that could answer is {nearest.id!r} ({nearest.tier})",
        hint=f"raise the privacy level to {level!r}, or wait for a node: netgpt ps",
        param="privacy",
    )


def check_one_tokenizer(nodes: Sequence[Member], *, model: str, param: str) -> None:
    """Refuse token ids of the client's where the nodes that may answer number tokens differently.

    Raises:
        NotSupported: their tokenizers differ.
    """
    if len({node.tokenizer for node in nodes}) > 1:
        named = ", ".join(repr(node.id) for node in nodes)
        hint = "name a tier's model instead, or leave it out"
        raise NotSupported(f"{param} means tokens of one tokenizer, and {model!r} is served with several: {named}", hint=hint, param=param)


def able_nodes(nodes: Sequence[Member], grammar: Grammar | None) -> Sequence[Member]:
    """Those of `nodes` that can hold an answer to `grammar`, in their order; without a grammar all of them.

    Raises:
        NotSupported: none can.
    """
    able = nodes if grammar is None else [node for node in nodes if node.grammar]
    if grammar is not None and not able:
        names = ", ".join(sorted({node.model for node in nodes}))
        raise NotSupported(f"{names} cannot hold an answer to a schema", hint="ask another model, or leave it out", param=grammar.param)
    return able


def native_nodes(nodes: Sequence[Member], tokenizer: str, *, param: str) -> list[Member]:
    """Those of `nodes` whose tokenizer is the door's, for what travels as ids alone.

    Raises:
        NotSupported: none is.
    """
    native = [node for node in nodes if node.tokenizer == tokenizer]
    if not native:
        names = ", ".join(sorted({node.model for node in nodes}))
        hint = "ask a model of this door's tokenizer, or ask at the model's own node; conversations are answered by any"
        raise NotSupported(f"{names} has another tokenizer than this door, which can hand on conversations only", hint=hint, param=param)
    return native


def keeping_node(members: Sequence[Member], *, entry: Member, privacy: str, scope: str) -> Member | None:
    """The member that keeps the answers of a scope, for a request that entered at `entry`: its own node, or the same one for all doors.

    Which one that is follows from the names alone (rendezvous hashing), so that doors agree without talking; None: nobody who is up keeps any.
    """
    able = [member for member in members if member.keeps and member.state == "ready" and _may_serve(member, None, entry, privacy)]
    own = next((member for member in able if member.id == entry.id), None)
    return own or max(able, key=lambda member: digest64("keeps", scope, member.id), default=None)


def _lacks(member: Member) -> set[str]:
    """What a node cannot give: what it states, and what its release does not know."""
    return {*member.lacks, *(() if member.protocol_version >= PENALTIES_SINCE else PENALTIES)}


def _may_serve(member: Member, tier: str | None, entry: Member, privacy: str) -> bool:
    if tier is not None and member.tier != tier:
        return False
    if member.id == entry.id:
        return True  # the content is there already
    return may_ask(entry.tier, member.tier) and may_see_content(privacy, member.tier) and privacy != "device-only"


def _preference(member: Member, entry: Member, *, smallest_first: bool) -> tuple[int, bool, float, str]:
    load = (member.running + member.waiting) / max(member.slots, 1)
    return (member.parameters if smallest_first else -member.parameters, member.id != entry.id, load, member.id)
