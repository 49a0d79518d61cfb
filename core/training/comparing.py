"""The end of a fine-tune: base and adapter answer the rows that were held out.

Knows: which scorers fit the rows, how both sides are asked alike. Does not know: the table
finetunes, how a run is done.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.datasets.table import Table
from core.errors import Conflict, NotFound
from core.generation import Generation
from core.governance.permissions import Actor
from core.store.database import Row
from core.training.config import TrainingConfig
from core.training.data import answer_of, is_chat, plain_template
from core.training.folder import RunFolder

if TYPE_CHECKING:
    from core.datasets.service import Datasets
    from core.evals.service import Runs
    from core.models.service import Models
    from core.prompts.service import Prompts

BASE, ADAPTER = "base", "adapter"
SHORT = 40
"""Characters: an expected answer up to here is a label or a few words, and is met or not."""
CHARACTERS_PER_TOKEN = 3.0


@dataclass(frozen=True, slots=True)
class Comparing:
    """Starts the run that compares an adapter with its base."""

    datasets: Datasets
    prompts: Prompts
    models: Models
    runs: Runs

    def why_not(self, actor: Actor, config: TrainingConfig, folder: RunFolder) -> str | None:
        """Why there is nothing to compare on, in words; None where there is."""
        if not folder.row_ids("eval"):
            return "No row was held out."
        version = self.datasets.version(actor, config.dataset_version_id)
        columns = Table.of(version).columns
        if config.prompt_version_id is None:
            if is_chat(columns) and config.params.method == "sft":
                return "The rows are conversations: a run asks one prompt for each row."
            if plain_template(columns) is None:
                return "The inputs' names can stand in no prompt: choose one."
        return None

    def start(
        self,
        actor: Actor,
        run_id: str,
        name: str,
        config: TrainingConfig,
        adapter_id: str,
        folder: RunFolder,
    ) -> None:
        """Start it under this id, once; raises Conflict where there is nothing to compare on."""
        if why := self.why_not(actor, config, folder):
            raise Conflict(why, title="Nothing to compare on",
                           hint="Hold rows out, and give them a prompt.")  # fmt: skip
        answers = [answer_of(row) for row in folder.rows("eval")]
        version = self.datasets.version(actor, config.dataset_version_id)
        prompt = self._prompt(actor, config, version, answers)
        spec = self.models.resolve(
            actor, config.base_model_id, engine="transformers", purpose="batch"
        )
        asked = {
            "prompt_version_id": prompt["id"],
            "engine": spec.engine,
            "quantization": spec.quantization,
            "device": spec.device,
            "generation": _generation(prompt, answers),
        }
        variants = [
            {**asked, "name": BASE, "model_id": config.base_model_id},
            {**asked, "name": ADAPTER, "model_id": adapter_id},
        ]
        scorers = self._scorers(actor, version, answers)
        self.runs._create_once(
            actor, run_id, name, version["id"], variants, scorers, folder.row_ids("eval")
        )

    def _prompt(
        self, actor: Actor, config: TrainingConfig, version: Row, answers: Sequence[str]
    ) -> Row:
        """The prompt it was trained with; without one, the template that stood in for it."""
        if config.prompt_version_id is not None:
            return dict(self.prompts.version(actor, config.prompt_version_id))
        name = f"{version['dataset_name']}: the inputs as they are"
        try:
            prompt_id = self.prompts.find(actor, name)["prompt_id"]
        except NotFound:
            prompt_id = self.prompts.create(actor, name)
        return dict(
            self.prompts.save_version(
                actor,
                str(prompt_id),
                system_template="",
                user_template=plain_template(Table.of(version).columns) or "",
                generation=Generation(max_tokens=_most_tokens(answers)),
                message="As a fine-tune without a prompt sends its rows",
            )
        )

    def _scorers(self, actor: Actor, version: Row, answers: Sequence[str]) -> list[dict[str, Any]]:
        """What the rows can be judged by; none where nothing is expected of an answer."""
        if not version["expected"]:
            return []
        if statistics.median(len(answer) for answer in answers) <= SHORT:
            return [
                {"kind": "exact_match", "name": "exact match", "ignore_case": True},
                {"kind": "contains", "name": "contains", "ignore_case": True},
            ]
        if self.models.list(actor, kind="embedding"):
            return [{"kind": "embedding_similarity", "name": "similarity"}]
        return [{"kind": "length", "name": "length"}]


def outcome(summary: Row) -> Row:
    """A comparison's figures by side: pass rates with intervals, and the difference."""
    base, adapter = summary["variants"][0], summary["variants"][-1]
    return {
        "run_id": summary["id"],
        "state": summary["state"],
        "rows": summary["row_count"],
        BASE: _rate(base),
        ADAPTER: _rate(adapter),
        "versus": adapter["versus"],
    }


def arrived(summary: Row) -> bool:
    """Whether every answer of the run is in the database."""
    wanted = summary["row_count"]
    return all(variant["result_count"] >= wanted for variant in summary["variants"])


def complete(summary: Row) -> bool:
    """Whether the comparison is over, with nothing missing."""
    return summary["state"] == "succeeded" and arrived(summary)


def _rate(variant: Row) -> Row:
    return {
        "pass_rate": variant["pass_rate"],
        "interval": variant["pass_interval"],
        "passed": variant["passed_count"],
        "judged": variant["judged_count"],
    }


def _generation(prompt: Row, answers: Sequence[str]) -> dict[str, Any]:
    """The prompt's own, with room for the answers, and greedy: both sides can be repeated."""
    own = dict(prompt["generation"])
    own["max_tokens"] = max(int(own["max_tokens"]), min(512, _most_tokens(answers)))
    return {**own, "temperature": 0.0}


def _most_tokens(answers: Sequence[str]) -> int:
    longest = max((len(answer) for answer in answers), default=0)
    return max(8, min(1024, round(longest / CHARACTERS_PER_TOKEN) + 4))
