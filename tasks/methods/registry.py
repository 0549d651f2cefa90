"""The known methods: the built-in ones, those of installed packages, and files that a preset names.

A package offers its method as an entry point of the group `alignery.methods`; a preset names a file under `methods`.
Either is code, and is run when it is loaded.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from alignery.declarations import DeclarationError, Shape, Table, check_name
from alignery.errors import UsageError
from alignery.hashing import digest
from alignery.untrusted import excerpt
from prompts import Form, Library
from tasks.evaluate import held_out_stack
from tasks.evaluate.tables import ANSWERS, VERDICTS
from tasks.filters.contamination import Contamination
from tasks.methods.base import SourceConfig
from tasks.methods.builtin import METHODS
from tasks.review.tables import MARKS
from tasks.review.tables import VIEWS as REVIEW_VIEWS
from tasks.stage import GENERATOR, Context, Method, Stage
from tasks.train.config import Recipe

GROUP = "alignery.methods"
BUILT_IN = "built in"


class MethodError(UsageError):
    """A method cannot be loaded, or contradicts another one; the message names it, where it is from, and the cause."""


@dataclass(frozen=True)
class Installed:
    """A method, and where it is from: built in, a package, or a file."""

    method: Method
    origin: str


class Methods:
    """The methods that one preset may use, checked against each other.

    Raises:
        MethodError: two methods of one name, or two that declare the same table, view, shape or recipe.
    """

    def __init__(self, installed: Iterable[Installed]) -> None:
        self.installed: dict[str, Installed] = {}
        for one in installed:
            if other := self.installed.get(one.method.name):
                raise MethodError(
                    f"method {one.method.name}: {one.origin} and {other.origin} both have it; rename one, or remove it"
                )
            self.installed[one.method.name] = one
        owner: dict[tuple[str, str], Installed] = {}
        for one in self.installed.values():
            for kind, name in _declared_names(one):
                if other := owner.get((kind, name)):
                    raise MethodError(
                        f"method {one.method.name} ({one.origin}): the {kind} {name!r} is that of the method "
                        f"{other.method.name} ({other.origin}); rename it"
                    )
                owner[kind, name] = one

    def __iter__(self) -> Iterator[Method]:
        return (one.method for one in self.installed.values())

    def __getitem__(self, name: str) -> Method:
        return self.installed[name].method

    @property
    def sources(self) -> list[Method]:
        """Those that are sources of instructions."""
        return [method for method in self if method.source]

    @property
    def aliases(self) -> tuple[str, ...]:
        """Every alias that a method itself calls; without a model of its own, it is the generator."""
        return tuple(dict.fromkeys((GENERATOR, *(alias for method in self for alias in method.models))))

    @property
    def tables(self) -> list[Table]:
        """Those of all methods, of evaluations, and of people's marks."""
        ours = (VERDICTS, ANSWERS, *held_out_stack.TABLES, held_out_stack.REWRITTEN, MARKS)
        return [*(table for method in self for table in method.tables), *ours]

    @property
    def views(self) -> dict[str, str]:
        """Name → SQL."""
        return sql_of(REVIEW_VIEWS) | {name: text for method in self for name, text in views_of(method).items()}

    @property
    def shapes(self) -> list[Shape]:
        return [shape for method in self for shape in method.shapes]

    @property
    def recipes(self) -> dict[str, Recipe]:
        return {name: recipe for method in self for name, recipe in method.recipes.items()}

    @property
    def prompt_folders(self) -> tuple[tuple[str, Path], ...]:
        """(method, folder of its own prompts), for a `Library`."""
        return tuple((method.name, method.prompts) for method in self if method.prompts)

    def stages(
        self,
        configs: Mapping[str, Any],
        library: Library,
        contamination: Contamination | None = None,
        *,
        source: bool,
        form: Callable[[str], Form] = lambda alias: "chat",
        bound: Collection[str] = (),
    ) -> list[Sequence[Stage]]:
        """The stages of those methods that have settings, by method.

        Args:
            configs: the settings of those that are run.
            contamination: the evaluation prompts; none to inspect the stages without running them.
            source: of the sources of instructions, or of the methods that each instruction runs through.
            form: alias of a model → the form of prompt that it takes.
            bound: the aliases that have a model of their own.

        Raises:
            PromptError: a file that a method's requests are made from is missing or wrong.
            MethodError: a stage calls a model that its method does not declare.
        """
        context = Context(configs, contamination or Contamination([]), bound)
        found: list[Sequence[Stage]] = []
        for method in self:
            if method.name in configs and method.source == source:
                config = configs[method.name]
                stages = method.stages(library, config, context)
                known = {*method.models, *method.named_models(config), GENERATOR}
                if wrong := next((stage for stage in stages if stage.model not in known), None):
                    raise MethodError(
                        f"method {method.name}: stage {wrong.name}: got the model {wrong.model!r}, which it does not "
                        f"declare; add it to `models`, or take one of {sorted(known)}"
                    )
                found.append([stage.in_form(form(stage.model)) for stage in stages])
        return found

    def scorers(self, configs: Mapping[str, Any]) -> set[str]:
        """The aliases that these settings name of models that only score."""
        return {alias for name, config in configs.items() for alias in self[name].scorers(config)}

    def with_files(self, paths: Iterable[Path]) -> Methods:
        """These and the methods in those files."""
        return Methods([*self.installed.values(), *(_of_file(path) for path in paths)])


