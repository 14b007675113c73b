"""Compare every resource of the Bicep files with the models of the Azure management SDK.

Names of properties, values of enumerations and primitive types are checked, at every depth. A misspelt property is
otherwise found by a deployment at the earliest, or never. `make infra` runs this in an environment of its own.
"""

import enum
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import pycep

INFRA = Path(__file__).parent
MODELS = {
    "Microsoft.Authorization/roleAssignments": "authorization.RoleAssignmentCreateParameters",
    "Microsoft.Authorization/roleDefinitions": "authorization.RoleDefinition",
    "Microsoft.Insights/actionGroups": "monitor.ActionGroupResource",
    "Microsoft.Insights/components": "applicationinsights.ApplicationInsightsComponent",
    "Microsoft.Insights/scheduledQueryRules": "monitor.ScheduledQueryRuleResource",
    "Microsoft.Insights/workbooks": "applicationinsights.Workbook",
    "Microsoft.KeyVault/vaults": "keyvault.VaultCreateOrUpdateParameters",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "msi.Identity",
    "Microsoft.Network/privateDnsZones": "privatedns.PrivateZone",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "privatedns.VirtualNetworkLink",
    "Microsoft.Network/privateEndpoints": "network.PrivateEndpoint",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "network.PrivateDnsZoneGroup",
    "Microsoft.Network/virtualNetworks": "network.VirtualNetwork",
    "Microsoft.OperationalInsights/workspaces": "loganalytics.Workspace",
    "Microsoft.Storage/storageAccounts": "storage.StorageAccountCreateParameters",
    "Microsoft.Storage/storageAccounts/blobServices": "storage.BlobServiceProperties",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "storage.BlobContainer",
    "Microsoft.Storage/storageAccounts/queueServices": "storage.QueueServiceProperties",
    "Microsoft.Storage/storageAccounts/queueServices/queues": "storage.StorageQueue",
    "Microsoft.Web/serverfarms": "web.AppServicePlan",
    "Microsoft.Web/sites": "web.Site",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "web.CsmPublishingCredentialsPoliciesEntity",
    "Microsoft.Web/sites/config": "web.StringDictionary",
}
UNCHECKED = {
    "Microsoft.Insights/diagnosticSettings": "azure-mgmt-monitor 7 has no model of it",
    "Microsoft.Resources/resourceGroups": "a name, a location and tags",
}
BICEP_ONLY = {"dependsOn", "location", "name", "parent", "scope", "tags"}
PRIMITIVES: dict[object, type] = {str: str, int: int, bool: bool, "str": str, "int": int, "bool": bool, "float": float}


class Shape:
    """The properties of a model, by their names in the REST interface, each with its type."""

    def __init__(self, model: type) -> None:
        self.name = model.__name__
        self.types: dict[str, object] = {}
        module = sys.modules[model.__module__]
        if hasattr(model, "_attribute_map"):
            hints = _hints(model.__init__, model)
            for name, attribute in model._attribute_map.items():  # noqa: SLF001 - the SDK has no public way
                kind = _named(attribute["type"], module)
                # Only the annotation of its constructor knows that a text is one of an enumeration.
                kind = hints.get(name, kind) if kind is str else kind
                self._add_flattened(re.split(r"(?<!\\)\.", attribute["key"]), kind)
        else:
            fields = type(model())._attr_to_rest_field  # noqa: SLF001 - the SDK has no public way
            hints = {name: hint for each in reversed(model.__mro__) for name, hint in _hints(each, each).items()}
            self.types = {field._rest_name: hints.get(name, object) for name, field in fields.items()}  # noqa: SLF001

    def _add_flattened(self, path: list[str], kind: object) -> None:
        name = path[0].replace("\\.", ".")
        if len(path) == 1:
            self.types[name] = kind
            return
        inner = self.types.setdefault(name, {})
        if isinstance(inner, dict):
            for step in path[1:-1]:
                inner = inner.setdefault(step, {})
            inner[path[-1]] = kind


def _hints(annotated: object, model: type) -> dict[str, object]:
    """The types that a model, or its constructor, is annotated with."""
    module = sys.modules.get(model.__module__)
    if not hasattr(module, "__dict__") or not model.__module__.startswith("azure.mgmt"):
        return {}
    scope = {**vars(module), "_models": module}
    return {name: _resolved(hint, scope) for name, hint in getattr(annotated, "__annotations__", {}).items()}


def _resolved(hint: object, scope: dict[str, object]) -> object:
    """The type behind a forward reference, in every argument of a generic one."""
    if isinstance(hint, typing.ForwardRef | str):
        text = hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else hint
        name = text.removeprefix("_models.")
        package = importlib.import_module(str(scope["__package__"]))
        return getattr(package, name, scope.get(name, object))
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if not arguments:
        return hint
    inner = tuple(_resolved(each, scope) for each in arguments)
    return (origin, *inner)


