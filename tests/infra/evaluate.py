"""Works out the expressions of a Bicep file, as far as our files use the language; anything else is an error here.

The parser does not tell a name from a text: what is a name in the scope counts as one.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

Scope = Mapping[str, Any]

_INSERTED = re.compile(r"\$\{(\w+)(\(\))?((?:\.\w+)*)\}")


def evaluate(value: Any, scope: Scope) -> Any:  # noqa: ANN401 - a parsed expression has any shape
    """The value of an expression."""
    if isinstance(value, str):
        return scope[value] if value in scope else _INSERTED.sub(lambda found: str(_path(found, scope)), value)
    if isinstance(value, list):
        return [evaluate(each, scope) for each in value]
    return _compound(value, scope) if isinstance(value, Mapping) else value


def _compound(value: Mapping[str, Any], scope: Scope) -> Any:  # noqa: ANN401
    if "loop_type" in value:
        loop = value["loop_type"]["detail"]
        items = evaluate(loop["array_name"], scope)
        return [evaluate(value["config"], {**scope, loop["item_name"]: item}) for item in items]
    if "operator" in value:
        return _operate(value["operator"]["type"], value["operator"]["operands"], scope)
    if "function" in value:
        return _call(value["function"]["type"], value["function"]["parameters"], scope)
    return {name.strip("'"): evaluate(item, scope) for name, item in value.items()}


def with_variables(variables: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """A scope with the variables of a file worked out in their order, save those that it holds already."""
    known = dict(scope)
    for name, variable in variables.items():
        if name not in known:
            known[name] = evaluate(variable["value"], known)
    return known


def _path(found: re.Match[str], scope: Scope) -> Any:  # noqa: ANN401
    return reduce(lambda value, name: value[name], found[3].split(".")[1:], scope[found[1]])


def _items(mapping: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": mapping[key]} for key in sorted(mapping)]


def _operate(kind: str, operands: Mapping[str, Any], scope: Scope) -> Any:  # noqa: ANN401
    if kind == "conditional":
        return evaluate(operands["true_value" if evaluate(operands["condition"], scope) else "false_value"], scope)
    if kind == "property_accessor":
        inner = operands["operand_2"]
        owner = evaluate(operands["operand_1"], scope)
        if isinstance(inner, Mapping):
            first, rest = inner["operator"]["operands"].values()
            return owner[first][rest]
        return owner[inner]
    if kind == "not":
        return not evaluate(operands["bool_value"], scope)
    left, right = (evaluate(operand, scope) for operand in operands.values())
    return {
        "add": lambda: left + right,
        "and": lambda: left and right,
        "equals": lambda: left == right,
        "not_equals": lambda: left != right,
        "or": lambda: left or right,
    }[kind]()


def _call(kind: str, parameters: Mapping[str, Any], scope: Scope) -> Any:  # noqa: ANN401
    if kind == "filter":
        name, condition = parameters["expression"]["detail"].values()
        items = evaluate(parameters["input_array"], scope)
        return [each for each in items if evaluate(condition, {**scope, name: each})]
    functions: dict[str, Callable[..., Any]] = {
        "concat": lambda *lists: [item for each in lists for item in each],
        "contains": lambda container, wanted: wanted in container,
        "empty": lambda value: not value,
        "items": _items,
        "flatten": lambda lists: [item for each in lists for item in each],
        "join": lambda values, between: between.join(values),
        "json": json.loads,
        "split": lambda text, between: text.split(between),
        "string": str,
        "union": lambda *lists: list(dict.fromkeys(item for each in lists for item in each)),
    }
    return functions[kind](*(evaluate(each, scope) for each in parameters.values()))
