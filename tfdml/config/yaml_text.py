"""YAML in and out, with two traps closed: `1e-3` is a number, a key given twice is an error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tfdml.errors import ConfigError


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# PyYAML reads 1e-3 as text, because YAML 1.1 asks for a dot: a trap for every learning rate.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def parse(text: str, source: str) -> Any:
    """Read one YAML document. `source` names it in errors.

    Raises:
        ConfigError: for text that is no YAML, with its line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{source}{line}: not valid YAML: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}.") from None


def dump(values: Any) -> str:
    """Write values as a person would, in their own order."""
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=False, allow_unicode=True)
