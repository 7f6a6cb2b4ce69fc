"""Every setting: its name, type, default and meaning; and which of four places its value comes from.

Default < scenario < environment (`NETGPT_...`) < flag. The table `SETTINGS` is the whole list;
`docs/reference/settings.md` and `netgpt config show` are made from it. Reads neither files nor
`os.environ`: the layers are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean

PREFIX = "NETGPT_"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting. `parse` makes its value from text and raises ValueError for a wrong one."""

    name: str
    kind: str  # for people: "path", "number", ...
    default: Any
    help: str
    parse: Callable[[str], Any] = str
    in_scenario: bool = False  # whether a scenario file can set it
    secret: bool = False  # never shown, and no flag: command lines are public on a machine

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A setting's value and where it comes from: `default`, `scenario`, a variable's name, or a flag."""

    setting: Setting
    value: Any
    origin: str


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not lowest <= number <= highest:
            raise ValueError
        return number

    return parse


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return parse


def _printable(text: str) -> str:
    if not text.isascii() or not (text.isprintable() or not text):
        raise ValueError
    return text.strip()


def _host(text: str) -> str:
    """An address as sockets take it: `[::1]`, as in a URL, is `::1`."""
    return text.removeprefix("[").removesuffix("]")


def _path(text: str) -> Path:
    if not text:
        raise ValueError
    return Path(text).expanduser().absolute()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="home",
        kind="path",
        default=None,  # the platform's: `default_home`
        parse=_path,
        help="where NetGPT keeps its state, logs, keys and models; by default netgpt/ in XDG_DATA_HOME, that is in ~/.local/share",
    ),
    Setting(
        name="scenario",
        kind="name or path",
        default="campus",
        help="the network that netgpt up starts: a shipped scenario or a .toml file",
    ),
    Setting(
        name="port",
        kind="0 to 65535",
        default=8080,
        parse=_whole(0, 65535),
        help="the default node's door; the other doors and the controller take the next ports; 0: any free ones",
    ),
    Setting(
        name="host",
        kind="address",
        default="127.0.0.1",
        parse=_host,
        help="the address at which doors and the controller's HTTP API listen; any but loopback needs an API key: netgpt keys create",
    ),
    Setting(
        name="allowed_hosts",
        kind="names",
        default="",
        help="more names, separated by commas, that web pages and clients may use for this machine in Host and Origin",
    ),
    Setting(
        name="api_key",
        kind="key",
        default="",
        parse=_printable,
        secret=True,
        help="the API key that ask, chat and models show to a door; by default this home's own, for its own network",
    ),
    Setting(
        name="engine",
        kind="torch or hash",
        default="torch",
        parse=_one_of("torch", "hash"),
        help="what runs the models; hash is a language model without weights, for tests; for a server's see netgpt node --upstream",
    ),
    Setting(
        name="dtype",
        kind="float32 or bfloat16",
        default="float32",
        parse=_one_of("float32", "bfloat16"),
        help="number format of weights and arithmetic",
    ),
    Setting(
        name="timing",
        kind="real or declared",
        default="real",
        parse=_one_of("real", "declared"),
        help="real: as fast as this machine; declared: no faster than the scenario's hardware profiles",
    ),
    Setting(
        name="threads",
        kind="0 to 1024",
        default=0,
        parse=_whole(0, 1024),
        help="threads of each engine; 0: as many as the machine has cores, at most 4",
    ),
    Setting(
        name="models",
        kind="paths",
        default="",
        help="more folders with model folders, separated as in PATH; they are searched first",
    ),
    Setting(
        name="models_url",
        kind="URL or folder",
        default="",
        help="where netgpt models fetch finds the released models; empty: where this package's makers publish them",
    ),
    Setting(
        name="default_node",
        kind="node",
        default="",
        in_scenario=True,
        help="the node at whose door users enter unless they name another; empty: the scenario's own default_node",
    ),
    Setting(
        name="agreement",
        kind="0 to 1",
        default=0.8,
        parse=_share,
        in_scenario=True,
        help="how often hash models of neighbouring tiers agree on a token",
    ),
    Setting(
        name="tls",
        kind="off or on",
        default="off",
        parse=_one_of("off", "on"),
        help="whether the processes of netgpt up speak mutual TLS, as those of netgpt controller and netgpt node always do",
    ),
    Setting(
        name="links",
        kind="off, stream or packet",
        default="off",
        parse=_one_of("off", "stream", "packet"),
        help="whether netgpt up shapes the links between nodes: stream needs no privilege, packet carries IP between network namespaces",
    ),
    Setting(
        name="policy",
        kind="name",
        default="",
        help="what chooses who answers for the model auto: a policy that an installed package offers, or MODULE:NAME; empty: NetGPT's own weights",
    ),
    Setting(
        name="until_pid",
        kind="0 to 4194304",
        default=0,
        parse=_whole(0, 1 << 22),
        help="what up, node and controller start stops when the process with this id ends, as a script wants that may be killed; 0: when told to",
    ),
    Setting(
        name="wire_version",
        kind="1 or 2",
        default=2,
        parse=_whole(1, 2),
        help="the protocol version that this machine's nodes speak; 1: what the release before speaks, to rehearse an upgrade",
    ),
)

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}


def default_home(environment: Mapping[str, str]) -> Path:
    """The platform's folder for an application's data."""
    base = environment.get("XDG_DATA_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path("~/.local/share").expanduser()) / "netgpt"


def resolve_settings(*, environment: Mapping[str, str], flags: Mapping[str, Any], scenario: Mapping[str, Any] | None = None) -> dict[str, Resolved]:
    """Every setting with its value and origin, in the table's order.

    Args:
        environment: as `os.environ`; only names that begin with NETGPT_ (and XDG_DATA_HOME) matter.
        flags: values by setting name; None means not given, other names are not settings and pass.
        scenario: what the scenario file sets.

    Raises:
        UsageError: an unknown NETGPT_ variable, or a value that a setting does not take.
    """
    _check_variables(environment)
    return {setting.name: _resolve(setting, environment, flags, scenario or {}) for setting in SETTINGS}


def _resolve(setting: Setting, environment: Mapping[str, str], flags: Mapping[str, Any], scenario: Mapping[str, Any]) -> Resolved:
    flag = flags.get(setting.name)
    if flag is not None:
        return Resolved(setting=setting, value=_parsed(setting, str(flag), setting.flag), origin=setting.flag)
    if setting.variable in environment:
        return Resolved(setting=setting, value=_parsed(setting, environment[setting.variable], setting.variable), origin=setting.variable)
    if setting.in_scenario and setting.name in scenario:
        return Resolved(setting=setting, value=scenario[setting.name], origin="scenario")
    value = default_home(environment) if setting.name == "home" else setting.default
    return Resolved(setting=setting, value=value, origin="default")


def _parsed(setting: Setting, text: str, origin: str) -> Any:
    try:
        return setting.parse(text)
    except ValueError:
        raise UsageError(
            f"{origin} is {'not one' if setting.secret else repr(text)}", hint=f"give {setting.kind}: {setting.help}", param=setting.name
        ) from None


def _check_variables(environment: Mapping[str, str]) -> None:
    known = {setting.variable for setting in SETTINGS}
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            raise UsageError(f"unknown environment variable {name!r}", hint=did_you_mean(name, known), param=name)
