"""Few of many cases that between them still show everything, so that the default run stays short."""


def covering(features: dict) -> set:
    """The fewest keys, found greedily, whose features are those of all; of keys as good as another the first.

    Args:
        features: per case the set of what it shows. A new case with something new to show enters by itself.

    Reference: Chvatal (1979), "A greedy heuristic for the set-covering problem".
    """
    missing = set().union(*features.values())
    chosen = set()
    while missing:
        best = max(features, key=lambda case: len(features[case] & missing))
        chosen.add(best)
        missing -= features[best]
    return chosen
