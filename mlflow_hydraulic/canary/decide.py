"""What a canary comes to at this moment: who is to get which share, what is written down, what it waits for. Pure.

Level-triggered: from what the registry asks for, what runs, what the ledger remembers and what was counted; never from
what this process did before. Called by `rollout` for each model that is on its way from one champion to another.
"""

from __future__ import annotations

from dataclasses import replace

from mlflow_hydraulic.canary.judge import Judgement, Verdict, judge
from mlflow_hydraulic.canary.look import Decision, Look, predictor_of
from mlflow_hydraulic.canary.memory import Memory, Note, Phase
from mlflow_hydraulic.canary.rules import Rules

SERVING = ("healthy", "unhealthy")  # somebody answers, if not all
STARTING = ("preparing", "launching")
LONGEST_CAUSE = 500  # characters, of what a ledger row tells of a failure


def decide(look: Look) -> Decision:
    """What is to be done about the champion now."""
    memory = look.memory
    if look.asked is None and not look.split:
        return _unasked(look)
    if look.split or look.rollback:
        return _at_once(look, "the registry asks for a split" if look.split else "a rollback goes at once")
    if memory is not None and look.asked == memory.old:
        return _at_once(look, f"v{memory.old}, which served before, is asked for again")
    if memory is not None and look.asked == memory.new and memory.new not in memory.spoken:
        return _remembered(look, memory)
    return _fresh(look)


def _remembered(look: Look, memory: Memory) -> Decision:
    """The registry still asks for the version that the ledger's last canary is about."""
    if memory.phase == "back":
        return _fresh(look) if memory.word == "retry" else _stand_in(look, memory)
    if memory.phase == "over":
        return _fresh(look)
    if memory.phase == "done":
        there = {version for version, _ in look.runs}
        if there <= {memory.old, memory.new}:
            return Decision(arms=((memory.new, 100),), why=memory.reason, version=memory.new)
        return _fresh(look)
    return _under_way(look, memory)


def _fresh(look: Look) -> Decision:
    """No canary that still counts: begin one where one version serves and another is asked for."""
    old, new = _champion(look), look.asked
    if old is None or new is None or old == new:
        return _at_once(look, "the registry asks for something else")
    if look.state in STARTING:
        text = f"v{old} is {look.state}: the canary of v{new} begins once it is healthy, or has failed"
        return Decision(arms=look.runs, why=text, version=new)
    if look.state not in SERVING or old not in look.known:
        return _at_once(look, f"v{old} does not serve")
    share = look.rules.steps[0]
    why = look.rules.text(old, new, share)
    note = Note(phase="begin", old=old, new=new, share=share, before=0, reason=why, archived=old in look.archived)
    return _step(look.rules, note)


def _champion(look: Look) -> int | None:
    """Whom a new canary would begin from: who serves alone, or who served before a canary that is not over.

    None where the registry made a split: its versions have served callers already.
    """
    if len(look.runs) == 1:
        return look.runs[0][0] or None
    memory = look.memory
    if memory is None or {version for version, _ in look.runs} != {memory.old, memory.new}:
        return None
    return memory.old if memory.phase != "over" or look.runs == memory.arms else None


def _under_way(look: Look, memory: Memory) -> Decision:
    told = _told(look, memory)
    if told is not None:
        return told
    if memory.phase == "halt":
        way = '"hydraulic canary promote", "abort" or "retry" goes on from here'
        text = f"{_head(look, memory)}, halted: {memory.reason}; {way}"
        fact = f"halted: {memory.reason}"
        return Decision(arms=memory.arms, why=text, kind="hold", version=memory.new, fact=fact)
    if look.runs != memory.arms:
        tried_s = (look.now - memory.since).total_seconds()
        if look.failure and tried_s >= look.rules.patience_s:  # whoever answers, the new version does not start
            return _back(
                memory, f"it does not come to {memory.share} % in {tried_s:.0f} s: {look.failure[:LONGEST_CAUSE]}"
            )
        return Decision(arms=memory.arms, why=memory.reason, version=memory.new, fact=look.rules.fact(memory.share))
    return _marked(look, memory) if memory.phase == "mark" else _mark(look, memory)


def _told(look: Look, memory: Memory) -> Decision | None:
    """What people said while it was under way, by a word about the canary or by a move in the registry."""
    if memory.word == "abort":
        return _back(memory, f"aborted by {memory.word_of}")
    if memory.word == "promote":
        return _done(look, memory, f"promoted by {memory.word_of}")
    if memory.word == "retry" and memory.phase == "halt":
        again = f"{_head(look, memory)}; tried again by {memory.word_of}"
        return _step(look.rules, _note(memory, "step", memory.share, again))
    if memory.old in look.archived and not memory.archived:
        return _done(look, memory, f"v{memory.old} was archived during the canary")
    if memory.old not in look.known:
        text = (
            f"v{memory.old}, which served before, was deleted during the canary of v{memory.new}: what serves goes on "
            f'serving; "hydraulic canary promote" gives v{memory.new} all callers'
        )
        return Decision(arms=look.runs, why=text, kind="hold", version=memory.new)
    return None


def _mark(look: Look, memory: Memory) -> Decision:
    """The step runs: count from here. Where nobody can tell the counters, it stays undecided."""
    marks = {name: one for name, one in (look.counters or {}).items() if name in map(predictor_of, dict(memory.arms))}
    if predictor_of(memory.new) not in marks:
        return _judged(look, memory, judge(look.rules, None, None, 0.0))
    note = replace(_note(memory, "mark", memory.share, "counted from here"), marks=marks)
    missing = f"waits for {look.rules.min_requests} requests and {look.rules.hold_s:g} s"
    why = f"{_head(look, memory)}, begins now; {missing}"
    return Decision(arms=memory.arms, why=why, note=note, version=memory.new, fact=look.rules.fact(memory.share))


