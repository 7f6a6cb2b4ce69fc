"""Nodes that ask an OpenAI-compatible server: from the scenario's words to an engine in the door's own process.

The key comes from the environment of the process that asks. It stands in no file, and the scenario and the
process's configuration hold the variable's name alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from netgpt.core.clock import Clock
from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.core.units import parse_duration_s
from netgpt.engine.openai_engine import OpenAIEngine
from netgpt.engine.openai_http import parse_base_url
from netgpt.engine.openai_request import Upstream
from netgpt.network.scenario import NodeSpec, Scenario
from netgpt.world.config import LOOPBACK, DoorConfig, UpstreamConfig


def check_upstreams(scenario: Scenario, environment: Mapping[str, str]) -> None:
    """Refuse upstreams that cannot be asked. Whether they answer is for their nodes to find out.

    Raises:
        ScenarioInvalid: a URL is none.
        UsageError: a key's variable is not set.
    """
    for node in scenario.nodes:
        if node.asks_upstream:
            try:
                parse_base_url(node.upstream)
            except UsageError as error:
                raise ScenarioInvalid(f"node {node.id!r}: {error.message}", hint=error.hint) from error
            read_key(node.api_key_env, environment)


def check_upstream(node: NodeSpec, environment: Mapping[str, str]) -> None:
    """Refuse the upstream of a node that a command line describes.

    Raises:
        UsageError: no model is named, the URL is none, or the key's variable is not set.
    """
    if not node.model:
        raise UsageError(f"which model of {node.upstream!r} is this node to ask?", hint="name it as the server lists it: --model NAME", param="model")
    parse_base_url(node.upstream)
    read_key(node.api_key_env, environment)


def read_key(variable: str, environment: Mapping[str, str]) -> str:
    """The key in `variable`; none if no variable is named."""
    if not variable:
        return ""
    if not environment.get(variable):
        raise UsageError(f"the environment variable {variable!r} is not set", hint=f"export {variable}=... first", param="api_key_env")
    return environment[variable]


def upstream_config(node: NodeSpec, *, port: int, network_key_file: str, host: str = LOOPBACK) -> UpstreamConfig:
    """What the node's door is told of its upstream, and where other doors are to ask it."""
    return UpstreamConfig(
        url=node.upstream,
        model=node.model,
        api_key_env=node.api_key_env,
        connect_s=parse_duration_s(node.connect_timeout),
        first_token_s=parse_duration_s(node.first_token_timeout),
        next_token_s=parse_duration_s(node.next_token_timeout),
        retries=node.retries,
        slots=node.slots,
        parameters=node.parameters,
        context_tokens=node.context_tokens,
        quality=node.quality,
        price_prompt=node.price_prompt,
        price_answer=node.price_answer,
        port=port,
        network_key_file=network_key_file,
        host=host,
        cache_entries=node.cache_entries,
    )


def upstream_engine(config: DoorConfig, told: UpstreamConfig, clock: Clock, environment: Mapping[str, str]) -> OpenAIEngine:
    """The engine of the node, not yet started."""
    upstream = Upstream(
        url=told.url,
        model=told.model,
        connect_s=told.connect_s,
        first_token_s=told.first_token_s,
        next_token_s=told.next_token_s,
        retries=told.retries,
    )
    return OpenAIEngine(
        upstream,
        clock,
        key=read_key(told.api_key_env, environment),
        tier=config.tier,
        parameters=told.parameters,
        context_tokens=told.context_tokens,
        slots=told.slots,
    )