def _named(kind: str, module: object) -> object:
    """A type of the older SDK: `str`, `[Model]`, `{str}`, `Model`."""
    if kind.startswith("["):
        return (list, _named(kind[1:-1], module))
    if kind.startswith("{"):
        return (dict, str, _named(kind[1:-1], module))
    return PRIMITIVES.get(kind) or getattr(module, kind, object)


def problems_of(value: object, kind: object, where: str, names: set[str]) -> Iterator[str]:
    """What is wrong with a value at a place, if its type is one that can be judged; `names` are of the file."""
    if value is None or _is_expression(value, names):
        return
    if isinstance(kind, tuple):
        yield from _problems_of_generic(value, kind, where, names)
    elif isinstance(kind, dict):
        yield from _problems_of_object(value, kind, where, names)
    elif inspect.isclass(kind) and issubclass(kind, enum.Enum):
        if value not in {each.value for each in kind}:
            yield f"{where}: {value!r} is none of {sorted(each.value for each in kind)}"
    elif kind in {str, int, bool}:
        # A boolean is no number here, although Python counts it as one.
        if type(value) is not kind:
            yield f"{where}: {value!r} is not of the type {kind.__name__}"
    elif inspect.isclass(kind) and kind.__module__.startswith("azure.mgmt"):
        yield from _problems_of_object(value, Shape(kind).types, where, names)


def _problems_of_generic(value: object, kind: tuple[object, ...], where: str, names: set[str]) -> Iterator[str]:
    origin, *arguments = kind
    if origin is list:
        if not isinstance(value, list):
            yield f"{where}: {value!r} is not a list"
            return
        for index, item in enumerate(value):
            yield from problems_of(item, arguments[0], f"{where}[{index}]", names)
    elif origin is dict and isinstance(value, Mapping):
        for name, item in value.items():
            yield from problems_of(item, arguments[1], f"{where}.{name}", names)
    elif origin is not dict:
        choices = [each for each in arguments if each is not type(None)]
        # A union of str and an enumeration is an enumeration whose future values the SDK lets through.
        known = [each for each in choices if inspect.isclass(each) and issubclass(each, enum.Enum)]
        yield from problems_of(value, (known or choices)[0], where, names)


def _problems_of_object(value: object, types: Mapping[str, object], where: str, names: set[str]) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: {value!r} is not an object"
        return
    for name, item in value.items():
        if name in types:
            yield from problems_of(item, types[name], f"{where}.{name}", names)
        else:
            yield f"{where}.{name}: no such property; there are {sorted(types)}"


def _is_expression(value: object, names: set[str]) -> bool:
    """Whether the value is worked out by the deployment; the parser shows a bare name as a text."""
    if isinstance(value, str):
        return value in names or "${" in value
    if not isinstance(value, Mapping):
        return False
    return "loop_type" in value or any(isinstance(value.get(each), Mapping) for each in ("function", "operator"))


def problems_of_file(path: Path) -> Iterator[str]:
    """What is wrong with the resources of one Bicep file."""
    parsed = pycep.BicepParser().parse(file_path=path)
    names = {name for kind in ("parameters", "variables", "resources") for name in parsed.get(kind, {})}
    for name, resource in parsed.get("resources", {}).items():
        where, kind, body = f"{path.name}: {name}", resource["type"], resource["config"]
        local = set(names)
        while "config" in body:
            local |= {value for value in body.get("loop_type", {}).get("detail", {}).values() if value}
            body = body["config"]
        if resource["existing"] or kind in UNCHECKED:
            continue
        if kind not in MODELS:
            yield f"{where}: no model is named for {kind}"
            continue
        package, model = MODELS[kind].split(".")
        shape = Shape(getattr(importlib.import_module(f"azure.mgmt.{package}.models"), model))
        judged = {key: value for key, value in body.items() if key not in BICEP_ONLY}
        properties = judged.get("properties")
        if "properties" not in shape.types and isinstance(properties, Mapping):
            # Such a model is written without the envelope.
            yield from _problems_of_object(properties, shape.types, f"{where}.properties", local)
            judged = {key: value for key, value in judged.items() if key != "properties"}
        yield from _problems_of_object(judged, shape.types, where, local)


def main() -> int:
    """Print what is wrong; exit with 1 where anything is."""
    files = [INFRA / "main.bicep", *sorted((INFRA / "app").glob("*.bicep"))]
    problems = [problem for path in files for problem in problems_of_file(path)]
    print("\n".join(problems) or f"{len(files)} files agree with the models of the Azure SDK")
    for kind, reason in UNCHECKED.items():
        print(f"not checked: {kind}: {reason}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
