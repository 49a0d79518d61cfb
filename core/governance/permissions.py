"""Who may do what: one table for pages, routes, job kinds and actions. Missing means no.

Knows: roles, permissions, what each page, route, job kind and action needs.
Does not know: users, sessions, or what an action does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from core.errors import Forbidden

PUBLIC = "public"  # asked before anybody is signed in
NEWCOMER = "newcomer"  # the role of a session whose user has still to set a password

ROLES: dict[str, str] = {
    "admin": "Everything, users and settings included",
    "engineer": "Curates data, writes prompts, loads models, starts runs",
    "lead": "Reads everything, the audit log included; changes nothing",
    "reviewer": "Sees only the own account and, later, the own labelling queue",
}

PERMISSIONS: dict[str, frozenset[str]] = {
    "account.self": frozenset({*ROLES, NEWCOMER}),
    "workspace.read": frozenset({"admin", "engineer", "lead"}),
    "datasets.write": frozenset({"admin", "engineer"}),
    "prompts.write": frozenset({"admin", "engineer"}),
    "models.use": frozenset({"admin", "engineer"}),
    "models.write": frozenset({"admin", "engineer"}),
    "runs.write": frozenset({"admin", "engineer"}),
    "training.write": frozenset({"admin", "engineer"}),
    "votes.write": frozenset({"admin", "engineer"}),
    "jobs.write": frozenset({"admin", "engineer"}),
    "traces.write": frozenset({"admin", "engineer"}),
    "audit.read": frozenset({"admin", "lead"}),
    "users.write": frozenset({"admin"}),
    "pseudonyms.reveal": frozenset({"admin"}),
    "data.erase": frozenset({"admin"}),
}

PAGES: dict[str, str] = {
    "overview": "workspace.read",
    "latency": "workspace.read",
    "quality": "workspace.read",
    "traces": "workspace.read",
    "datasets": "workspace.read",
    "curate": "workspace.read",
    "prompts": "workspace.read",
    "playground": "models.use",
    "runs": "workspace.read",
    "compare": "workspace.read",
    "models": "workspace.read",
    "finetune": "workspace.read",
    "loop": "workspace.read",
    "jobs": "workspace.read",
    "users": "users.write",
    "audit": "audit.read",
    "privacy": "data.erase",
    "settings": "users.write",
    "account": "account.self",
}

ROUTES: dict[str, str] = {
    "GET /sign-in": PUBLIC,
    "POST /sign-in": PUBLIC,
    "GET /sign-in/link": PUBLIC,
    "POST /sign-in/link": PUBLIC,
    "POST /sign-out": "account.self",
    "GET /healthz": PUBLIC,
    "POST /api/actions/{noun}/{verb}": "account.self",  # the action then asks for its own
}

JOB_KINDS: dict[str, str] = {
    "selftest": "jobs.write",
    "run": "runs.write",
    "model.prepare": "models.write",
    "model.calibrate": "models.use",
    "dataset.import": "datasets.write",
    "dataset.analyse": "datasets.write",
    "dataset.curate": "datasets.write",
    "finetune": "training.write",
    "finetune.check": "training.write",
    "adapter.export": "training.write",
}

ACTIONS: dict[str, str] = {
    # the own account
    "sessions.sign_in": PUBLIC,
    "sessions.redeem_link": PUBLIC,
    "sessions.actor": PUBLIC,
    "sessions.sign_out": "account.self",
    "users.me": "account.self",
    "users.names": "workspace.read",
    "users.set_password": "account.self",
    "drafts.get": "account.self",
    "drafts.put": "account.self",
    # users and audit
    "users.list": "users.write",
    "users.create": "users.write",
    "users.set_role": "users.write",
    "users.disable": "users.write",
    "users.enable": "users.write",
    "users.create_link": "users.write",
    "audit.list": "audit.read",
    # jobs
    "jobs.list": "workspace.read",
    "jobs.get": "workspace.read",
    "jobs.events": "workspace.read",
    "jobs.log": "workspace.read",
    "jobs.start": "account.self",  # then JOB_KINDS decides by the kind
    "jobs.cancel": "jobs.write",
    "jobs.resume": "jobs.write",
    # prompts
    "prompts.list": "workspace.read",
    "prompts.get": "workspace.read",
    "prompts.create": "prompts.write",
    "prompts.rename": "prompts.write",
    "prompts.archive": "prompts.write",
    "prompts.restore": "prompts.write",
    "prompts.create_samples": "prompts.write",
    "prompts.find": "workspace.read",
    "prompts.save_version": "prompts.write",
    "prompts.versions": "workspace.read",
    "prompts.version": "workspace.read",
    "prompts.tag": "prompts.write",
    "prompts.untag": "prompts.write",
    # datasets
    "datasets.list": "workspace.read",
    "datasets.get": "workspace.read",
    "datasets.versions": "workspace.read",
    "datasets.version": "workspace.read",
    "datasets.examples": "workspace.read",
    "datasets.page": "workspace.read",
    "datasets.count": "workspace.read",
    "datasets.find": "workspace.read",
    "datasets.samples": "workspace.read",
    "datasets.preview": "datasets.write",
    "datasets.rename": "datasets.write",
    "datasets.restore": "datasets.write",
    "datasets.import_rows": "datasets.write",
    "datasets.keep_upload": "datasets.write",
    "datasets.start_import": "datasets.write",
    "datasets.import_folders": "datasets.write",
    "datasets.import_outcome": "workspace.read",
    "datasets.staged": "workspace.read",
    "datasets.staged_rows": "workspace.read",
    "datasets.accept": "datasets.write",
    "datasets.discard": "datasets.write",
    "datasets.import_sample": "datasets.write",
    "datasets.archive": "datasets.write",
    # versions of datasets
    "versions.diff": "workspace.read",
    "versions.diff_rows": "workspace.read",
    "versions.diff_count": "workspace.read",
    "versions.drift": "workspace.read",
    "versions.lineage": "workspace.read",
    "versions.rollback": "datasets.write",
    "versions.tag": "datasets.write",
    "versions.untag": "datasets.write",
    # recipes
    "recipes.pending": "workspace.read",
    "recipes.can_undo": "workspace.read",
    "recipes.preview": "datasets.write",
    "recipes.matching": "workspace.read",
    "recipes.result": "workspace.read",
    "recipes.running": "workspace.read",
    "recipes.recipe_of": "workspace.read",
    "recipes.removed": "workspace.read",
    "recipes.apply": "datasets.write",
    "recipes.add": "datasets.write",
    "recipes.add_all": "datasets.write",
    "recipes.paste": "datasets.write",
    "recipes.change": "datasets.write",
    "recipes.remove": "datasets.write",
    "recipes.move": "datasets.write",
    "recipes.clear": "datasets.write",
    "recipes.undo": "datasets.write",
    # curation
    "curation.analyse": "datasets.write",
    "curation.estimate": "workspace.read",
    "curation.status": "workspace.read",
    "curation.tokenizers": "workspace.read",
    "curation.findings": "workspace.read",
    "curation.count": "workspace.read",
    "curation.finding": "workspace.read",
    "curation.finding_counts": "workspace.read",
    "curation.rows_at": "workspace.read",
    "curation.profile": "workspace.read",
    "curation.signals": "workspace.read",
    "curation.worst_by": "workspace.read",
    # exploring and checks
    "explore.map": "workspace.read",
    "explore.search": "workspace.read",
    "explore.neighbours": "workspace.read",
    "explore.query": "workspace.read",
    "explore.tables": "workspace.read",
    "exports.shapes": "workspace.read",
    "exports.list": "workspace.read",
    "exports.path": "workspace.read",
    "exports.write": "datasets.write",
    "checks.list": "workspace.read",
    "checks.result": "workspace.read",
    "checks.suggest": "workspace.read",
    "checks.save": "datasets.write",
    "checks.run": "datasets.write",
    # models
    "models.list": "workspace.read",
    "models.get": "workspace.read",
    "models.add": "models.write",
    "models.register_starter": "models.write",
    "models.set_key": "models.write",
    "models.clear_key": "models.write",
    "models.set_address": "models.write",
    "models.check": "models.use",
    "models.prepare": "models.write",
    "models.calibrate": "models.use",
    "models.calibrate_starter": "models.use",
    "models.archive": "models.write",
    "models.choices": "workspace.read",
    "models.resolve": "workspace.read",
    "models.forecast": "workspace.read",
    "models.states": "workspace.read",
    "models.start": "models.use",
    "models.load": "models.use",
    "models.unload": "models.use",
    "models.endpoint": "models.use",
    "models.calibration": "workspace.read",
    "models.record_calibration": "models.use",
    # runs
    "playground.start": "models.use",
    "playground.stop": "models.use",
    "playground.columns": "models.use",
    "playground.clear": "models.use",
    "runs.list": "workspace.read",
    "runs.get": "workspace.read",
    "runs.estimate": "workspace.read",
    "runs.create": "runs.write",
    "runs.retry_failed": "runs.write",
    "runs.set_baseline": "runs.write",
    "runs.archive": "runs.write",
    "runs.summary": "workspace.read",
    "runs.grid": "workspace.read",
    "runs.cell": "workspace.read",
    "runs.versus_baseline": "workspace.read",
    "runs.export": "workspace.read",
    # fine-tunes
    "finetunes.outline": "workspace.read",
    "finetunes.forecast": "workspace.read",
    "finetunes.check": "training.write",
    "finetunes.report": "workspace.read",
    "finetunes.start": "training.write",
    "finetunes.extend": "training.write",
    "finetunes.list": "workspace.read",
    "finetunes.get": "workspace.read",
    "finetunes.curves": "workspace.read",
    "finetunes.samples": "workspace.read",
    "finetunes.log": "workspace.read",
    "finetunes.stop": "training.write",
    "finetunes.resume": "training.write",
    "finetunes.clone_config": "workspace.read",
    "finetunes.config_yaml": "workspace.read",
    "finetunes.compare": "training.write",
    "finetunes.timeline": "workspace.read",
    "finetunes.export": "training.write",
    "finetunes.exports": "workspace.read",
    "finetunes.archive": "training.write",
    # votes
    "votes.next": "votes.write",
    "votes.cast": "votes.write",
    "votes.skip": "votes.write",
    "votes.undo": "votes.write",
    "votes.progress": "workspace.read",
    "votes.tally": "workspace.read",
    "votes.pairs": "workspace.read",
    "votes.outline": "workspace.read",
    "votes.preferences": "datasets.write",
    # traces
    "traces.record": "traces.write",
    "traces.list": "workspace.read",
    "traces.slowest": "workspace.read",
    "traces.get": "workspace.read",
    "metrics.totals": "workspace.read",
    "metrics.request_count": "workspace.read",
    "metrics.requests_over_time": "workspace.read",
    "metrics.latency_over_time": "workspace.read",
    "metrics.latency_by": "workspace.read",
    "metrics.pass_rate_over_time": "workspace.read",
    "metrics.pass_rate_by": "workspace.read",
    "metrics.model_names": "workspace.read",
    "metrics.first_uses": "workspace.read",
    "metrics.facets": "workspace.read",
    # reviews of personal data
    "reviews.queue": "workspace.read",
    "reviews.counts": "workspace.read",
    "reviews.report": "workspace.read",
    "reviews.state": "workspace.read",
    "reviews.chosen": "workspace.read",
    "reviews.is_reviewed": "workspace.read",
    "reviews.refuse_unreviewed": "workspace.read",
    "reviews.decide": "datasets.write",
    "reviews.decide_type": "datasets.write",
    "reviews.undo": "datasets.write",
    "reviews.require": "datasets.write",
    "pseudonyms.counts": "workspace.read",
    "pseudonyms.reveal": "pseudonyms.reveal",
    "pseudonyms.forget": "pseudonyms.reveal",
    # cards and erasure
    "cards.get": "workspace.read",
    "cards.render": "workspace.read",
    "cards.overdue": "workspace.read",
    "cards.save": "datasets.write",
    "erasure.find": "data.erase",
    "erasure.erase": "data.erase",
    "erasure.delete_dataset": "data.erase",
    "erasure.certificates": "data.erase",
    "erasure.certificate": "data.erase",
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a signed-in user, or the owner of the files at the shell."""

    id: str
    name: str
    role: str