def _marked(look: Look, memory: Memory) -> Decision:
    held_s = (look.now - memory.since).total_seconds()
    return _judged(look, memory, judge(look.rules, look.level(memory.new), look.level(memory.old), held_s))


def _judged(look: Look, memory: Memory, judgement: Judgement) -> Decision:
    rules, head = look.rules, _head(look, memory)
    if judgement.verdict is Verdict.BREACH:
        text = f"{'; '.join(judgement.why)} at {memory.share} % ({judgement.numbers})"
        if rules.on_breach == "halt":
            return _halt(look, memory, text)
        return _back(memory, text)
    if judgement.verdict is Verdict.GOOD:
        return _onward(look, memory, f"{memory.share} % was good: {judgement.numbers}")
    undecided_s = (look.now - memory.since).total_seconds()
    why = f"{head}, {judgement.numbers}; waits for {' and '.join(judgement.why)}"
    if undecided_s >= rules.patience_s:
        text = f"undecided after {undecided_s:.0f} s at {memory.share} % ({judgement.numbers})"
        if rules.when_unsure == "roll back":
            return _back(memory, text)
        if rules.when_unsure == "go on":
            return _onward(look, memory, text)
        why += f" ({undecided_s:.0f} s so far: more than patience_s={rules.patience_s:g})"
    return Decision(arms=memory.arms, why=why, version=memory.new, fact=rules.fact(memory.share))


def _onward(look: Look, memory: Memory, because: str) -> Decision:
    share = look.rules.after(memory.share)
    if share == 100:
        return _done(look, memory, because)
    text = f"{look.rules.text(memory.old, memory.new, share)}; {because}"
    return _step(look.rules, _note(memory, "step", share, text))


def _step(rules: Rules, note: Note) -> Decision:
    arms = ((note.old, 100 - note.share), (note.new, note.share))
    return Decision(arms=arms, why=note.reason, note=note, version=note.new, fact=rules.fact(note.share))


def _done(look: Look, memory: Memory, because: str) -> Decision:
    text = f"canary step {look.rules.number(100)}: v{memory.new} 100 %; {because}"
    return Decision(arms=((memory.new, 100),), why=text, note=_note(memory, "done", 100, text), version=memory.new)


def _back(memory: Memory, because: str) -> Decision:
    note = _note(memory, "back", 0, because)
    why = f"canary of v{memory.new} rolled back to v{memory.old}: {because}"
    return Decision(
        arms=((memory.old, 100),),
        why=why,
        kind="hold",
        note=note,
        version=memory.new,
        fact=f"rolled back: {because}",
    )


def _halt(look: Look, memory: Memory, because: str) -> Decision:
    note = _note(memory, "halt", memory.share, because)
    why = f"{_head(look, memory)}, halted: {because}"
    return Decision(
        arms=memory.arms,
        why=why,
        kind="hold",
        note=note,
        version=memory.new,
        fact=f"halted: {because}",
    )


def _stand_in(look: Look, memory: Memory) -> Decision:
    """The version before serves, though the registry asks for the one that was rolled back."""
    if memory.old not in look.known:
        text = f"v{memory.new} was rolled back and v{memory.old}, which served before, was deleted; {_way(memory)}"
        return Decision(arms=look.runs, why=text, kind="hold", version=memory.new)
    text = f"canary of v{memory.new} was rolled back to v{memory.old}: {memory.reason}; {_way(memory)}"
    fact = f"rolled back: {memory.reason}"
    return Decision(arms=((memory.old, 100),), why=text, kind="hold", version=memory.new, fact=fact)


def _way(memory: Memory) -> str:
    return f'it is not tried again until somebody moves v{memory.new} anew, or says "hydraulic canary retry"'


def _unasked(look: Look) -> Decision:
    """The registry asks for nothing here any more. A canary that was not through goes back to who served before.

    That version was archived, where it was, because the new one came: that is no word to end it. Any word about it
    since then is one.
    """
    memory = look.memory
    if memory is None or memory.phase == "over" or memory.old not in look.known:
        return Decision()
    there = {version for version, _ in look.runs}
    if not there <= {memory.old, memory.new} or memory.old not in there or memory.old in memory.spoken:
        return Decision()
    if memory.old in look.archived and not memory.archived:
        return Decision()
    if memory.phase != "back":
        return _back(memory, f"v{memory.new} is not asked for any more")
    text = (
        f"v{memory.old} serves since the canary of v{memory.new} was rolled back, and the registry asks for nothing: "
        f'what serves goes on serving; move v{memory.old} back, or use "mlflow deployments delete" to end it'
    )
    return Decision(arms=((memory.old, 100),), why=text, kind="hold", version=memory.old)


def _at_once(look: Look, why: str) -> Decision:
    """As the registry asks; a canary that was under way is over."""
    memory = look.memory
    if memory is None or not memory.under_way:
        return Decision()
    return Decision(note=_note(memory, "over", memory.share, why))


def _note(memory: Memory, phase: Phase, share: int, reason: str) -> Note:
    return Note(phase=phase, old=memory.old, new=memory.new, share=share, before=memory.share, reason=reason)


def _head(look: Look, memory: Memory) -> str:
    return look.rules.text(memory.old, memory.new, memory.share)
