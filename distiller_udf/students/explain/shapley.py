"""Orders in which players join, the sets they pass through, and how the values of these sets become contributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from distiller_udf.records import Records

EXACT_PLAYERS = 4
"""Up to this many players every order is tried, which makes the Shapley values exact."""

LogOdds = Callable[[Records, Records], np.ndarray]
"""The log odds that row i of both sides is the same entity; records may lack any value."""


def orders(players: int, shifts: int) -> list[tuple[int, ...]]:
    """The orders in which players join: the same ones always, and each with its reverse.

    Above EXACT_PLAYERS they are up to `shifts` cyclic shifts, forwards and backwards: players come early, late and
    between. An order and its reverse are exact where no more than two players work together.
    """
    if players <= EXACT_PLAYERS:
        return list(permutations(range(players)))
    starts = [i * players // min(players, shifts) for i in range(min(players, shifts))]
    shifted = [tuple((start + i) % players for i in range(players)) for start in starts]
    return [*shifted, *(order[::-1] for order in shifted)]


def game(joining: Sequence[tuple[int, ...]], players: int) -> tuple[np.ndarray, np.ndarray]:
    """The sets of players that the orders pass through, and how their values become contributions.

    The sets are rows of a boolean array, the empty one first; values (pairs, sets) times the second array,
    (sets, players + 1), are the contributions and the baseline.
    """
    index: dict[frozenset[int], int] = {frozenset(): 0}
    steps = []
    for order in joining:
        for position, player in enumerate(order):
            joined = frozenset(order[: position + 1])
            steps.append((player, index[joined - {player}], index.setdefault(joined, len(index))))
    coalitions = np.asarray([[p in members for p in range(players)] for members in index], dtype=bool)
    shares = np.zeros((len(index), players + 1))
    shares[0, players] = 1.0
    for player, before, after in steps:
        shares[before, player] -= 1 / len(joining)
        shares[after, player] += 1 / len(joining)
    return coalitions, shares