OWNER = Actor(id="local-owner", name="local owner", role="admin")
"""The person at the shell or in a notebook: whoever can read the home's files."""


def permits(role: str, permission: str) -> bool:
    """True when the role has the permission; unknown names of either never do."""
    return permission == PUBLIC or role in PERMISSIONS.get(permission, frozenset())


def require(actor: Actor | None, permission: str | None, what: str) -> None:
    """Raise Forbidden unless the actor's role has the permission; None is a missing entry."""
    if permission == PUBLIC:
        return
    if actor is None:
        raise Forbidden(f"Sign in to {what}.", title="Sign in first")
    if permission is None or not permits(actor.role, permission):
        raise Forbidden(
            f"The role {actor.role} does not permit {what}.",
            hint="An admin can change your role on the Users page.",
        )


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def action(
    method: Callable[Concatenate[S, Actor, P], R],
) -> Callable[Concatenate[S, Actor, P], R]:
    """Guard a service method: its class says `noun`, the table says the permission."""

    @functools.wraps(method)
    def guarded(self: S, actor: Actor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        name = f"{self.noun}.{method.__name__}"  # type: ignore[attr-defined]
        require(actor, ACTIONS.get(name), name)
        return method(self, actor, *args, **kwargs)

    guarded.is_action = True  # type: ignore[attr-defined]
    return guarded


def open_action(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Guard a service method that is asked before anybody is signed in: the table must agree."""

    @functools.wraps(method)
    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        name = f"{self.noun}.{method.__name__}"  # type: ignore[attr-defined]
        require(None, ACTIONS.get(name), name)
        return method(self, *args, **kwargs)

    guarded.is_action = True  # type: ignore[attr-defined]
    return guarded


def public_methods(service: Any) -> dict[str, bool]:
    """Names of a service's public methods, and whether each is guarded by `action`."""
    return {
        name: getattr(member, "is_action", False)
        for name, member in vars(type(service)).items()
        if callable(member) and not name.startswith("_")
    }
