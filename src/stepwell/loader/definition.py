"""One workflow: what it is once it loaded, why it did not, and how a text becomes the one or the other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from stepwell.errors import DefinitionError, StepwellError
from stepwell.loader.calls import FindOthers
from stepwell.loader.loading import UNNAMED, load
from stepwell.registry import Action, Registry
from stepwell.workflow import Workflow, snapshot


@dataclass(frozen=True)
class Definition:
    """A workflow that loaded.

    `source` is its YAML, `text` the JSON snapshot that its tasks keep and run on, with all workflows that its steps
    may run, `hash` the sha256 of that text.
    """

    workflow_id: str
    workflow: Workflow
    file: str
    source: str
    text: str
    hash: str


@dataclass(frozen=True)
class Broken:
    """A file that did not load; `error` holds every problem."""

    workflow_id: str
    file: str
    error: DefinitionError


@dataclass(frozen=True)
class Reader:
    """Makes definitions of texts; the arguments are those of `load`."""

    registry: Registry
    resolve_call: Callable[[str], Action] | None = None
    expression_env: Collection[str] | None = None

    def read(
        self,
        text: str | bytes,
        file: str,
        default_id: str | None,
        others: FindOthers | None = None,
        unresolved: list[str] | None = None,
    ) -> Definition:
        """What a text defines, without the workflows that its steps run.

        Functions that are not found are added to `unresolved`. Raises `DefinitionError`.
        """
        workflow = load(
            text,
            file,
            registry=self.registry,
            resolve_call=_noting(self.resolve_call, unresolved) if self.resolve_call else None,
            expression_env=self.expression_env,
            default_id=default_id,
            others=others,
        )
        source = text if isinstance(text, str) else text.decode("utf-8-sig")
        return Definition(workflow.id or default_id or UNNAMED, workflow, file, source, *snapshot(workflow, {}))


def _noting(resolve: Callable[[str], Action], unresolved: list[str] | None) -> Callable[[str], Action]:
    def resolve_noting(target: str) -> Action:
        try:
            return resolve(target)
        except StepwellError:
            if unresolved is not None:
                unresolved.append(target)
            raise

    return resolve_noting
