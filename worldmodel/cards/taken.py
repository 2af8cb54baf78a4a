"""The front matter that a hand-written card amounts to, and the earlier runs that it names.

Owns: which words of such a card become which key. Must not: compare numbers (that is `compared`), or invent what the
card does not say: publishing of checkpoints, for one, it does not mention, and so it is off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldmodel.cards.data import DataFacts
from worldmodel.cards.foreign import Foreign, number, plain
from worldmodel.cards.new import DIRECTIONS
from worldmodel.runs.ledger import VAL, Entry, result_from_elsewhere
from worldmodel.runs.prices import Prices
from worldmodel.training.config import find_experiment, load_experiment


def front_of(card: Foreign, config: str, data: DataFacts, path: Path, prices: Prices) -> dict[str, Any]:
    """Keys and values, in the order of a new card. Raises WrongUse if the experiment cannot be read."""
    shipped = load_experiment(find_experiment(config)).training
    epochs = number(card.fields("training").get("Epochs", ""))
    infrastructure, timing = card.fields("infrastructure"), card.fields("timing")
    hatches, everything = card.section("escape").text, "\n".join(section.text for section in card.sections)
    encoded = card.fields("data").get("Encoded file")
    return {
        "run": card.name,
        "goal": _goal(card),
        "config": config,
        "overrides": [f"training.epochs={epochs.value:.0f}"] if epochs and epochs.value != shipped.epochs else [],
        "data": {"content_hash": data.content_hash, "path": str(path)} | ({"on_backend": encoded} if encoded else {}),
        "targets": [_target(row) for row in card.table("target")],
        "kill": [*_kill_of_targets(card), *_kill_of_prose(hatches, everything)],
        "baselines": [plain(row.get("Run", "")) for row in card.table("prior")],
        **_estimate(timing),
        "budget": _budget(timing, everything),
        "checkpoints": {"every_min": shipped.checkpoint_every_min, "publish": False},
        "tracker": _tracker(infrastructure),
        "backend": _backend(infrastructure, card, prices),
        **_fallback(hatches),
        "reviewers": {"required": re.findall(r"- \[[ xX]\] (\S+) reviewed", everything)},
        "watched_by": [],
    }


def entries_of(card: Foreign, known: Mapping[str, Any]) -> list[Entry]:
    """The earlier runs of the card's table, for the ledger.

    A value is held out where the card's targets name that run and value as a baseline; of all others the card does not
    say whether they are of training or of held-out games. known: config keys that all of them are known to have had.
    """
    baselines = {
        (target["baseline_from"].split(",")[0], target["metric"].removeprefix(VAL)): target["baseline"]
        for target in (_target(row) for row in card.table("target"))
        if target.get("baseline_from")
    }
    out = []
    for row in card.table("prior"):
        name, notes = plain(row["Run"]), row.get("Notes", "")
        epochs = number(row.get("Epochs", ""))
        val: dict[str, float] = {}
        unsaid: dict[str, float] = {}
        for column, metric in (("change_acc", "change_acc"), ("pos_mae", "pos_mae"), ("val_loss", "loss/total")):
            value = share(row.get(column, ""))
            if value is None:
                continue
            if column.startswith(VAL) or baselines.get((name, metric)) == value:
                val[f"{VAL}{metric}"] = value
            else:
                unsaid[metric] = value
        config = dict(known) | ({"training.epochs": round(epochs.value)} if epochs else {})
        if context := re.search(r"\bK=(\d+)", notes):
            config["data.context_len"] = int(context[1])
        config["model.arch"] = "mlp" if "mlp" in name.lower() else "mamba2"
        out.append(
            result_from_elsewhere(
                name,
                source=f"card {card.name}, imported",
                val=val,
                unsaid=unsaid,
                data={"name": plain(row.get("Data", ""))},
                epochs=epochs.value if epochs else None,
                config=config,
                notes=notes,
            )
        )
    return out


def share(text: str) -> float | None:
    """A number, a percentage as a share of 1; None if there is none ("—")."""
    said = number(text)
    if said is None:
        return None
    return round(said.value / 100, 6) if re.search(r"\d\s*%", text) else said.value


def metric_of(name: str) -> str:
    """Our name of a metric: held out, as every target is."""
    return name if name.startswith(VAL) else VAL + name


# ---- parts -------------------------------------------------------------------------------------------------------


def _goal(card: Foreign) -> str:
    lines = card.section("goal").text.strip().split("\n\n")[0]
    return " ".join(plain(lines).split())


def _target(row: Mapping[str, str]) -> dict[str, Any]:
    metric, wanted = metric_of(plain(row["Metric"])), plain(row["Target"])
    baseline = next((value for key, value in row.items() if key.startswith("Baseline")), "")
    source = re.search(r"\(([^)]*)\)", baseline)
    better = DIRECTIONS.get(metric, "higher" if wanted.startswith(">") else "lower")
    target: dict[str, Any] = {"metric": metric, "better": better}
    if (value := share(baseline)) is not None:
        target["baseline"] = value
    if source:
        target["baseline_from"] = source[1]
    return target | {"target": share(wanted)}


def _kill_of_targets(card: Foreign) -> list[dict[str, Any]]:
    out = []
    for row in card.table("target"):
        metric = metric_of(plain(row["Metric"]))
        words = plain(next((value for key, value in row.items() if key.lower().startswith("kill")), ""))
        epoch = re.search(r"after (?:full )?epoch (\d+)", words)
        part = re.search(r"after (\d+(?:\.\d+)?)% of epoch 1", words)
        if words.startswith("not decreasing"):
            rule: dict[str, Any] = {"rule": "not_decreasing", "metric": metric}
            out.append(rule | ({"after_epochs": float(part[1]) / 100} if part else {}))
        elif words[:1] in "<>" and words and (threshold := share(words)) is not None:
            rule = {"rule": "below" if words[0] == "<" else "above", "metric": metric, "threshold": threshold}
            # Without a word on when, an epoch is waited for: at its first steps no model is within a limit.
            out.append(rule | {"after_epochs": float(epoch[1]) if epoch else 1.0})
    return out


def _kill_of_prose(hatches: str, everything: str) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    if re.search(r"\bNaN\b", hatches):
        out.append({"rule": "non_finite"})
    if limit := re.search(r"NaN or >\s*(\d+(?:\.\d+)?)", hatches):
        out.append({"rule": "above", "metric": "loss/total", "threshold": float(limit[1])})
    if re.search(r"\bOOM\b", hatches):
        out.append({"rule": "out_of_memory"})
    if hours := re.search(r"epoch 1 takes >\s*(\d+(?:\.\d+)?)\s*h", everything):
        out.append({"rule": "epoch_longer_than", "hours": float(hours[1])})
    return out


def _estimate(timing: Mapping[str, str]) -> dict[str, Any]:
    speed, load = timing.get("Est. batch speed", ""), timing.get("Est. data load", "")
    step = number(speed)
    if step is None:
        return {}
    observed = re.search(r"observed:\s*(\d+)\s*s", load)
    minutes = number(load)
    load_s = float(observed[1]) if observed else (60 * minutes.value if minutes else 0.0)
    batch_s = step.value / 1000 if re.match(r"~?\s*[\d.,]+\s*ms", speed) else step.value
    return {"estimate": {"batch_s": batch_s, "load_s": load_s, "source": "the imported card"}}


def _budget(timing: Mapping[str, str], everything: str) -> dict[str, Any]:
    cost = number(timing.get("Est. cost", ""))
    off = re.search(r"off by (\d+)\s*[-–]\s*(\d+)x", everything)
    return ({"usd": cost.value} if cost else {}) | ({"pessimistic_factor": float(off[2])} if off else {})


def _tracker(infrastructure: Mapping[str, str]) -> dict[str, Any]:
    words = infrastructure.get("wandb", "").split("/")
    if len(words) < 2:
        return {"policy": "off"}
    return {"policy": "optional", "entity": words[0].strip(), "project": words[1].strip()}


def _backend(infrastructure: Mapping[str, str], card: Foreign, prices: Prices) -> dict[str, Any]:
    words = infrastructure.get("GPU", "")
    out: dict[str, Any] = {"name": "modal" if "modal" in words.lower() else "local"}
    if device := re.match(r"([A-Z]+\d+)(\S*)", words):
        size = re.search(r"-(\d+GB)$", device[2])  # what is between is the socket: A100-SXM4-40GB
        out["gpu"] = device[1] + (f"-{size[1]}" if size else "")
    memory = number(infrastructure.get("System RAM", ""))
    limit = number(next((value for key, value in infrastructure.items() if "timeout" in key.lower()), ""))
    if limit:
        out["timeout_s"] = round(limit.value)
    if memory:
        out["memory_gb"] = memory.value
    if price := prices.of(out.get("gpu"), card.created):
        out["usd_per_hour"] = price.usd_per_hour  # of the card's day: later prices are not what it was decided by
    return out


def _fallback(hatches: str) -> dict[str, Any]:
    match = re.search(r"relaunch as `([A-Za-z0-9][\w.-]*)`", hatches)
    return {"fallback": {"card": match[1]}} if match else {}
