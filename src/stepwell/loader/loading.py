"""The stages of loading: YAML, shape, meaning."""

from __future__ import annotations

from collections.abc import Callable, Collection

from stepwell import variables
from stepwell.loader.calls import Calls, FindOthers, Others
from stepwell.loader.inputs import Inputs
from stepwell.loader.names import NameCheck
from stepwell.loader.order import check_cycles, check_ids, check_needs
from stepwell.loader.report import Report
from stepwell.loader.rules import check_keys
from stepwell.loader.shape import read_shape
from stepwell.loader.sites import build_tree
from stepwell.loader.texts import Texts
from stepwell.loader.visibility import Visibility
from stepwell.loader.whole import check_whole
from stepwell.registry import Action, Registry
from stepwell.strict_yaml import parse
from stepwell.workflow import Workflow, called

UNNAMED = "workflow"
"""The id of a text that has neither an `id:` nor a file."""


def load(
    text: str | bytes,
    file: str,
    *,
    registry: Registry,
    resolve_call: Callable[[str], Action] | None = None,
    expression_env: Collection[str] | None = None,
    default_id: str | None = None,
    others: FindOthers | None = None,
) -> Workflow:
    """The workflow in a YAML text.

    `resolve_call` finds the function of a `call:`, without it functions are not looked at. `expression_env` are the
    names that `env.…` may read, None if that is not known. `default_id` is the id of a file without `id:`.
    `others` gives the workflows that steps can run, beside this one itself; it is asked only if a step runs one, and
    without it they are not looked at.
    Raises `DefinitionError` with every problem, in order of place; of a text that is no YAML, those of YAML alone.
    """
    document = parse(text, file)
    report = Report(document)
    workflow = read_shape(document, report)
    if workflow is not None:
        inputs = Inputs(report, registry, resolve_call)
        known = _known(workflow, default_id, others) if others and any(called(workflow)) else None
        _check_meaning(report, workflow, inputs, known, expression_env, default_id)
    if report or workflow is None:
        raise report.error()
    return workflow


def _known(workflow: Workflow, default_id: str | None, others: FindOthers) -> Others:
    return {**others(), workflow.id or default_id or UNNAMED: workflow}


def _check_meaning(
    report: Report,
    workflow: Workflow,
    inputs: Inputs,
    others: Others | None,
    env: Collection[str] | None,
    default_id: str | None,
) -> None:
    tree = build_tree(workflow, report.document.data)
    texts = Texts(report, workflow, tree)
    visibility = Visibility(report, tree, others or {})
    names = NameCheck(report, workflow, visibility, env)
    calls = Calls(report, others)
    for path, message in variables.problems(workflow.variables):
        report.add(("variables", *path), f"`{path[-1]}`: {message}")
    check_whole(report, workflow, texts, names, default_id)
    check_ids(report, tree)
    for site in tree.sites:
        texts.read(site)
        check_keys(report, site)
        check_needs(report, tree, site)
        inputs.check(site)
        calls.check(site)
    for site in tree.sites:
        names.check_step(site)
        visibility.check_files(site, workflow.variables)
    for listing in tree.listings:
        check_cycles(report, listing)
