"""Read YAML as settings need it: each key once, nothing that holds itself or explodes."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError

MOST = 100_000  # values of a file, those that aliases repeat counted each time


class Refused(ConstructorError):
    """YAML that is valid and that no settings can mean."""


class _Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise Refused(None, None, f"'{key.value}' stands there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(text: str) -> Any:
    """Return the value of a text; raises yaml.YAMLError, and Refused for what it does not allow."""
    loader = _Strict(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}, ()) > MOST:
            raise Refused(None, None, f"its aliases stand for more than {MOST:,} values", None)
        return loader.construct_document(node)
    except RecursionError:
        raise Refused(None, None, "it is nested too deeply", None) from None
    finally:
        loader.dispose()


def _size(node, sizes: dict[int, int], above: tuple) -> int:
    """Count the values of a node, with those of its aliases; raises Refused if it holds itself."""
    if id(node) in above:
        raise Refused(None, None, "an alias stands for what it is a part of", node.start_mark)
    if id(node) not in sizes:
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in inner for part in pair]
        above = (*above, id(node))
        sizes[id(node)] = 1 + sum(_size(part, sizes, above) for part in inner)
    return sizes[id(node)]