@cache
def installed() -> Methods:
    """The built-in methods and those of installed packages. Raises MethodError if one of these is broken."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return Methods([*built_in().installed.values(), *(_of_package(point) for point in points)])


@cache
def built_in() -> Methods:
    return Methods(Installed(method, BUILT_IN) for method in METHODS)


def views_of(method: Method) -> dict[str, str]:
    """Name → SQL of a method's views. Raises MethodError if it is not a folder."""
    if method.views is None:
        return {}
    if not method.views.is_dir():
        raise MethodError(f"method {method.name}: views: got {excerpt(method.views)}, expected a folder; make it")
    return sql_of(method.views)


def sql_of(folder: Path) -> dict[str, str]:
    """Name → text of the .sql files in a folder."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql"))}


def _declared_names(one: Installed) -> Iterator[tuple[str, str]]:
    method = one.method
    try:
        check_name("method", method.name)
        for name in method.recipes:
            check_name("recipe", name)
        if method.source and one.origin != BUILT_IN:
            _check_source(method)
        views = views_of(method)
        for name in views:
            check_name("view", name)
    except DeclarationError as error:
        raise MethodError(f"method {excerpt(method.name, 80)} ({one.origin}): {error}") from error
    # A view may not have a table's name.
    yield from (("table or view", name) for name in (*(table.name for table in method.tables), *views))
    yield from (("shape", shape.name) for shape in method.shapes)
    yield from (("recipe", name) for name in method.recipes)


def _check_source(method: Method) -> None:
    """Raises DeclarationError: a source from outside lacks what the rounds of writing need."""
    if method.requests is None or not issubclass(method.config, SourceConfig):
        raise DeclarationError(
            "source: got one without `requests`, or whose settings are no SourceConfig; declare both, or drop source"
        )


def _of_package(point: Any) -> Installed:
    origin = f"package {point.dist.name} {point.dist.version}" if point.dist else f"entry point {point.value}"
    return Installed(_loaded(f"{origin}: {point.value}", point.load), origin)


def _of_file(path: Path) -> Installed:
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise MethodError(f"methods: got {excerpt(path)}: {error.strerror}; give the path of a .py file") from error
    return _of_version(path.resolve(), stamp)


@cache
def _of_version(path: Path, stamp: int) -> Installed:
    """The method of a file at one time stamp: it is run once, however many presets name it."""
    name = f"alignery_method_{digest(str(path), stamp)[:16]}"

    def load() -> Any:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError("it is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return getattr(module, "method", None)

    return Installed(_loaded(excerpt(path), load), excerpt(path))


def _loaded(where: str, load: Callable[[], Any]) -> Method:
    """The result of the code; any exception becomes a MethodError."""
    try:
        found = load()
    except (Exception, SystemExit) as error:  # it is the user's code: any exception becomes one message
        raise MethodError(
            f"{where}: cannot be loaded: {type(error).__name__}: {excerpt(error, 400)}; correct it, or remove it"
        ) from error
    if not isinstance(found, Method):
        got = "nothing" if found is None else f"a {type(found).__name__}"
        raise MethodError(f"{where}: got {got} under the name 'method', expected an alignery.Method; assign one")
    return found
