"""What is wrong with a training, seen from its numbers, in words with what to do.

Knows: losses, evaluations, speeds, the rules for each warning. Does not know: models, files.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

WINDOW = 20
RISES = 3
"""Evaluations in a row that must rise before it is called overfitting."""
LONG_HOURS = 24


@dataclass(frozen=True, slots=True)
class Warning:
    """One thing to tell; `code` is one of nan, spike, overfitting, diverging, slow, dropped."""

    code: str
    message: str
    advice: str


class Health:
    """Watches the numbers of one training; each cause is told once."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._first: list[float] = []
        self._since: list[float] = []
        self._train_means: list[float] = []
        self._evals: list[float] = []
        self._base: float | None = None
        self._speeds: list[float] = []
        self._slow = 0
        self._told: set[str] = set()

    def state(self) -> dict[str, Any]:
        """As JSON, for a checkpoint."""
        return {
            "losses": list(self._losses),
            "first": self._first,
            "since": self._since,
            "train_means": self._train_means,
            "evals": self._evals,
            "base": self._base,
            "told": sorted(self._told),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; speeds are not kept: another machine may go on."""
        self._losses.extend(state.get("losses", []))
        self._first = list(state.get("first", []))
        self._since = list(state.get("since", []))
        self._train_means = list(state.get("train_means", []))
        self._evals = list(state.get("evals", []))
        self._base = state.get("base")
        self._told = set(state.get("told", []))

    def dropped(self, counts: dict[str, int], kept: int) -> list[Warning]:
        """Rows that are not trained on."""
        total = sum(counts.values())
        if not total:
            return []
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        advice = "Look at these rows; the others are trained on."
        if counts.get("too long"):
            advice = "Raise the longest row, or let longer rows be cut, to train on them."
        return self._tell(
            "dropped",
            f"{total} of {total + kept} rows are left out: {why}.",
            advice,
        )

    def step(self, loss: float, tokens_per_s: float, eta_s: float) -> list[Warning]:
        """After an optimizer step."""
        found = self._spike(loss) + self._diverging() + self._slower(tokens_per_s, eta_s)
        self._losses.append(loss)
        self._since.append(loss)
        if len(self._first) < WINDOW:
            self._first.append(loss)
        return found

    def base(self, loss: float) -> None:
        """The base's loss on the held-out rows."""
        self._base = loss

    def evaluated(self, loss: float) -> list[Warning]:
        """After an evaluation."""
        self._evals.append(loss)
        if self._since:
            self._train_means.append(fmean(self._since))
            self._since = []
        found = []
        rising = self._evals[-RISES - 1 :]
        falling = self._train_means[-RISES - 1 :]
        if (
            len(rising) == RISES + 1
            and all(a < b for a, b in pairwise(rising))
            and len(falling) == RISES + 1
            and falling[-1] < falling[0]
        ):
            best = min(self._evals)
            found += self._tell(
                "overfitting",
                f"The loss on held-out rows has risen {RISES} times in a row, from {rising[0]:.3g} "
                f"to {loss:.3g} (best {best:.3g}), while the training loss fell: the model learns "
                "the rows by heart.",
                "Stop here, or start again with early stopping, fewer epochs, a smaller rank or "
                "more rows.",
            )
        if self._base is not None and len(self._evals) >= 2 and loss > 1.2 * self._base + 0.1:
            found += self._tell(
                "diverging",
                f"The loss on held-out rows is {loss:.3g}, above the {self._base:.3g} of the base "
                "model: the training makes it worse.",
                "Stop it and start again with a learning rate of a fifth.",
            )
        return found

    def _spike(self, loss: float) -> list[Warning]:
        """More than twice the median of the last 20, by at least 1 and by 6 robust deviations."""
        if len(self._losses) < WINDOW:
            return []
        middle = median(self._losses)
        deviation = 1.4826 * median(abs(one - middle) for one in self._losses)
        if loss <= middle + max(1.0, middle, 6 * deviation):
            return []
        return self._tell(
            "spike",
            f"The loss jumped to {loss:.3g}; the median of the {WINDOW} steps before is "
            f"{middle:.3g}.",
            "One jump may be an odd row. If it does not come down again, lower the learning rate "
            "or the largest gradient norm.",
        )

    def _diverging(self) -> list[Warning]:
        """The last 20 steps are half as high again as the first 20, by at least 0.5."""
        if len(self._first) < WINDOW or len(self._losses) < WINDOW:
            return []
        first, last = fmean(self._first), fmean(self._losses)
        if last <= max(1.5 * first, first + 0.5):
            return []
        return self._tell(
            "diverging",
            f"The loss rises: {last:.3g} on average over the last {WINDOW} steps, {first:.3g} over "
            "the first.",
            "Stop it and start again with a learning rate of a fifth, or a longer warm-up.",
        )

    def _slower(self, tokens_per_s: float, eta_s: float) -> list[Warning]:
        """Five steps in a row at less than a third of the usual speed, or more than a day to go."""
        self._speeds.append(tokens_per_s)
        if len(self._speeds) == 10 and eta_s > LONG_HOURS * 3600:
            return self._tell(
                "slow",
                f"At this speed it takes {eta_s / 3600:.0f} hours more.",
                "Fewer rows or epochs, shorter rows, a smaller model or a GPU make it shorter.",
            )
        if len(self._speeds) < WINDOW:
            return []
        usual = median(self._speeds[-200:])
        self._slow = self._slow + 1 if tokens_per_s < usual / 3 else 0
        if len(self._speeds) > 400:
            del self._speeds[:200]
        if self._slow < 5:
            return []
        return self._tell(
            "slow",
            f"It has slowed down to {tokens_per_s:.0f} tokens a second from {usual:.0f}.",
            "Something else uses this machine, or memory runs out and is swapped: close loaded "
            "models and other jobs.",
        )

    def _tell(self, code: str, message: str, advice: str) -> list[Warning]:
        if code in self._told:
            return []
        self._told.add(code)
        return [Warning(code, message, advice)]
