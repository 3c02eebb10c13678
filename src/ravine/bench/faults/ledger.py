"""What the logs of all processes of a shared race say together: who wrote too late, and who waited for how long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Call: TypeAlias = Mapping[str, Any]  # a line of a log: what, piece, token, at, till, stale, bits, pid
WRITES = ("keep", "finish", "beat", "give up", "contents", "remove")
CONTENTS = ("offers", "publish", "keep", "finish", "wants")
MEANT = ("offers", "wants")  # told before the write, which may or may not have come about where its end is not told


def judged(calls: Sequence[Call], interval: float) -> str:
    """What is wrong with a race's calls, in the order of time; empty where nothing is."""
    calls = sorted(calls, key=lambda call: float(call["at"]))
    return "; ".join(dict.fromkeys([*_fenced(calls), *_once(calls), *_continued(calls), *_held(calls, interval)]))


def takes(calls: Sequence[Call], piece: str | None = None) -> list[Call]:
    """The calls by which a piece got a holder, or any piece did."""
    return [call for call in calls if call["what"] == "take" and "token" in call and piece in (None, call["piece"])]


def handed_over(calls: Sequence[Call], struck: Mapping[int, float]) -> Iterator[tuple[float, Call]]:
    """What processes held when they were struck (pid -> when) and others took: seconds until then, and the taking."""
    for pid, at in struck.items():
        for held in _held_by(calls, pid, at):
            after = [t for t in takes(calls, held["piece"]) if t["token"] > held["token"] and t["pid"] != pid]
            if after:
                first = min(after, key=lambda take: take["token"])
                yield first["at"] - at, first


def _held_by(calls: Sequence[Call], pid: int, at: float) -> list[Call]:
    """What a process had taken by then, and neither finished nor given up."""
    own = [call for call in calls if call["pid"] == pid and call["at"] <= at]
    ended = {
        (call["piece"], call["token"]) for call in own if call["what"] in ("finish", "give up") or call.get("stale")
    }
    return [take for take in takes(own) if (take["piece"], take["token"]) not in ended]


def _fenced(calls: Sequence[Call]) -> Iterator[str]:
    """Nobody writes once another has taken the piece over."""
    for call in calls:
        if call["what"] in WRITES and not call.get("stale"):
            late = [t for t in takes(calls, call["piece"]) if t["token"] > call["token"] and t["till"] < call["at"]]
            if late:
                yield f"{call['what']} of {call['piece']} with token {call['token']} after {late[0]['token']} was given"


def _once(calls: Sequence[Call]) -> Iterator[str]:
    """No piece is worked on to its end twice, and no token is given twice."""
    ends = [call["piece"] for call in calls if call["what"] == "finish" and not call.get("stale")]
    yield from (f"{piece} was finished {ends.count(piece)} times" for piece in set(ends) if ends.count(piece) > 1)
    given = [(take["piece"], take["token"]) for take in takes(calls)]
    twice = {own for own in given if given.count(own) > 1}
    yield from (f"token {token} of {piece} was given twice" for piece, token in twice)


def _continued(calls: Sequence[Call]) -> Iterator[str]:
    """Who takes a piece over goes on from what was kept last, or from a write that may have been cut off since."""
    for take in takes(calls):
        before = [(c, bits) for c in calls if c["at"] < take["till"] and (bits := _content(c, take["piece"]))]
        begun = next((c["at"] for c, _ in before if c["what"] == "publish"), math.inf)
        # whoever publishes a piece that is there already changes nothing
        before = [(c, bits) for c, bits in before if c["what"] != "publish" or c["at"] == begun]
        kept = [call["at"] for call, _ in before if call["what"] not in MEANT and call["till"] <= take["at"]]
        since = max(kept, default=0.0)
        # whoever published it first may have been killed before it could say so
        offered = {bits for call, bits in before if call["what"] == "offers" and call["at"] <= begun}
        may = {bits for call, bits in before if call["what"] != "offers" and call["at"] >= since}
        if take["bits"] not in (may | offered if since in (0.0, begun) else may):
            yield f"{take['piece']}: token {take['token']} began with something else than was kept last"


def _content(call: Call, piece: str) -> str:
    """What a call wrote as the piece's content, or wanted to."""
    if call.get("stale") or call["what"] not in CONTENTS:
        return ""
    if call["what"] in ("offers", "publish"):
        return call["bits"].get(piece, "")
    return call["bits"] if call["piece"] == piece else ""


def _held(calls: Sequence[Call], interval: float) -> Iterator[str]:
    """Whoever asks for a piece later than a lease lasts after its holder's last sign of life gets it."""
    for take in takes(calls):
        own = [c for c in calls if c.get("piece") == take["piece"] and c.get("token") == take["token"]]
        if any(call["what"] in ("finish", "remove") for call in own):
            continue
        signs = [call["till"] for call in own if "till" in call and not call.get("stale")]
        next_ = min((t["at"] for t in takes(calls, take["piece"]) if t["token"] > take["token"]), default=None)
        refused = [
            call["at"]
            for call in calls
            if call["what"] == "take" and "token" not in call and take["piece"] in (call["asked"] or ())
            and call["at"] > max(signs) + 2 * interval and (next_ is None or call["till"] < next_)
        ]  # fmt: skip
        if refused:
            yield f"{take['piece']} was refused {refused[0] - max(signs):.1f} s after its holder's last sign of life"
