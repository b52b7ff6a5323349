"""From what a person sees to what is wrong: look where it costs least first, rank the causes, suggest one setting.

    for event in diagnose("nothing moves", Patient(config, open_subject=...)): ...

Settings and metrics are looked at at once, then checks from the cheapest on, then a checkpoint stage by stage; it ends as
soon as one cause is certain.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .alarms import Alarm
from .causes import CERTAIN, LIKELY, POSSIBLE, Evidence, Finding
from .checks.checklist import GROUPS, checklist
from .checks.subject import Subject
from .checks.verdict import Check
from .config import Config
from .metric_lines import Line
from .stages import Lost
from .symptoms import STAGES, Symptom, doubt, support, symptom_of

STAGES_COST = 25  # against GROUPS' costs

Report = Callable[[str, float], None]
"""Called with (what is being looked at, share of the whole that is done). It may raise, to end it."""


def order_of(symptom: Symptom) -> list[str]:
    """Where to look, cheapest first."""
    return sorted(symptom.looks, key=cost)


def cost(look: str) -> float:
    return STAGES_COST if look == STAGES else GROUPS[look].cost


@dataclass(frozen=True)
class Patient:
    """What is looked at. open_subject makes what checks need; evaluate says where a checkpoint loses most, None where there is no checkpoint.
    lines and error: of a run, to see whether the symptom is there at all."""

    config: Config
    open_subject: Callable[[], Subject]
    alarms: Sequence[Alarm] = ()
    evaluate: Callable[[Callable[[float], None]], Lost] | None = None
    lines: Sequence[Line] = ()
    error: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """findings: ranked, the likeliest first. looked: names of what was looked at; spared: what was not, since the first is certain; refused: what could not be, with the reason.
    doubt: what speaks against the symptom itself; then no cause of it is certain. support: what speaks for it where the curve may not."""

    symptom: str
    findings: tuple[Finding, ...]
    looked: tuple[str, ...]
    spared: tuple[str, ...] = ()
    lost: Lost | None = None
    doubt: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    support: str = ""

    @property
    def change(self) -> Mapping[str, Any]:
        """The one setting that is suggested: that of the first cause, where it is certain; else the first that any of them has."""
        sure = self.findings[:1] if self.findings and self.findings[0].weight >= CERTAIN else self.findings
        return next((finding.change for finding in sure if finding.change), {})

    @property
    def words(self) -> str:
        if not self.findings:
            return "Nothing that was looked at explains it: run the whole checklist, and look at the clips and at a sample yourself."
        first = self.findings[0]
        sure = "The cause" if first.weight >= CERTAIN else "The likeliest cause" if first.weight > POSSIBLE else "A guess"
        return f"{sure}: {first.title[0].lower()}{first.title[1:]}."

    def to_dict(self) -> dict[str, Any]:
        return {
            "symptom": self.symptom,
            "words": self.words,
            "doubt": self.doubt,
            "support": self.support,
            "findings": [finding.to_dict() for finding in self.findings],
            "change": dict(self.change),
            "looked": list(self.looked),
            "spared": list(self.spared),
            "refused": dict(self.refused),
            "lost": self.lost.to_dict() if self.lost else None,
        }


@dataclass
class Examination:
    """One symptom, and what is known so far."""

    symptom: Symptom
    seen: Evidence
    looked: list[str] = field(default_factory=lambda: ["settings"])

    def ranked(self) -> tuple[Finding, ...]:
        """Causes that something speaks for, the strongest first; equals as the symptom has them. Beside a certain one, no guesses."""
        found = [finding for cause in self.symptom.causes if (finding := cause(self.seen)) is not None]
        least = LIKELY if any(finding.weight >= CERTAIN for finding in found) else 0.0
        strongest = sorted((finding for finding in found if finding.weight >= least), key=lambda one: -one.weight)
        return tuple(replace(finding, change=usable(self.seen.config, finding.change)) for finding in strongest)

    def certain(self) -> bool:
        return any(finding.weight >= CERTAIN for finding in self.ranked())


def diagnose(symptom: str, patient: Patient, report: Report | None = None) -> Iterator[Check | Diagnosis]:
    """Yields each check as it is made, and last the diagnosis. ValueError for an unknown symptom."""
    asked = symptom_of(symptom)
    alarms = {alarm.name: alarm for alarm in patient.alarms}
    one = Examination(asked, Evidence(patient.config, alarms=alarms))
    if alarms:
        one.looked.append("metrics")
    frames = patient.evaluate is not None and patient.config.tokenizer.quantizer != "ids"  # ids made elsewhere: no frames to score
    waiting = [look for look in order_of(one.symptom) if look != STAGES or frames]
    refused: dict[str, str] = {}
    whole, done = sum(map(cost, waiting)) or 1.0, 0.0
    subject = None
    while waiting and not one.certain():
        look = waiting.pop(0)
        share = cost(look) / whole
        if look == STAGES:
            assert patient.evaluate
            try:
                lost = patient.evaluate(told(report, "a checkpoint, stage by stage", done, share))
            except ValueError as error:  # e.g. clips that are gone: what the other looks have found still counts
                refused[look] = str(error)
                continue
            one.seen = replace(one.seen, lost=lost)
        else:
            subject = subject or patient.open_subject()
            for check in checklist(subject, [look], within(report, done, share)):
                one.seen = replace(one.seen, checks={**one.seen.checks, check.name: check})
                yield check
        one.looked.append(look)
        done += share
    against = doubt(symptom, patient.lines, patient.error)
    found = one.ranked()
    if against:  # what is not seen has no certain cause
        found = tuple(replace(finding, weight=min(LIKELY, finding.weight)) for finding in found)
    yield Diagnosis(symptom, found, tuple(one.looked), tuple(waiting), one.seen.lost, against, refused, support(symptom, patient.lines))


def told(report: Report | None, what: str, before: float, share: float) -> Callable[[float], None]:
    return lambda part: report(what, before + share * part) if report else None


def within(report: Report | None, before: float, share: float) -> Report | None:
    """A report of a part, as one of the whole."""
    if report is None:
        return None
    return lambda what, part: report(what, before + share * part)


def usable(config: Config, change: Mapping[str, Any]) -> Mapping[str, Any]:
    """The change, where the config allows it and it is one; otherwise none."""
    try:
        return change if config.differences(config.replace(dict(change))) else {}
    except ValueError:
        return {}
